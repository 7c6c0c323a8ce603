"""A recipe: how a member is tuned."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ah_ray.errors import ConfigError
from ah_ray.yaml_objects import Count, Frozen, Positive

#: The named ``lora_targets`` that reach the experts of a mixture of experts.
WITH_EXPERTS = ("experts", "all-linear")


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
            validation clips, or the highest value of a video-level metric of the task, such as
            ``macro_f1``.
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
    best_by: str = "loss"
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
