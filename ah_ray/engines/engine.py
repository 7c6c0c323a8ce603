"""The engine protocol: decoded clips in, one answer per member and clip out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ah_ray.engines.wording import Scores, Wording, weigh
from ah_ray.media.decode import DecodedClip
from ah_ray.members import Member
from ah_ray.tasks import Task
from ah_ray.tasks.rules import is_positive


@dataclass(frozen=True, kw_only=True)
class Clip(DecodedClip):
    """A decoded clip that knows its video.

    Attributes:
        video_id: of the video.
    """

    video_id: str


class Answer(NamedTuple):
    """What a model says about one clip.

    Attributes:
        text: the reply as it was written.
        p_yes: P(positive reply | one of the two replies) where that is known; None when the reply
            does not get to its word, or the model was not asked for all of both. Not a number where
            the model's scores are none: that is an error of the clip (``pipelines.scorer``).
        mass: the probability of both replies together, of all that begin as both do; None as above,
            and where no model was asked.
    """

    text: str
    p_yes: float | None
    mass: float | None = None


class Engine(Protocol):
    """Runs one checkpoint, with the adapters of the members that share it."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        """Greedy answers: for each of ``members`` one to each of ``clips``, in order."""
        ...


def written_answer(text: str, words: Wording, scores: Scores | None, broken: bool) -> Answer:
    """The answer of a model that wrote ``text``.

    Args:
        text: its reply.
        words: what it was asked.
        scores: what it showed on the way to the reply's word (``scores_of_reply``).
        broken: some of its scores are no numbers, so that the text says nothing.
    """
    if broken:
        return Answer(text, math.nan, math.nan)
    if scores is None:
        return Answer(text, None)
    weighed = weigh(words.options, scores)
    return Answer(text, weighed.p_yes, weighed.mass)


def likelier_answer(task: Task, p_yes: float, mass: float | None = None) -> Answer:
    """The answer to a task where only its chances are known: the likelier of the two."""
    return Answer(task.reply(int(is_positive(p_yes))), p_yes, mass)
