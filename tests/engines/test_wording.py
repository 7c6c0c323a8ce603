"""Prompts and replies in tokens, against the tokenisation of the whole conversation."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from ah_ray.engines.wording import filled, wording
from ah_ray.tasks import SUBTITLE, Prompt
from ah_ray.tasks.answers import Choice, Reading
from tests.engines.tiny_models import changed, member


def test_the_reply_begins_as_it_was_trained(omni: Path) -> None:
    processor = AutoProcessor.from_pretrained(omni)
    one = member(omni, "omni")
    words, answer = wording(processor, one), one.card.question.answer
    for label, option in zip(words.labels, words.options, strict=True):
        conversation = words.text + answer.write(Reading(frozenset({label}))) + "<|im_end|>"
        ids = processor.tokenizer(conversation, add_special_tokens=False).input_ids
        begun = [*words.ids, *words.prefix, *option]
        assert ids[: len(begun)] == begun
    # This tokenizer joins the bracket with the word, as a prefix in text would not.
    assert processor.tokenizer.decode(words.prefix) == "<answer"
    yes = [*words.prefix, *words.options[words.labels.index("Yes")]]
    assert processor.tokenizer.decode(yes) == "<answer>Yes"
    assert words.branches == [()], "the replies part in one token"


@pytest.fixture(scope="module")
def tokenizer(omni: Path):
    return AutoProcessor.from_pretrained(omni)


@given(
    words=st.lists(
        st.text("YesNo a!.é", min_size=1).filter(lambda word: word == word.strip()),
        min_size=2,
        max_size=4,
        unique_by=str.casefold,
    ),
    before=st.text("<answer> :\n", max_size=10),
    after=st.text("</answer> .\n", max_size=10),
)
@settings(max_examples=60)
def test_any_replies_part_at_their_first_different_token(
    words: list[str], before: str, after: str, omni: Path, tokenizer
) -> None:
    answer = Choice(kind="choice", options=tuple(words), reply=f"{before}{{answer}}{after}")
    one = member(omni, "omni")
    one = changed(one, question=one.card.question.model_copy(update={"answer": answer}))
    found = wording(tokenizer, one)
    end = tokenizer.tokenizer.eos_token
    replies = [
        tokenizer.tokenizer(
            answer.write(Reading(frozenset({word}))) + end, add_special_tokens=False
        ).input_ids
        for word in words
    ]
    count = len(found.prefix)
    assert found.labels == tuple(words)
    for reply, option, word in zip(replies, found.options, words, strict=True):
        assert reply[:count] == found.prefix
        assert option
        assert tuple(reply[count : count + len(option)]) == option
        said = tokenizer.tokenizer.decode(reply[: count + len(option)])
        assert said.startswith(before + word) or said.endswith(end)
    for option, other in itertools.permutations(found.options, 2):
        assert option[: len(other)] != other
    assert len({reply[count] for reply in replies}) > 1


# The texts of other members

PARTS = ["<|im_end|>", "<|video_pad|>", "<|im_", "end|>", "<|video", "_pad|>", "{a}", "{b}", "x"]


@given(text=st.lists(st.sampled_from(PARTS), max_size=6).map("".join))
def test_no_special_token_gets_into_a_question(text: str, tokenizer) -> None:
    prompt = "They say: {a}. And {b}!"
    found = filled(prompt, {"a": text, "b": "nothing"}, tokenizer.tokenizer)
    assert found.startswith("They say: ")
    assert found.endswith(". And nothing!")
    special = set(tokenizer.tokenizer.get_added_vocab().values())
    assert not special & set(tokenizer.tokenizer(found).input_ids)
    said = found.removeprefix("They say: ").removesuffix(". And nothing!")
    assert said.count("x") == text.count("x"), "and nothing else is left out"
    assert said.count("{b}") == text.count("{b}"), "a text names nobody"


def test_a_text_without_special_tokens_is_read_as_it_is(tokenizer) -> None:
    text = "<|smiles|>, {but} sighs.\n<answer>No</answer>"
    assert filled("{a}?", {"a": text}, tokenizer.tokenizer) == f"{text}?"


# What is said in a clip

TAGS = [*PARTS, "<", ">", "</subtitle>", "</sub", "title>", "<video>", "<|im_end|", "{subtitle}"]


@given(text=st.lists(st.sampled_from(TAGS), max_size=8).map("".join))
def test_a_subtitle_stays_inside_its_tags(text: str, tokenizer) -> None:
    found = filled("<subtitle>{subtitle}</subtitle>?", {SUBTITLE: text}, tokenizer.tokenizer)
    said = found.removeprefix("<subtitle>").removesuffix("</subtitle>?")
    assert len(said) == len(found) - len("<subtitle></subtitle>?")
    assert not set(said) & set("<>")
    special = set(tokenizer.tokenizer.get_added_vocab().values())
    assert not special & set(tokenizer.tokenizer(found).input_ids)
    assert said.count("x") == text.count("x"), "and no word is left out"


def test_a_subtitle_reads_as_it_is_written(tokenizer) -> None:
    text = "Q&A: «I'm, {well}, fine.» 我很好"
    assert filled("{subtitle}", {SUBTITLE: text}, tokenizer.tokenizer) == text
    tags = filled("{subtitle}", {SUBTITLE: "<i>No</i>"}, tokenizer.tokenizer)
    assert tags == "\u2039i\u203aNo\u2039/i\u203a"


def test_only_who_asks_for_it_is_told_what_is_said(omni: Path, tokenizer) -> None:
    deaf = member(omni, "omni")
    prompt = Prompt(system="s", user="They say: {subtitle}.")
    told = changed(deaf, question=deaf.card.question.model_copy(update={"prompt": prompt}))
    assert (deaf.card.texts, told.card.texts) == ((), (SUBTITLE,))
    assert wording(tokenizer, deaf, {SUBTITLE: "Hi!"}) == wording(tokenizer, deaf)
    assert "They say: Hi!." in wording(tokenizer, told, {SUBTITLE: "Hi!", "a": "x"}).text
    assert "They say: ." in wording(tokenizer, told, {"a": "x"}).text, "where nothing is said"
