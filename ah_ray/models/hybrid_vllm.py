"""The model of ``hybrid`` in vLLM: its class of Qwen2.5-VL with the same two experts and gate.

vLLM finds ``register`` by the entry point ``vllm.general_plugins`` in all its processes; the engine
calls it, too.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from functools import partial
from typing import Any

import torch
from vllm import ModelRegistry
from vllm.config import VllmConfig
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.models import qwen2_5_vl as base
from vllm.multimodal import MULTIMODAL_REGISTRY

from ah_ray.models import hybrid_modeling


class HybridVisionTower(base.Qwen2_5_VisionTransformer):
    """vLLM's, whose merger is a ``HybridCompressor``."""

    def __init__(self, vision_config: Any, **options: Any) -> None:
        super().__init__(vision_config, **options)
        norm = partial(RMSNorm, eps=options["norm_eps"])

        def expert(name: str) -> Any:
            return base.Qwen2_5_VisionPatchMerger(
                d_model=vision_config.out_hidden_size,
                context_dim=vision_config.hidden_size,
                norm_layer=norm,
                spatial_merge_size=vision_config.spatial_merge_size,
                quant_config=options["quant_config"],
                prefix=f"{options['prefix']}.merger.{name}",
            )

        self.merger = hybrid_modeling.HybridCompressor(vision_config, expert)

    def forward(
        self, x: torch.Tensor, grid_thw: list[list[int]] | None, **options: Any
    ) -> torch.Tensor:
        """See vLLM's; what was captured for other items does not know where these end."""
        if grid_thw is None:
            raise ValueError("the gate needs the grid of each item: no CUDA graphs of the encoder")
        self.merger.lengths = torch.tensor(grid_thw, device=x.device).prod(-1)
        embedded: torch.Tensor = super().forward(x, grid_thw, **options)
        return embedded


@MULTIMODAL_REGISTRY.register_processor(
    base.Qwen2_5_VLMultiModalProcessor,
    info=base.Qwen2_5_VLProcessingInfo,
    dummy_inputs=base.Qwen2_5_VLDummyInputsBuilder,
)
class HybridForConditionalGeneration(base.Qwen2_5_VLForConditionalGeneration):
    """vLLM's Qwen2.5-VL with that tower."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        config = vllm_config.model_config.hf_config
        with self._mark_tower_model(vllm_config, {"image", "video"}):
            self.visual = HybridVisionTower(
                config.vision_config,
                norm_eps=getattr(config, "rms_norm_eps", 1e-6),
                quant_config=self.quant_config,
                input_norm=base.build_mm_input_norm(self.model_config),
                prefix=base.maybe_prefix(prefix, "visual"),
            )


def register() -> None:
    """Make vLLM know the class by the name that checkpoints have for it."""
    name = hybrid_modeling.HybridForConditionalGeneration.__name__
    if name not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(name, f"{__name__}:{HybridForConditionalGeneration.__name__}")
