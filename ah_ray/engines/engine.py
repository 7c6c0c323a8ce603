"""The engine protocol: decoded clips in, one answer per clip out."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ah_ray.config import ScoreConfig
from ah_ray.errors import ConfigError
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


# The engines by name; a class ``(group, settings) -> Engine`` of your own is ``module:Class``.
ENGINES = {"transformers": "ah_ray.engines.transformers_engine:TransformersEngine"}


def find_engine(name: str) -> tuple[str, str]:
    """Module and class of the engine ``name``; nothing is imported but the packages around it.

    Raises:
        ConfigError: there is no such engine.
    """
    module, colon, attribute = ENGINES.get(name, name).partition(":")
    try:
        found = colon and attribute and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        fix = f"one of {sorted(ENGINES)}, or module:Class of your own"
        raise ConfigError("score.engine", f"there is no engine {name!r}", fix)
    return module, attribute


def load_engine(group: EngineGroup, settings: ScoreConfig) -> Engine:
    """Load a group's checkpoint into the engine that ``settings.engine`` names.

    Raises:
        ConfigError: there is no such engine.
    """
    module, attribute = find_engine(settings.engine)
    engine: Engine = getattr(importlib.import_module(module), attribute)(group, settings)
    return engine
