"""A recipe: how a member is tuned."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ah_ray.errors import ConfigError
from ah_ray.yaml_objects import Count, Frozen, Name, Positive, build

#: The named targets that reach the experts of a mixture of experts.
WITH_EXPERTS = ("experts", "all-linear")

MEMBER_DATA = "member"  # stands for what a member is tuned on
_PARTS = ("lora", "full", "grpo")  # settings that stand together
_SECTIONS = (*_PARTS, "megatron")


class LoraConfig(Frozen):
    """An adapter is trained, the weights stay.

    Attributes:
        rank: of the adapter.
        alpha: scale of the adapter.
        dropout: of the adapter; fused experts take none.
        targets: which matrices get an adapter: ``attention``, ``experts`` or ``all-linear`` of the
            language model, or a regular expression for their full names in the checkpoint.
    """

    rank: Count = 8
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: str = "attention"

    @field_validator("targets")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _experts_take_no_dropout(self) -> LoraConfig:
        if self.dropout and self.targets in WITH_EXPERTS:
            raise ValueError(
                f"targets {self.targets} reaches the experts, whose adapters cannot have dropout: "
                f"dropout must be 0, not {self.dropout}"
            )
        return self


class FullConfig(Frozen):
    """The weights themselves are trained; what is not named here is frozen.

    Attributes:
        language: tune the language model.
        vision: tune the vision and audio towers.
        aligner: tune the projections into the language model.
    """

    language: bool = True
    vision: bool = False
    aligner: bool = False


class GrpoConfig(Frozen):
    """The model writes replies, and those that the task's parser reads as the label are rewarded.

    Attributes:
        generations: replies that are compared with each other.
        temperature: of these replies.
        max_reply_tokens: longest reply.
    """

    generations: Annotated[int, Field(ge=2)] = 8
    temperature: Positive = 1.0
    max_reply_tokens: Count = 64


class MegatronConfig(Frozen):
    """How Megatron divides a training among GPUs; it has never been run.

    Attributes:
        expert_parallel: GPUs that hold the experts of a layer once together
            (``expert_model_parallel_size``).
        tensor_parallel: GPUs that hold every other matrix once together
            (``tensor_model_parallel_size``).
        pipeline_parallel: groups of GPUs with a part of the layers each
            (``pipeline_model_parallel_size``).
        sequence_parallel: with ``tensor_parallel``, divide what lies between these matrices too.
    """

    expert_parallel: Count = 1
    tensor_parallel: Count = 1
    pipeline_parallel: Count = 1
    sequence_parallel: bool = True


class StageConfig(Frozen):
    """One of several trainings of a member, each of which goes on from the one before.

    Attributes:
        name: of the stage.
        trains: the parts of the architecture that are trained; all others stay as they are.
        lora: train the language model, if it is among them, by an adapter, which is merged into it
            when the stage ends.
        data: what it learns from: ``member`` for what the member is tuned on, or files of rows
            (``training.row_files``), in whose names ``{run}`` is the run directory.
        learning_rate: peak of the schedule; by default the recipe's.
        epochs: passes over the data; by default the recipe's.
    """

    name: Name
    trains: tuple[str, ...]
    lora: LoraConfig | None = None
    data: tuple[str, ...] = (MEMBER_DATA,)
    learning_rate: Positive | None = None
    epochs: Positive | None = None

    @model_validator(mode="after")
    def _trains_something(self) -> StageConfig:
        for key in ("trains", "data"):
            named = getattr(self, key)
            if not named:
                raise ValueError(f"{key} names nothing: a stage has at least one")
            if len(set(named)) < len(named):
                raise ValueError(f"{key} names something twice")
        if self.lora and "language" not in self.trains:
            raise ValueError("lora is of the language model, and trains does not name language")
        return self


class RecipeConfig(Frozen):
    """How a member is tuned: the rows of the paper's Table I, and what it leaves open.

    Attributes:
        lora: train an adapter; a recipe has this or ``full`` or ``stages``.
        full: train the weights.
        stages: train some parts after the others; what comes out are weights.
        grpo: be rewarded for replies; null to learn the replies that the labels ask for.
        trainer: of MS-Swift: ``swift`` is transformers' own, ``megatron`` the one of Megatron,
            which has never been run (``training.megatron_trainer``).
        megatron: how that one divides the training.
        learning_rate: peak of the schedule.
        scheduler: how the learning rate falls after it, as transformers names it.
        epochs: passes over the training clips.
        batch_size: clips (with grpo: replies) per process and forward pass.
        global_batch_size: the same per optimizer step, of all processes together; how many forward
            passes each of them makes for a step follows.
        max_length: longest conversation in tokens.
        warmup_ratio: share of the steps that warm the learning rate up.
        weight_decay: of all weights but biases and norms.
        gradient_checkpointing: recompute activations to save memory.
        packing: put several conversations into one sequence of ``max_length`` (FlashAttention).
        deepspeed: ZeRO preset of MS-Swift such as ``zero3``; null for none.
        balance: ``oversample`` repeats clips of the rarer label until both are as many.
        log_every_steps: optimizer steps between reports of loss and speed.
        save_every_steps: optimizer steps between checkpoints, each of which is validated; null
            for once an epoch.
        save_total_limit: checkpoints that are kept at a time, besides the best.
        best_by: which checkpoint becomes the member: the one with the lowest ``loss`` on
            validation clips, or the highest value of a video-level metric of the task, such as
            ``macro_f1``.
        early_stop_after: stop after so many validations without a lower loss; null for never.
        seed: of initialisation, data order and dropout.
        extra_args: further MS-Swift arguments by name, for what has no name here.
    """

    lora: LoraConfig | None = None
    full: FullConfig | None = None
    grpo: GrpoConfig | None = None
    stages: tuple[StageConfig, ...] = ()
    trainer: Literal["swift", "megatron"] = "swift"
    megatron: MegatronConfig | None = None
    learning_rate: Positive
    scheduler: str = "cosine"
    epochs: Positive = 1.0
    batch_size: Count = 2
    global_batch_size: Count = 64
    max_length: Count = 32768
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    gradient_checkpointing: bool = True
    packing: bool = False
    deepspeed: str | None = None
    balance: Literal["none", "oversample"] = "none"
    log_every_steps: Count = 1
    save_every_steps: Count | None = None
    save_total_limit: Count = 2
    best_by: str = "loss"
    early_stop_after: Count | None = None
    seed: Annotated[int, Field(ge=0)] = 42
    extra_args: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _megatron_is_of_its_trainer(self) -> RecipeConfig:
        if self.megatron is not None and self.trainer != "megatron":
            raise ValueError("has megatron: set trainer to megatron, or leave it out")
        return self

    @model_validator(mode="after")
    def _is_lora_or_full(self) -> RecipeConfig:
        if self.stages:
            if also := [key for key in _PARTS if getattr(self, key) is not None]:
                raise ValueError(f"has stages and {also[0]}: its stages say what is trained")
            names = [stage.name for stage in self.stages]
            if len(set(names)) < len(names):
                raise ValueError(f"stages have one name twice: {', '.join(names)}")
            return self
        if (self.lora is None) == (self.full is None):
            has = "has neither lora nor full" if self.lora is None else "has both lora and full"
            raise ValueError(f"{has}: give one of them (`lora: {{}}` is an adapter by default)")
        return self

    def of_stage(self, stage: StageConfig) -> RecipeConfig:
        """The recipe of one of the stages; which parts it trains is not in it."""
        frozen = FullConfig(language=False, vision=False, aligner=False)
        changes = {"stages": (), "lora": stage.lora, "full": None if stage.lora else frozen}
        stated = {"learning_rate": stage.learning_rate, "epochs": stage.epochs}
        return self.model_copy(
            update=changes | {key: value for key, value in stated.items() if value is not None}
        )

    @property
    def tuner(self) -> Literal["lora", "full"]:
        """What is trained, as MS-Swift names it."""
        return "full" if self.lora is None else "lora"

    @property
    def weights(self) -> Literal["adapter", "full"]:
        """What comes out, as a member's card names it."""
        return "full" if self.lora is None else "adapter"

    @property
    def algorithm(self) -> Literal["sft", "grpo"]:
        """How it is learned, as MS-Swift names it."""
        return "sft" if self.grpo is None else "grpo"

    @property
    def has_validation_loss(self) -> bool:
        """Whether checkpoints have a loss on validation clips; else their answers choose.

        A reward has none on given replies, and that of Megatron has not been tried.
        """
        return self.grpo is None and self.trainer == "swift"

    @property
    def sizes(self) -> MegatronConfig:
        """How the training is divided; transformers' trainer divides none of these."""
        return self.megatron or MegatronConfig()

    def replicas(self, processes: int) -> int:
        """How many of so many processes learn from clips of their own.

        Those of Megatron that hold the model once together learn from the same clips.
        """
        return max(processes // (self.sizes.tensor_parallel * self.sizes.pipeline_parallel), 1)

    def row_unit(self, processes: int) -> int:
        """What the rows of a data set are made a multiple of, so that none is left out.

        Transformers' trainer deals them out among the processes, and its last step is a smaller
        one; Megatron leaves out what does not fill a step (``BaseMegatronTrainer.init_iters``).
        """
        return self.global_batch_size if self.trainer == "megatron" else processes

    def with_overrides(self, overrides: Mapping[str, Any], where: str) -> RecipeConfig:
        """This recipe with other settings.

        Args:
            overrides: plain values. Those of ``lora``, ``full``, ``grpo`` and ``megatron`` are
                taken setting by setting; to name the other one of ``lora`` and ``full`` replaces
                what is there.
            where: names the overrides in the error.

        Raises:
            ConfigError: an override is wrong, or has both ``lora`` and ``full``.
        """
        named = [key for key in ("lora", "full") if overrides.get(key) is not None]
        if len(named) == 2:
            raise ConfigError(where, "has both lora and full", "keep one of them")
        values = self.model_dump()
        if named:
            values |= {key: None for key in ("lora", "full") if key not in named} | {"stages": ()}
        for key, value in overrides.items():
            known = (values.get(key) or {}) if key in _SECTIONS else {}
            values[key] = {**known, **value} if isinstance(value, Mapping) else value
        return build(RecipeConfig, values, where)

    def accumulation(self, processes: int, where: str = "recipe") -> int:
        """How many forward passes each of so many processes makes for one optimizer step.

        Args:
            processes: that train together.
            where: names the recipe in the error.

        Raises:
            ConfigError: they cannot make steps of ``global_batch_size``.
        """
        # The replies to one clip are compared with each other, so a step has all of them.
        group = self.grpo.generations if self.grpo else 1
        replicas = self.replicas(processes)

        def unit_of(batch_size: int) -> int:
            return math.lcm(batch_size * replicas, group)

        unit = unit_of(self.batch_size)
        if self.global_batch_size % unit == 0:
            return self.global_batch_size // (self.batch_size * replicas)
        below = self.global_batch_size // unit * unit
        sizes = " or ".join(str(size) for size in (below, below + unit) if size)
        fits = [
            size
            for size in range(1, self.global_batch_size // replicas + 1)
            if self.global_batch_size % unit_of(size) == 0
        ]
        near = min(fits, key=lambda size: abs(size - self.batch_size), default=None)
        of = "train.nodes x train.processes_per_node"
        if replicas != processes:
            of = f"{of} / megatron.tensor_parallel / megatron.pipeline_parallel"
        raise ConfigError(
            f"{where}: global_batch_size",
            f"is {self.global_batch_size}, which is no multiple of {unit}: batch_size "
            f"{self.batch_size} x {replicas} processes ({of})"
            + (f", in whole groups of {group} generations" if group > 1 else ""),
            f"set global_batch_size to {sizes}" + (f", or batch_size to {near}" if near else ""),
        )


#: What the settings of the parts were called when a recipe was flat.
_FORMERLY = {
    **{f"lora_{name}": f"lora.{name}" for name in LoraConfig.model_fields},
    **{f"train_{name}": f"full.{name}" for name in FullConfig.model_fields},
    **{name: f"grpo.{name}" for name in GrpoConfig.model_fields},
}


def settings_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe states, by dotted keys, with its ``tuner`` and its ``algorithm``.

    It may be a part of one, or a flat one as cards of earlier versions have it, in which these two
    stood beside ``lora_rank`` and the like.

    Args:
        recipe: plain values, as a member's card has them.
    """
    settings = {_FORMERLY.get(k, k): v for k, v in recipe.items() if k not in _SECTIONS}
    if "learning_rate" in recipe:  # a whole one; there was no other trainer once
        settings.setdefault("trainer", "swift")
    if isinstance(sizes := recipe.get("megatron"), Mapping):
        settings |= {f"megatron.{key}": value for key, value in sizes.items()}
    for part in _PARTS:
        if isinstance(values := recipe.get(part), Mapping):
            settings |= {f"{part}.{key}": value for key, value in values.items()}
            settings["algorithm" if part == "grpo" else "tuner"] = part
    if settings.get("stages"):
        settings["tuner"] = "stages"
    else:
        settings.pop("stages", None)
    if "grpo" in recipe:
        settings.setdefault("algorithm", "sft")
    return settings
