"""The model of ``hybrid``: two dense experts, one soft gate per picture or video, no top-k.

Importing this makes its config and its class known to transformers.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as base
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import (
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLVisionConfig,
)

from ah_ray.models.hybrid import MODEL_TYPE

EXPERTS = ("general", "emotion")


class HybridVisionConfig(Qwen2_5_VLVisionConfig):
    """Of the tower and of what stands in the place of its merger.

    Attributes:
        gate_heads: of the gate's attention.
        gate_hidden: the width of the gate's hidden layers; the tower's by default.
    """

    model_type = f"{MODEL_TYPE}_vision"
    gate_heads: int = 8
    gate_hidden: int | None = None


class HybridConfig(Qwen2_5_VLConfig):
    """As Qwen2.5-VL's, with a gate in ``vision_config``."""

    model_type = MODEL_TYPE
    sub_configs = dict(vision_config=HybridVisionConfig, text_config=Qwen2_5_VLTextConfig)  # noqa: C408, RUF012


class HybridGate(nn.Module):
    """How much of each expert an item gets, from its pooled features.

    Self-attention, then twice a linear layer with ReLU and LayerNorm, then a last linear layer: a
    LayerNorm over two outputs would leave nothing but their order.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width)
        self.outputs = nn.Linear(width, width)
        self.hidden = nn.Sequential(
            *(nn.Linear(width, hidden), nn.ReLU(), nn.LayerNorm(hidden)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.LayerNorm(hidden)),
        )
        self.last = nn.Linear(hidden, len(EXPERTS))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Weights in float32 [items, 2] that sum to one, of pooled features [items, width]."""
        heads = self.inputs(pooled).view(len(pooled), 1, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Each item attends to itself alone, so what is beside it in a batch changes nothing.
        seen = nn.functional.scaled_dot_product_attention(*heads).flatten(1)
        scores: torch.Tensor = self.last(self.hidden(self.outputs(seen)))
        return scores.softmax(dim=-1, dtype=torch.float32)


class HybridCompressor(nn.Module):
    """In the place of Qwen2.5-VL's merger: ``g_general general(x) + g_emotion emotion(x)``.

    Args:
        config: of the tower.
        expert: makes one, by its name.

    Attributes:
        lengths: how many patches each item has [items]; the tower says so before each pass.
        weights: the gate's of the last pass [items, 2], in the order of ``EXPERTS``; None before.
    """

    def __init__(self, config: HybridVisionConfig, expert: Callable[[str], nn.Module]) -> None:
        super().__init__()
        for name in EXPERTS:
            self.add_module(name, expert(name))
        width = config.hidden_size
        self.gate = HybridGate(width, config.gate_heads, config.gate_hidden or width)
        self.unit = config.spatial_merge_size**2
        self.lengths: torch.Tensor | None = None
        self.weights: torch.Tensor | None = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Merged features [patches / 4, out], in the order of the patches [patches (, 1), width].

        Windows change the order within an item alone, so its patches are together.
        """
        assert self.lengths is not None, "the tower says how long items are"
        features = features.flatten(0, -2)
        pooled = torch.segment_reduce(features.float(), "mean", lengths=self.lengths)
        weights: torch.Tensor = self.gate(pooled.to(features.dtype))
        self.weights = weights.detach()
        general, emotion = (getattr(self, name)(features) for name in EXPERTS)
        shares = weights.repeat_interleave(
            self.lengths // self.unit, dim=0, output_size=len(general)
        )
        # In float32: weights of bfloat16 would not sum to one.
        mixed = shares[:, :1] * general.float() + shares[:, 1:] * emotion.float()
        return mixed.to(general.dtype)


class HybridVisionTower(base.Qwen2_5_VisionTransformerPretrainedModel):
    """Qwen2.5-VL's, whose merger is a ``HybridCompressor``."""

    config_class = HybridVisionConfig

    def __init__(self, config: HybridVisionConfig, *inputs: Any, **options: Any) -> None:
        super().__init__(config, *inputs, **options)
        sizes = (config.out_hidden_size, config.hidden_size, config.spatial_merge_size)
        self.merger = HybridCompressor(config, lambda _: base.Qwen2_5_VLPatchMerger(*sizes))
        self.post_init()

    def forward(self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **options: Any) -> Any:
        """See Qwen2.5-VL's."""
        self.merger.lengths = grid_thw.prod(-1)
        return super().forward(hidden_states, grid_thw, **options)


class HybridModel(base.Qwen2_5_VLModel):
    """Qwen2.5-VL's, with that tower."""

    config_class = HybridConfig

    def __init__(self, config: HybridConfig) -> None:
        base.Qwen2_5_VLPreTrainedModel.__init__(self, config)
        self.visual = HybridVisionTower._from_config(config.vision_config)
        self.language_model = base.Qwen2_5_VLTextModel._from_config(config.text_config)
        self.rope_deltas = None
        self.post_init()


class HybridForConditionalGeneration(base.Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL with two experts and a gate."""

    config_class = HybridConfig

    def __init__(self, config: HybridConfig) -> None:
        base.Qwen2_5_VLPreTrainedModel.__init__(self, config)
        text = config.text_config
        self.model = HybridModel(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()


AutoConfig.register(MODEL_TYPE, HybridConfig)
AutoModelForImageTextToText.register(HybridConfig, HybridForConditionalGeneration)
