"""The run config: one frozen, typed object per YAML file.

A wrong key, a missing file or a bad value is a ``ConfigError`` that names the file, the key and
the fix, raised before anything starts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ah_ray.errors import ConfigError
from ah_ray.shipped import find_file
from ah_ray.yaml_objects import Frozen, build, read_yaml, with_overrides

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
RESERVED = frozenset({"ensemble", "prior"})  # what stands beside the members in reports
Name = Annotated[str, Field(pattern=NAME)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

#: The named ``lora_targets`` that reach the experts of a mixture of experts.
WITH_EXPERTS = ("experts", "all-linear")


class CatalogConfig(Frozen):
    """Which archive, and where this copy of it is.

    Attributes:
        entry: a file in ``data_catalog/`` that describes the archive.
        root: the folder that holds it (any fsspec URI); ``{run}`` stands for the run directory.
    """

    entry: str
    root: str


class SegmentationConfig(Frozen):
    """How a stretch of video becomes clips; the defaults are the paper's.

    Attributes:
        clip_s: the longest clip, in seconds (Δ in the paper).
        overlap_s: how much of a clip the next one shows again, in seconds.
        tail: what becomes of the piece at the end of a stretch that fills no whole clip. ``drop``
            it when it is shorter than ``min_tail_s``, ``keep`` it, or ``overlap``: move the last
            clip back until it is whole, so that no second goes unseen and every clip is as long.
        min_tail_s: see ``tail``, in seconds.
        min_clip_s: a stretch or tail shorter than this gives no clip, in seconds.
        negatives: training clips of negative videos are cut from the ``whole`` video, or
            ``balanced``: as long as the clips of positives are, which else are shorter, so that a
            model could tell the classes apart by nothing but a clip's length.
    """

    clip_s: Positive = 5.0
    overlap_s: Annotated[float, Field(ge=0)] = 0.0
    tail: Literal["drop", "keep", "overlap"] = "drop"
    min_tail_s: Annotated[float, Field(ge=0)] = 3.0
    min_clip_s: Annotated[float, Field(ge=0)] = 0.0
    negatives: Literal["whole", "balanced"] = "whole"

    @model_validator(mode="after")
    def _fits_a_clip(self) -> SegmentationConfig:
        for name in ("min_tail_s", "min_clip_s"):
            if getattr(self, name) > self.clip_s:
                raise ValueError(f"{name} {getattr(self, name)} exceeds clip_s {self.clip_s}")
        if self.overlap_s >= self.clip_s:
            raise ValueError(f"overlap_s {self.overlap_s} is not below clip_s {self.clip_s}")
        return self


class MediaConfig(Frozen):
    """What the model sees of a clip; training and scoring share it.

    Attributes:
        fps: frames per second of clip, in Hz.
        min_frames: at least this many frames (even: the model reads frames in pairs).
        max_frames: at most this many frames (even).
        min_pixels: smaller frames are enlarged to this area, in square pixels.
        max_pixels: larger frames are reduced to this area, in square pixels.
        size_multiple: width and height are multiples of this (patch size x merge size), in pixels.
        audio: the model gets the sound as an item of its own after the picture (``separate``), or
            not at all (``none``).
    """

    fps: Positive = 2.0
    min_frames: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    max_frames: Annotated[int, Field(ge=2, multiple_of=2)] = 768
    min_pixels: Count = 128 * 32 * 32
    max_pixels: Count = 768 * 32 * 32
    size_multiple: Count = 32
    audio: Literal["separate", "none"] = "separate"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the model gets of a clip, in the order of the conversation."""
        return ("video",) if self.audio == "none" else ("video", "audio")

    @model_validator(mode="after")
    def _ordered(self) -> MediaConfig:
        if self.min_frames > self.max_frames:
            raise ValueError(f"min_frames {self.min_frames} exceeds max_frames {self.max_frames}")
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} exceeds max_pixels {self.max_pixels}")
        return self


class ModelConfig(Frozen):
    """The base model that members are tuned from.

    Attributes:
        path: a checkpoint folder (any fsspec URI; ``{run}`` is the run directory) or a hub id.
        model_type: MS-Swift's name of the architecture.
        template: MS-Swift's name of the chat template.
        dtype: number format of weights and activations.
        attention: attention kernel, as transformers names it; where ``flash_attention_2`` cannot
            run, training and scoring say so and take ``sdpa``.
        thinker_only: leave the talker (speech output) out; no task here asks for speech.
    """

    path: str
    model_type: str = "qwen3_omni_moe"
    template: str = "qwen3_omni"
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    thinker_only: bool = True


class RecipeConfig(Frozen):
    """How a member is tuned: the rows of the paper's Table I, and what it leaves open.

    Attributes:
        algorithm: learn the replies (``sft``), or be rewarded for replies that the task's parser
            reads as the label (``grpo``).
        tuner: train an adapter or the weights.
        learning_rate: peak of the schedule.
        scheduler: how the learning rate falls after it, as transformers names it.
        epochs: passes over the training clips.
        batch_size: clips (with grpo: replies) per process and forward pass.
        global_batch_size: the same per optimizer step, of all processes together; how many forward
            passes each of them makes for a step follows.
        max_length: longest conversation in tokens.
        warmup_ratio: share of the steps that warm the learning rate up.
        weight_decay: of all weights but biases and norms.
        train_language: tune the language model (full only).
        train_vision: also tune the vision and audio towers (full only).
        train_aligner: also tune the projections into the language model (full only).
        lora_rank: rank of the adapter (tuner lora).
        lora_alpha: scale of the adapter (tuner lora).
        lora_dropout: dropout of the adapter (tuner lora); fused experts take none.
        lora_targets: which matrices get an adapter (tuner lora): ``attention``, ``experts`` or
            ``all-linear`` of the language model, or a regular expression for their full names in
            the checkpoint.
        gradient_checkpointing: recompute activations to save memory.
        packing: put several conversations into one sequence of ``max_length`` (FlashAttention).
        deepspeed: ZeRO preset of MS-Swift such as ``zero3``; null for none.
        balance: ``oversample`` repeats clips of the rarer label until both are as many.
        log_every_steps: optimizer steps between reports of loss and speed.
        save_every_steps: optimizer steps between checkpoints, each of which is validated; null
            for once an epoch.
        save_total_limit: checkpoints that are kept at a time, besides the best.
        best_by: which checkpoint becomes the member: the one with the lowest ``loss`` on
            validation clips, or the one with the highest video-level ``macro_f1``.
        early_stop_after: stop after so many validations without a lower loss; null for never.
        generations: replies that are compared with each other (grpo).
        temperature: of these replies (grpo).
        max_reply_tokens: longest reply (grpo).
        seed: of initialisation, data order and dropout.
        extra_args: further MS-Swift arguments by name, for what has no name here.
    """

    algorithm: Literal["sft", "grpo"] = "sft"
    tuner: Literal["lora", "full"]
    learning_rate: Positive
    scheduler: str = "cosine"
    epochs: Positive = 1.0
    batch_size: Count = 2
    global_batch_size: Count = 64
    max_length: Count = 32768
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    train_language: bool = True
    train_vision: bool = False
    train_aligner: bool = False
    lora_rank: Count = 8
    lora_alpha: Count = 32
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    lora_targets: str = "attention"
    gradient_checkpointing: bool = True
    packing: bool = False
    deepspeed: str | None = None
    balance: Literal["none", "oversample"] = "none"
    log_every_steps: Count = 1
    save_every_steps: Count | None = None
    save_total_limit: Count = 2
    best_by: Literal["loss", "macro_f1"] = "loss"
    early_stop_after: Count | None = None
    generations: Annotated[int, Field(ge=2)] = 8
    temperature: Positive = 1.0
    max_reply_tokens: Count = 64
    seed: Annotated[int, Field(ge=0)] = 42
    extra_args: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @field_validator("lora_targets")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _experts_take_no_dropout(self) -> RecipeConfig:
        if self.tuner == "lora" and self.lora_dropout and self.lora_targets in WITH_EXPERTS:
            raise ValueError(
                f"lora_targets {self.lora_targets} reaches the experts, whose adapters cannot have "
                f"dropout: lora_dropout must be 0, not {self.lora_dropout}"
            )
        return self

    def accumulation(self, processes: int, where: str = "recipe") -> int:
        """How many forward passes each of so many processes makes for one optimizer step.

        Args:
            processes: that train together.
            where: names the recipe in the error.

        Raises:
            ConfigError: they cannot make steps of ``global_batch_size``.
        """
        # The replies to one clip are compared with each other, so a step has all of them.
        group = self.generations if self.algorithm == "grpo" else 1

        def unit_of(batch_size: int) -> int:
            return math.lcm(batch_size * processes, group)

        unit = unit_of(self.batch_size)
        if self.global_batch_size % unit == 0:
            return self.global_batch_size // (self.batch_size * processes)
        below = self.global_batch_size // unit * unit
        sizes = " or ".join(str(size) for size in (below, below + unit) if size)
        fits = [
            size
            for size in range(1, self.global_batch_size // processes + 1)
            if self.global_batch_size % unit_of(size) == 0
        ]
        near = min(fits, key=lambda size: abs(size - self.batch_size), default=None)
        raise ConfigError(
            f"{where}: global_batch_size",
            f"is {self.global_batch_size}, which is no multiple of {unit}: batch_size "
            f"{self.batch_size} x {processes} processes (train.nodes x train.processes_per_node)"
            + (f", in whole groups of {group} generations" if group > 1 else ""),
            f"set global_batch_size to {sizes}" + (f", or batch_size to {near}" if near else ""),
        )


class MemberConfig(Frozen):
    """One member of the ensemble: a recipe, a prompt, and what it changes of the recipe."""

    recipe: str
    prompt: str
    overrides: dict[str, Any] = Field(default_factory=dict)


class PrepareConfig(Frozen):
    """How prepare works.

    Attributes:
        clips: training clips become ``files`` (a video and a WAV each, for people and for trainers
            that read a clip many times), or stay ``virtual``: times in their source, which
            training decodes. Scoring clips are always virtual.
        no_audio: a video without sound is prepared with ``silence``; with ``skip`` it is left out
            on purpose, with ``error`` it is left out as a fault. All three are told.
        cpus_per_video: CPUs that one video takes while it is worked on.
    """

    clips: Literal["files", "virtual"] = "files"
    no_audio: Literal["silence", "skip", "error"] = "silence"
    cpus_per_video: Positive = 1.0


class LimitsConfig(Frozen):
    """What a source may cost before it is refused; archives hold files that nobody has looked at.

    Attributes:
        max_duration_s: longest video, in seconds.
        max_pixels: largest picture (width x height), in square pixels.
        timeout_s: longest time that opening, cutting or decoding one source may take, in seconds.
        max_memory_mb: most memory that cutting one source may take, in MiB.
    """

    max_duration_s: Positive = 6 * 3600.0
    max_pixels: Count = 8192 * 4320
    timeout_s: Positive = 3600.0
    max_memory_mb: Count = 8192


class TrainConfig(Frozen):
    """Resources of training.

    Attributes:
        splits: the splits that are trained on.
        validation_splits: the splits whose participants choose the checkpoint, but for those that
            are trained on. Without any such video the last checkpoint becomes the member.
        nodes: machines that share the training of one member.
        processes_per_node: ranks on each (the GPUs of a node; 1 on a CPU).
        cpus_per_node: CPUs that a node's training reserves.
        loaders_per_process: processes that read and decode clips for each rank.
        use_gpu: whether each rank takes a GPU.
        parallel_members: how many members train at the same time.
        max_failures: how often a failed training is started again, from its newest checkpoint.
        scratch: folder on each node for what a training needs on disk; null for the system's
            temporary folder. A run in object storage puts one checkpoint at a time there.
    """

    splits: tuple[str, ...] = ("train",)
    validation_splits: tuple[str, ...] = ("val",)
    nodes: Count = 1
    processes_per_node: Count = 1
    cpus_per_node: Positive = 1.0
    loaders_per_process: Count = 2
    use_gpu: bool = False
    parallel_members: Count = 1
    max_failures: Annotated[int, Field(ge=0)] = 1
    scratch: str | None = None

    @property
    def processes(self) -> int:
        """How many train a member together."""
        return self.nodes * self.processes_per_node


class ScoreConfig(Frozen):
    """Resources of scoring.

    Attributes:
        splits: the splits that are scored; videos without a split are always scored.
        engine: what runs the model: ``transformers``, ``vllm``, or ``module:Class`` of your own.
        engine_args: further arguments of vLLM by name, for what has no name here.
        decoding: ``answer`` begins the reply for the model and asks for its word alone, one
            forward pass per clip; ``generate`` lets it write the whole reply (the paper's way).
        min_actors: how many copies of the model are started.
        max_actors: how many may run at the same time where more machines are free.
        cpus_per_actor: CPUs (and threads) of each.
        gpus_per_actor: GPUs of each: a fraction to share one, a whole number to spread the model
            over several (engine vllm).
        batch_size: clips per forward pass.
        cpus_per_decoder: CPUs that decoding one video takes while it runs.
        max_new_tokens: longest reply (decoding generate).
        max_attempts: how often a clip that kills or hangs its engine is tried before it is given
            up; the last time alone.
        batch_timeout_s: an engine or a decoder that takes longer for a batch hangs; it is ended
            and started again. In seconds.
        load_timeout_s: the same for loading a model, in seconds.
        retry_errors: clips with an error row count as missing, e.g. after lost files are back.
        prior: also predict, as ``prior`` and without a vote, from how often videos of the
            training splits are positive: those with the same value of this attribute
            (``question``), or all of them (``overall``).
    """

    splits: tuple[str, ...] = ("test",)
    engine: str = "transformers"
    engine_args: dict[str, Any] = Field(default_factory=dict)
    decoding: Literal["answer", "generate"] = "answer"
    min_actors: Count = 1
    max_actors: Count = 1
    cpus_per_actor: Positive = 1.0
    gpus_per_actor: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Count = 16
    cpus_per_decoder: Positive = 1.0
    max_new_tokens: Count = 32
    max_attempts: Annotated[int, Field(ge=2)] = 3
    batch_timeout_s: Positive = 600.0
    load_timeout_s: Positive = 3600.0
    retry_errors: bool = False
    prior: str | None = None

    @model_validator(mode="after")
    def _pool_is_possible(self) -> ScoreConfig:
        if self.min_actors > self.max_actors:
            raise ValueError(f"min_actors {self.min_actors} exceeds max_actors {self.max_actors}")
        if self.gpus_per_actor > 1 and self.gpus_per_actor != int(self.gpus_per_actor):
            raise ValueError(f"gpus_per_actor {self.gpus_per_actor} is over 1 and no whole number")
        return self


class ReduceConfig(Frozen):
    """What happens to answers that are not there; every case is counted in the verdicts.

    Attributes:
        invalid: an unparseable clip answer is left out, or counts as the negative or positive.
        missing: a clip without an answer (error or absent) is left out or counts as the negative.
        tie: an even vote goes to the mean score (at least 0.5 is positive), to the positive, to
            the negative, or stays undecided.
    """

    invalid: Literal["exclude", "negative", "positive"] = "exclude"
    missing: Literal["exclude", "negative"] = "exclude"
    tie: Literal["score", "positive", "negative", "undecided"] = "score"


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
        base = self.recipes[settings.recipe].model_dump()
        recipe = build(RecipeConfig, base | settings.overrides, f"members.{member}.overrides")
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
    from ah_ray.tasks import load_task

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
