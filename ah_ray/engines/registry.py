"""The engines by name, and which members one engine serves together."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ah_ray.config import ScoreConfig
from ah_ray.engines.engine import Engine
from ah_ray.engines.vllm_engine import serves_adapters
from ah_ray.errors import ConfigError
from ah_ray.members import EngineGroup, Member, engine_groups


@dataclass(frozen=True)
class EngineKind:
    """What must be known of an engine before it is loaded.

    Attributes:
        module: where its class is.
        name: of the class, ``(group, settings) -> Engine``.
        needs_model: whether it needs a checkpoint and the media of the clips.
        serves_adapters: whether it answers for several adapters of one checkpoint; else each
            gets a pass of its own.
    """

    module: str
    name: str
    needs_model: bool = True
    serves_adapters: Callable[[EngineGroup, ScoreConfig], bool] = lambda group, settings: True


ENGINES = {
    "transformers": EngineKind("ah_ray.engines.transformers_engine", "TransformersEngine"),
    "vllm": EngineKind("ah_ray.engines.vllm_engine", "VllmEngine", True, serves_adapters),
}
PRIOR = EngineKind("ah_ray.engines.prior", "PriorEngine", needs_model=False)


def find_engine(name: str) -> EngineKind:
    """The engine ``name``, or the one of your own at ``module:Class``; nothing is loaded.

    Raises:
        ConfigError: there is no such engine.
    """
    if name in ENGINES:
        return ENGINES[name]
    module, _, attribute = name.partition(":")
    try:
        found = attribute and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        fix = f"one of {sorted(ENGINES)}, or module:Class of your own"
        raise ConfigError("score.engine", f"there is no engine {name!r}", fix)
    return EngineKind(module, attribute)


def engine_of(group: EngineGroup, settings: ScoreConfig) -> EngineKind:
    """The engine that serves ``group``: that of the settings, but for members without a model.

    Raises:
        ConfigError: there is no such engine.
    """
    if group.members[0].card.weights == "prior":
        return PRIOR
    return find_engine(settings.engine)


def plan_passes(members: Sequence[Member], settings: ScoreConfig) -> list[EngineGroup]:
    """The passes over the clips: the members that one engine serves together.

    Raises:
        ConfigError: there is no such engine.
    """
    passes = []
    for group in engine_groups(members):
        kind = engine_of(group, settings)
        if len(group.members) == 1 or kind.serves_adapters(group, settings):
            passes.append(group)
        else:
            passes += [EngineGroup(group.checkpoint, (member,)) for member in group.members]
    return passes


def load_engine(group: EngineGroup, settings: ScoreConfig) -> Engine:
    """Load a group's checkpoint into its engine.

    Raises:
        ConfigError: there is no such engine.
    """
    kind = engine_of(group, settings)
    engine: Engine = getattr(importlib.import_module(kind.module), kind.name)(group, settings)
    return engine
