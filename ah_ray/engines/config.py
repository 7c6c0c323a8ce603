"""What scoring runs on and with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ah_ray.yaml_objects import Count, Frozen, Positive


class ScoreConfig(Frozen):
    """Resources of scoring.

    Attributes:
        splits: the splits that are scored; videos without a split are always scored.
        engine: what runs the model: ``transformers``, ``vllm``, or ``module:Class`` of your own.
        engine_args: further arguments of vLLM by name, for what has no name here.
        decoding: how every member is asked, in place of what its card says; see ``MemberCard``.
        min_actors: how many copies of the model are started.
        max_actors: how many may run at the same time where more machines are free.
        cpus_per_actor: CPUs of each: threads of a model on CPUs; beside a GPU vLLM's prompts are
            rendered in all but one.
        gpus_per_actor: GPUs of each: a fraction to share one, a whole number to spread the model
            over several (engine vllm).
        batch_size: clips per forward pass.
        cpus_per_decoder: CPUs that decoding one video takes while it runs.
        max_new_tokens: longest reply of every member, in place of what its card says.
        max_attempts: how often a clip that kills or hangs its engine is tried before it is given
            up; the last time alone.
        batch_timeout_s: an engine or a decoder that takes longer for a batch hangs; it is ended
            and started again. In seconds.
        load_timeout_s: the same for loading a model, in seconds.
        retry_errors: clips with an error row count as missing, e.g. after lost files are back.
        prior: also predict, as ``prior`` and without a vote, from how often videos of the
            training splits have each label: those with the same value of this attribute
            (``question``), or all of them (``overall``).
    """

    splits: tuple[str, ...] = ("test",)
    engine: str = "transformers"
    engine_args: dict[str, Any] = Field(default_factory=dict)
    decoding: Literal["answer", "generate"] | None = None
    min_actors: Count = 1
    max_actors: Count = 1
    cpus_per_actor: Positive = 1.0
    gpus_per_actor: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Count = 16
    cpus_per_decoder: Positive = 1.0
    max_new_tokens: Count | None = None
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
