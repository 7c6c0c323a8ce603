"""The run config: one frozen, typed object per YAML file.

Each section stands beside what it configures. A wrong key, a missing file or a bad value is a
``ConfigError`` that names the file, the key and the fix, raised before anything starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from ah_ray.catalog.config import CatalogConfig
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.models.config import ModelConfig
from ah_ray.shipped import find_file
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.training.config import TrainConfig
from ah_ray.training.recipe import RecipeConfig
from ah_ray.yaml_objects import Frozen, Name, build, read_yaml, with_overrides

RESERVED = frozenset({"ensemble", "prior"})  # what stands beside the members in reports


class MemberConfig(Frozen):
    """One member of the ensemble: a recipe, a prompt, and what it changes of the recipe."""

    recipe: str
    prompt: str
    overrides: dict[str, Any] = Field(default_factory=dict)


class ArchiveConfig(Frozen):
    """What scoring an archive with finished members needs."""

    prepare: PrepareConfig = PrepareConfig()
    limits: LimitsConfig = LimitsConfig()
    score: ScoreConfig = ScoreConfig()
    reduce: ReduceConfig = ReduceConfig()


class RunConfig(ArchiveConfig):
    """Everything one run needs; see ``jobs/demo.yaml`` and ``jobs/paper.yaml``."""

    catalog: CatalogConfig
    task: str
    model: ModelConfig
    media: MediaConfig = MediaConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    recipes: dict[Name, RecipeConfig]
    members: dict[Name, MemberConfig] = Field(min_length=1)
    train: TrainConfig = TrainConfig()

    @field_validator("members")
    @classmethod
    def _names_are_free(cls, value: dict[str, MemberConfig]) -> dict[str, MemberConfig]:
        if taken := sorted(RESERVED & value.keys()):
            raise ValueError(f"a member cannot be called {taken[0]}: reports use that name")
        return value

    def recipe(self, member: str) -> RecipeConfig:
        """The recipe of a member with its overrides applied.

        Raises:
            ConfigError: the recipe does not exist, an override is wrong, or the processes of
                ``train`` cannot make its optimizer steps.
        """
        settings = self.members[member]
        if settings.recipe not in self.recipes:
            raise ConfigError(
                f"members.{member}.recipe",
                f"there is no recipe {settings.recipe!r}",
                f"one of {sorted(self.recipes)}, or add it under recipes",
            )
        base = self.recipes[settings.recipe]
        recipe = base.with_overrides(settings.overrides, f"members.{member}.overrides")
        recipe.accumulation(self.train.processes, f"recipes.{settings.recipe} (member {member})")
        return recipe


def load_config(
    path: str | Path,
    run: str,
    overrides: Sequence[str] = (),
    members: Sequence[str] | None = None,
) -> RunConfig:
    """Read and check a run config.

    Args:
        path: the YAML file; ``find_file`` says where it is looked for, and that the catalog entry
            in it, and a task of your own, may stand relative to it.
        run: the run directory; replaces ``{run}`` in ``catalog.root`` and ``model.path``.
        overrides: ``key.subkey=value`` settings that win over the file, values in YAML syntax.
        members: keep only these of its members.

    Raises:
        ConfigError: the file is missing, is no YAML, holds a wrong key or value, or has no such
            member.
    """
    if not str(path).strip():
        raise ConfigError("--config", "names nothing", "name a file such as jobs/demo.yaml")
    path = find_file(path) or path
    values = with_overrides(read_yaml(path), overrides)
    for section, key in (("catalog", "root"), ("model", "path")):
        if isinstance(values.get(section), dict) and isinstance(values[section].get(key), str):
            values[section][key] = values[section][key].replace("{run}", run.rstrip("/"))
    config = build(RunConfig, values, str(path))
    entry = find_file(config.catalog.entry, beside=Path(path).parent)
    if entry is None:
        raise ConfigError(
            f"{path}: catalog.entry",
            f"{config.catalog.entry} does not exist",
            "name a file relative to the config, to the folder you start from, or of data_catalog/",
        )
    config = config.model_copy(
        update={"catalog": config.catalog.model_copy(update={"entry": str(entry)})}
    )
    if config.task.endswith((".yaml", ".yml")):
        own = find_file(config.task, beside=Path(path).parent) or config.task
        config = config.model_copy(update={"task": str(own)})
    if unknown := sorted(set(members or ()) - set(config.members)):
        raise ConfigError(
            "--members", f"{path} has no {', '.join(unknown)}", f"some of {list(config.members)}"
        )
    if members is not None:
        chosen = {name: config.members[name] for name in config.members if name in members}
        config = config.model_copy(update={"members": chosen})
    task = load_task(config.task)
    for name, member in config.members.items():
        config.recipe(name)
        task.prompt(member.prompt, f"{path}: members.{name}.prompt")
    return config
