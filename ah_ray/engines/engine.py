"""The engine protocol: decoded clips in, one answer per member and clip out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ah_ray.media.decode import DecodedClip
from ah_ray.members import Member
from ah_ray.tasks import Task


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
        p_yes: P(positive word | one of the two words) where the reply states its word; None when
            the reply does not get there.
    """

    text: str
    p_yes: float | None


class Engine(Protocol):
    """Runs one checkpoint, with the adapters of the members that share it."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        """Greedy answers: for each of ``members`` one to each of ``clips``, in order."""
        ...


def likelier_answer(task: Task, p_yes: float) -> Answer:
    """The answer to a task where only its chances are known: the likelier of the two."""
    return Answer(task.reply(int(p_yes > 0.5)), p_yes)
