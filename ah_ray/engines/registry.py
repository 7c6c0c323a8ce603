"""The engines by name, and which members one engine serves together."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Engine
from ah_ray.engines.vllm_engine import serves_adapters
from ah_ray.ensemble import EngineGroup, engine_groups
from ah_ray.errors import ConfigError
from ah_ray.members import Member
from ah_ray.names import find


@dataclass(frozen=True)
class EngineKind:
    """What must be known of an engine before it is loaded.

    Attributes:
        path: its class, ``(group, settings) -> Engine``, as ``module:Class``.
        needs_model: whether it needs a checkpoint and the media of the clips.
        serves_adapters: whether it answers for several adapters of one checkpoint; else each
            gets a pass of its own.
    """

    path: str
    needs_model: bool = True
    serves_adapters: Callable[[EngineGroup, ScoreConfig], bool] = lambda group, settings: True


ENGINES = {
    "transformers": EngineKind("ah_ray.engines.transformers_engine:TransformersEngine"),
    "vllm": EngineKind("ah_ray.engines.vllm_engine:VllmEngine", True, serves_adapters),
}
#: By the weights of members that have no model.
WITHOUT_MODEL = {
    "prior": EngineKind("ah_ray.engines.prior:PriorEngine", needs_model=False),
    "labels": EngineKind("ah_ray.engines.labels:LabelsEngine", needs_model=False),
}


def find_engine(name: str) -> EngineKind:
    """The engine ``name``, or one of your own at ``module:Class`` or ``module:EngineKind``.

    No engine of ours is imported; the module of your own is.

    Raises:
        ConfigError: there is no such engine.
    """
    found = find(name, ENGINES, "score.engine")
    if not (isinstance(found, EngineKind) or callable(found)):
        fix = "name a class, or an EngineKind"
        raise ConfigError("score.engine", f"{name!r} is {found!r}, and no engine", fix)
    return found if isinstance(found, EngineKind) else EngineKind(name)


def engine_of(group: EngineGroup, settings: ScoreConfig) -> EngineKind:
    """The engine that serves ``group``: that of the settings, but for members without a model.

    Raises:
        ConfigError: there is no such engine.
    """
    without = WITHOUT_MODEL.get(group.members[0].card.weights)
    return find_engine(settings.engine) if without is None else without


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
    engine: Engine = pkgutil.resolve_name(kind.path)(group, settings)
    return engine
