"""A member's question and its two replies in tokens: the same for every engine, as in training."""

from __future__ import annotations

from itertools import takewhile
from typing import Any, NamedTuple

from ah_ray.members import Member
from ah_ray.tasks import chat_messages


class Wording(NamedTuple):
    """A member's conversation in tokens.

    Attributes:
        text: the conversation up to the reply, with one placeholder per medium.
        ids: its tokens.
        kinds: of the media in it, in order; a model without ears gets no audio.
        prefix: the tokens that both replies begin with.
        yes: the token with which the positive reply goes on.
        no: the token with which the negative reply goes on.
    """

    text: str
    ids: list[int]
    kinds: tuple[str, ...]
    prefix: list[int]
    yes: int
    no: int


def wording(processor: Any, member: Member) -> Wording:
    """The tokens of a member's conversation.

    The replies are tokenised whole, as they are in training, and then compared: a tokenizer may
    join the last character before the answer with the answer.

    Args:
        processor: of the member's checkpoint.
        member: its card names the task and the prompt, and what the model gets of a clip.
    """
    task = member.card.task
    hears = getattr(processor, "feature_extractor", None) is not None
    kinds = tuple(kind for kind in member.card.media.kinds if hears or kind != "audio")
    messages = chat_messages(member.card.wording, kinds)
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def tokens(part: str) -> list[int]:
        ids: list[int] = processor.tokenizer(part, add_special_tokens=False).input_ids
        return ids

    # The end of the turn settles replies of which one begins with the other.
    yes, no = (tokens(task.reply(label) + processor.tokenizer.eos_token) for label in (1, 0))
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(yes, no, strict=False)))
    return Wording(text, tokens(text), kinds, yes[:common], yes[common], no[common])
