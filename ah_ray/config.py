"""The run config: one frozen, typed object per YAML file.

Each section stands beside what it configures. A wrong key, a missing file or a bad value is a
``ConfigError`` that names the file, the key and the fix, raised before anything starts.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from ah_ray import storage
from ah_ray.captions.config import AugmentConfig
from ah_ray.captions.rows import Source
from ah_ray.catalog.config import CatalogConfig
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.evaluation.config import EvaluateConfig
from ah_ray.evaluation.metrics import NOTES, OF_ONE_MEMBER, measured
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.models.architecture import find_architecture, require_media
from ah_ray.models.config import ModelConfig
from ah_ray.report.config import ReportConfig
from ah_ray.shipped import find_file
from ah_ray.tasks import LABEL, SUBTITLE, Question, load_task
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.training.config import TrainConfig
from ah_ray.training.megatron_trainer import require_possible
from ah_ray.training.parts import require_parts
from ah_ray.training.recipe import MEMBER_DATA, RecipeConfig
from ah_ray.yaml_objects import Count, Frozen, Name, build, read_yaml, with_overrides

# What stands beside the members in reports: all of them together, and base rates.
ENSEMBLE, BASELINE = "ensemble", "prior"


def problem_of_name(name: str) -> str | None:
    """Why no member can be called ``name``; None when one can."""
    users = {ENSEMBLE: "reports use", BASELINE: "reports use"}
    users |= {SUBTITLE: "prompts use", LABEL: "prompts use"}
    return f"a member cannot be called {name}: {users[name]} that name" if name in users else None


Decoding = Literal["answer", "generate"]
MAX_NEW_TOKENS = 32  # the default, for replies of one word


class MemberConfig(Frozen):
    """One member of the ensemble.

    Attributes:
        recipe: how it is tuned; null for the base model as it is.
        prompt: which wording of its task.
        overrides: what it changes of the recipe.
        captions: what it is tuned on in place of labelled clips: the run of ``ah-ray augment`` that
            has the captions, or a file like its ``captions.jsonl``.
        task: what it is asked, if that is not the ``task`` of the run.
        model: one of ``models``; by default ``model``.
        media: what it changes of ``media``.
        decoding: see ``members.MemberCard``.
        max_new_tokens: the same.
        reads: the members whose texts stand in its prompt, in the place of ``{NAME}``; and
            ``label`` for what the archive says of a clip, which a captioner may be told.
    """

    recipe: str | None = None
    prompt: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    captions: str | None = None
    task: str | None = None
    model: Name | None = None
    media: dict[str, Any] = Field(default_factory=dict)
    decoding: Decoding = "answer"
    max_new_tokens: Count = MAX_NEW_TOKENS
    reads: tuple[Name, ...] = ()


class ArchiveConfig(Frozen):
    """What scoring an archive with finished members needs."""

    prepare: PrepareConfig = PrepareConfig()
    limits: LimitsConfig = LimitsConfig()
    score: ScoreConfig = ScoreConfig()
    reduce: ReduceConfig = ReduceConfig()
    report: ReportConfig = ReportConfig()


class RunConfig(ArchiveConfig):
    """Everything one run needs; see ``jobs/demo.yaml`` and ``jobs/paper.yaml``."""

    catalog: CatalogConfig
    task: str
    model: ModelConfig
    models: dict[Name, ModelConfig] = Field(default_factory=dict)
    media: MediaConfig = MediaConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    recipes: dict[Name, RecipeConfig] = Field(default_factory=dict)
    members: dict[Name, MemberConfig] = Field(min_length=1)
    train: TrainConfig = TrainConfig()
    augment: AugmentConfig = AugmentConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @field_validator("members")
    @classmethod
    def _names_are_free(cls, value: dict[str, MemberConfig]) -> dict[str, MemberConfig]:
        if problems := [problem for name in value if (problem := problem_of_name(name))]:
            raise ValueError(problems[0])
        return value

    @property
    def tuned(self) -> list[str]:
        """The members that are trained; the others are base models as they are."""
        return [name for name, member in self.members.items() if member.recipe is not None]

    @property
    def tuned_on_labels(self) -> list[str]:
        """Those of them that are trained on the clips of the run."""
        return [name for name in self.tuned if self.members[name].captions is None]

    @property
    def told(self) -> list[str]:
        """The members that are told the label of a clip, as none is that is evaluated."""
        return [name for name, member in self.members.items() if LABEL in member.reads]

    def require_untold(self) -> None:
        """Fail where a member is told what it would be asked.

        Raises:
            ConfigError: naming the first.
        """
        if told := self.told:
            problem = "it would be told the label of a clip that it is asked about"
            fix = "caption with it (`ah-ray augment`), or take {label} out of its prompt"
            raise ConfigError(f"members.{told[0]}.reads", problem, fix)

    def captions_of(self, member: str) -> Source | None:
        """The captions that a member is tuned on; None for one that is not."""
        uri = self.members[member].captions
        held_back = set(self.train.validation_splits) - set(self.train.splits)
        return None if uri is None else Source(storage.absolute(uri), tuple(sorted(held_back)))

    def voters(self) -> list[str]:
        """The members that vote: whose answers are labels, and whom no other member reads.

        Raises:
            ConfigError: as ``question``.
        """
        read = {name for member in self.members.values() for name in member.reads}
        unread = [name for name in self.members if name not in read]
        return [name for name in unread if self.question(name).answer.votes]

    def judgement(self, voters: Collection[str] | None = None) -> Judgement:
        """How the answers of the members are judged; ``voters`` are those that rules may name.

        Raises:
            ConfigError: a rule, a metric or a policy does not go with the task.
        """
        judgement = load_task(self.task).judged(self.reduce, voters)
        measured([], judgement.metrics, judgement.answer)
        return judgement

    def question(self, member: str) -> Question:
        """What a member is asked.

        Raises:
            ConfigError: there is no such task or wording, or it does not go with ``reads``.
        """
        settings, where = self.members[member], f"members.{member}.prompt"
        question = load_task(settings.task or self.task).question(settings.prompt, where)
        for name in settings.reads:
            if name not in {LABEL, *self.members}:
                known = f"one of {sorted(self.members.keys() - {member})}"
                raise ConfigError(f"members.{member}.reads", f"there is no member {name}", known)
            if not question.prompt.has(name):
                problem = f"{member} reads {name}, but its prompt has no {{{name}}}"
                raise ConfigError(where, problem, "write it where the text shall stand")
        for name in {LABEL, *self.members} - {*settings.reads}:
            if question.prompt.has(name):
                problem = f"has {{{name}}}, but {member} does not read {name}"
                raise ConfigError(where, problem, f"add {name} to members.{member}.reads")
        return question

    def model_of(self, member: str) -> ModelConfig:
        """The base model of a member.

        Raises:
            ConfigError: there is no such model.
        """
        name = self.members[member].model
        if name is None:
            return self.model
        if name not in self.models:
            known = f"one of {sorted(self.models)}, or add it under models"
            raise ConfigError(f"members.{member}.model", f"there is no model {name!r}", known)
        return self.models[name]

    def media_of(self, member: str) -> MediaConfig:
        """What a member gets of a clip.

        Raises:
            ConfigError: a setting is wrong.
        """
        values = dict(self.media) | self.members[member].media
        return build(MediaConfig, values, f"members.{member}.media")

    def recipe(self, member: str) -> RecipeConfig:
        """The recipe of a member that is tuned, with its overrides applied.

        Raises:
            ConfigError: the recipe does not exist, an override is wrong, or the processes of
                ``train`` cannot make its optimizer steps or be divided as Megatron is to.
        """
        settings = self.members[member]
        if settings.recipe is None:
            problem = f"{member} is the base model as it is"
            raise ConfigError(f"members.{member}.recipe", problem, "name a recipe to tune it")
        if settings.reads:
            problem = "a member that reads others is not trained: their texts are not known then"
            raise ConfigError(f"members.{member}.recipe", problem, "leave the recipe out")
        judged = load_task(self.task)
        if settings.captions is not None:
            answer = self.question(member).answer
            if answer.votes and not answer.explains:
                problem = f"captions teach {member} to write text, but it is asked for labels"
                fix = "ask it for text or an explanation, and let another member read that"
                raise ConfigError(f"members.{member}.captions", problem, fix)
        elif self.question(member).answer != judged.answer:
            key = "task" if settings.task else "prompt"
            asked = f"{getattr(settings, key)} has another answer than {self.task}"
            problem, fix = f"{asked}, whose labels there are", f"another {key}, or no recipe"
            raise ConfigError(f"members.{member}.{key}", problem, fix)
        if settings.recipe not in self.recipes:
            raise ConfigError(
                f"members.{member}.recipe",
                f"there is no recipe {settings.recipe!r}",
                f"one of {sorted(self.recipes)}, or add it under recipes",
            )
        base = self.recipes[settings.recipe]
        recipe = base.with_overrides(settings.overrides, f"members.{member}.overrides")
        explains = self.question(member).answer.explains
        if explains and settings.captions is None and recipe.grpo is None:
            problem = f"labels alone would teach {member} to reply without an explanation"
            fix = "name captions that explain them (docs/captions.md), or leave the recipe out"
            raise ConfigError(f"members.{member}.captions", problem, fix)
        if settings.captions is not None:
            _require_of_captions(recipe, f"recipes.{settings.recipe} (member {member})")
        _require_stages(recipe, self.model_of(member), f"recipes.{settings.recipe}", member)
        named = f"recipes.{settings.recipe} (member {member})"
        require_possible(recipe, self.train, self.model_of(member), named)
        recipe.accumulation(self.train.processes, named)
        known = measured([], judged.metrics, judged.answer).keys() - NOTES - OF_ONE_MEMBER
        if recipe.best_by not in {"loss", *known}:
            raise ConfigError(
                f"recipes.{settings.recipe}.best_by (member {member})",
                f"there is no metric {recipe.best_by!r}",
                f"loss, or one of {sorted(known)}",
            )
        return recipe


def _in_run(stated: str, run: str) -> str:
    """A place with the run directory in it; what lies beside or above that is named as it is."""
    whole = stated.replace("{run}", run)
    if "{run}/.." not in stated:
        return whole
    protocol, mark, path = whole.rpartition("://")
    return f"{protocol}{mark}{posixpath.normpath(path)}"


def _require_stages(recipe: RecipeConfig, model: ModelConfig, where: str, member: str) -> None:
    """Fail when stages train what the model does not have, or are rewarded.

    Raises:
        ConfigError: naming the stage.
    """
    for number, stage in enumerate(recipe.stages):
        key = f"{where}.stages.{number}.trains (member {member}, stage {stage.name})"
        architecture = find_architecture(model.architecture)
        require_parts(architecture, model.architecture, stage.trains, key)
    if recipe.stages and all(MEMBER_DATA not in stage.data for stage in recipe.stages):
        problem = f"no stage learns what {member} is asked"
        raise ConfigError(f"{where}.stages", problem, f"add {MEMBER_DATA} to the data of one")


def _require_of_captions(recipe: RecipeConfig, where: str) -> None:
    """Fail when a recipe asks for labels, which captions do not have.

    Raises:
        ConfigError: naming the setting.
    """
    asked = {"grpo": recipe.grpo is not None, "balance": recipe.balance != "none"}
    asked["best_by"] = recipe.best_by != "loss"
    for key in (key for key, is_asked in asked.items() if is_asked):
        raise ConfigError(f"{where}.{key}", "captions have no labels to go by", "leave it out")


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
        run: the run directory; replaces ``{run}`` in ``catalog.root``, the paths of models and
            ``captions``.
        overrides: ``key.subkey=value`` settings that win over the file, values in YAML syntax.
        members: keep only these of its members.

    Raises:
        ConfigError: the file is missing, is no YAML, holds a wrong key or value, or has no such
            member; or the model cannot be given such media.
    """
    if not str(path).strip():
        raise ConfigError("--config", "names nothing", "name a file such as jobs/demo.yaml")
    path = find_file(path) or path
    values = with_overrides(read_yaml(path), overrides)
    named = [of for key in ("models", "members") if isinstance(of := values.get(key), dict)]
    sections = [
        values.get("catalog"),
        values.get("model"),
        *(s for of in named for s in of.values()),
    ]
    for section in sections:
        for key in ("root", "path", "captions"):
            if isinstance(section, dict) and isinstance(section.get(key), str):
                section[key] = _in_run(section[key], run.rstrip("/"))
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

    def whole(task: str) -> str:
        """A task of one's own by its whole path."""
        own = task.endswith((".yaml", ".yml"))
        return str(find_file(task, beside=Path(path).parent) or task) if own else task

    settings = {
        name: member.model_copy(update={"task": whole(member.task)}) if member.task else member
        for name, member in config.members.items()
    }
    config = config.model_copy(update={"task": whole(config.task), "members": settings})
    if unknown := sorted(set(members or ()) - set(config.members)):
        raise ConfigError(
            "--members", f"{path} has no {', '.join(unknown)}", f"some of {list(config.members)}"
        )
    every = config
    if members is not None:
        chosen = {name: config.members[name] for name in config.members if name in members}
        config = config.model_copy(update={"members": chosen})
    judgement = config.judgement()
    read = {name for member in config.members.values() for name in member.reads}
    for name, member in config.members.items():
        if member.recipe is not None or member.overrides or member.captions is not None:
            config.recipe(name)
        answer = config.question(name).answer
        if answer.votes and name not in read and answer != judgement.answer:
            key = "task" if member.task else "prompt"
            asked = f"{getattr(member, key)} has another answer than {config.task}"
            fix = "let another member read it, or ask it something that is text"
            where = f"{path}: members.{name}.{key}"
            raise ConfigError(where, f"{asked}, on which it would vote", fix)
        changed = f" (member {name})" if member.media or member.model else ""
        require_media(config.model_of(name), config.media_of(name), f"{path}{changed}")
    # Rules are those of all members: the weight of one that is left out does not count.
    voters = every.voters()
    every.judgement(voters)
    if judgement.answer.votes and not voters:
        problem = "nobody votes: all members write text, or are read by others"
        fix = f"add a member that is asked {config.task} and that nobody reads"
        raise ConfigError(f"{path}: members", problem, fix)
    return config
