"""The base model of a run."""

from __future__ import annotations

from typing import Literal

from ah_ray.yaml_objects import Frozen


class ModelConfig(Frozen):
    """The base model that members are tuned from.

    Attributes:
        path: a checkpoint folder (any fsspec URI; ``{run}`` is the run directory) or a hub id.
        architecture: of its weights: a name in ``models.architecture.ARCHITECTURES``, or
            ``module:attribute`` of your own.
        dtype: number format of weights and activations.
        attention: attention kernel, as transformers names it; where ``flash_attention_2`` cannot
            run, training and scoring say so and take ``sdpa``.
    """

    path: str
    architecture: str = "qwen3_omni"
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
