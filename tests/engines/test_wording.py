"""Prompts and replies in tokens, against the tokenisation of the whole conversation."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from ah_ray.engines.wording import with_texts, wording
from ah_ray.tasks import Prompt
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
    prompt = Prompt(system="s", user="They say: {a}. And {b}!")
    found = with_texts(prompt, {"a": text, "b": "nothing"}, tokenizer.tokenizer)
    assert found.system == "s"
    assert found.user.startswith("They say: ")
    assert found.user.endswith(". And nothing!")
    special = set(tokenizer.tokenizer.get_added_vocab().values())
    assert not special & set(tokenizer.tokenizer(found.user).input_ids)
    said = found.user.removeprefix("They say: ").removesuffix(". And nothing!")
    assert said.count("x") == text.count("x"), "and nothing else is left out"
    assert said.count("{b}") == text.count("{b}"), "a text names nobody"


def test_a_text_without_special_tokens_is_read_as_it_is(tokenizer) -> None:
    text = "<|smiles|>, {but} sighs.\n<answer>No</answer>"
    prompt = with_texts(Prompt(system="", user="{a}?"), {"a": text}, tokenizer.tokenizer)
    assert prompt.user == f"{text}?"
