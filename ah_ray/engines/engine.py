"""The engine protocol: decoded clips in, one answer per clip out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ah_ray.config import ScoreConfig
from ah_ray.media.decode import DecodedClip
from ah_ray.members import EngineGroup, Member


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

    def answer(self, member: Member, clips: Sequence[DecodedClip]) -> list[Answer]:
        """Greedy answers of ``member`` to each clip, in order."""
        ...


def load_engine(group: EngineGroup, settings: ScoreConfig) -> Engine:
    """Load the engine that ``settings.engine`` names."""
    from ah_ray.engines.transformers_engine import TransformersEngine

    return TransformersEngine(group, settings)
