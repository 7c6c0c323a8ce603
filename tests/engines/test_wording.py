"""Prompts and replies in tokens, against the tokenisation of the whole conversation."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from ah_ray.engines.wording import wording
from ah_ray.members import Member
from ah_ray.tasks import load_task
from tests.engines.tiny_models import member


def test_the_reply_begins_as_it_was_trained(omni: Path) -> None:
    processor = AutoProcessor.from_pretrained(omni)
    words = wording(processor, member(omni, "omni"))
    task = load_task("cue_conflict")
    for label, option in enumerate(words.options):
        conversation = words.text + task.reply(label) + "<|im_end|>"
        ids = processor.tokenizer(conversation, add_special_tokens=False).input_ids
        begun = [*words.ids, *words.prefix, *option]
        assert ids[: len(begun)] == begun
    # This tokenizer joins the bracket with the word, as a prefix in text would not.
    assert processor.tokenizer.decode(words.prefix) == "<answer"
    yes = [*words.prefix, *words.options[1]]
    assert processor.tokenizer.decode(yes) == "<answer>Yes"
    assert words.branches == [()], "the replies part in one token"


@pytest.fixture(scope="module")
def tokenizer(omni: Path):
    return AutoProcessor.from_pretrained(omni)


@given(
    words=st.tuples(st.text("YesNo a!.é", min_size=1), st.text("YesNo a!.é", min_size=1)).filter(
        lambda pair: pair[0].casefold() != pair[1].casefold()
    ),
    before=st.text("<answer> :\n", max_size=10),
    after=st.text("</answer> .\n", max_size=10),
)
@settings(max_examples=60)
def test_any_two_replies_part_at_their_first_different_token(
    words: tuple[str, str], before: str, after: str, omni: Path, tokenizer
) -> None:
    task = load_task("cue_conflict").model_copy(
        update={"positive": words[0], "negative": words[1], "answer": f"{before}{{answer}}{after}"}
    )
    card = member(omni, "omni").card.model_copy(update={"task": task})
    found = wording(tokenizer, Member(str(omni), card))
    end = tokenizer.tokenizer.eos_token
    yes, no = (
        tokenizer.tokenizer(task.reply(label) + end, add_special_tokens=False).input_ids
        for label in (1, 0)
    )
    count = len(found.prefix)
    assert yes[:count] == no[:count] == found.prefix
    for reply, option, label in ((yes, found.options[1], 1), (no, found.options[0], 0)):
        assert option
        assert tuple(reply[count : count + len(option)]) == option
        said = tokenizer.tokenizer.decode(reply[: count + len(option)])
        assert said.startswith(before + words[1 - label]) or said.endswith(end)
    assert found.options[0][: len(found.options[1])] != found.options[1]
    assert found.options[1][: len(found.options[0])] != found.options[0]
