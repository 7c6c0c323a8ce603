"""The model of ``hybrid`` in vLLM: its class of Qwen2.5-VL with the same two experts and gate.

vLLM finds ``register`` by the entry point ``vllm.general_plugins`` in all its processes; the engine
calls it, too.

vLLM gives nothing but words back, and decides by itself when it looks at what. So where gates are
asked for, the tower keeps them with the content of what it saw, which tells whose they are.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from vllm import ModelRegistry
from vllm.config import VllmConfig
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.models import qwen2_5_vl as base
from vllm.multimodal import MULTIMODAL_REGISTRY

from ah_ray.models import hybrid_modeling
from ah_ray.models.architecture import PromptGates

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}  # by bytes of a number


def content(patches: torch.Tensor) -> torch.Tensor:
    """Two sums over the bits of an item's numbers [2], the same on every device."""
    bits = patches.contiguous().view(_BITS[patches.element_size()]).flatten().int()
    places = torch.arange(1, len(bits) + 1, dtype=torch.int32, device=bits.device)
    return torch.stack([numbers.sum(dtype=torch.int64) for numbers in (bits, bits * places)])


class HybridVisionTower(base.Qwen2_5_VisionTransformer):
    """vLLM's, whose merger is a ``HybridCompressor``.

    Attributes:
        seen: of each pass since they were read last the content of its items [items, 2] and the
            gate's weights [items, 2]; None, and nothing is kept, where nobody reads them.
    """

    def __init__(self, vision_config: Any, **options: Any) -> None:
        super().__init__(vision_config, **options)
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] | None = None
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
        if self.seen is not None:
            items = x.split([math.prod(grid) for grid in grid_thw])
            self.seen.append((torch.stack([*map(content, items)]), self.merger.weights))
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


def _watch(model: Any) -> None:
    model.visual.seen = []


def _take(model: Any) -> list[tuple[list[int], list[float]]]:
    seen, model.visual.seen = model.visual.seen, []
    return [
        pair
        for items, weights in seen
        for pair in zip(items.tolist(), weights.tolist(), strict=True)
    ]


def gates(llm: Any) -> PromptGates:
    """See ``Architecture.vllm_gates``."""
    llm.apply_model(_watch)

    def of(prompts: Sequence[Any]) -> Callable[[], list[list[dict[str, float]] | None]]:
        asked = [*map(_contents, prompts)]

        def read() -> list[list[dict[str, float]] | None]:
            # Of several workers each has seen all items, or its share of them.
            taken = {
                tuple(item): dict(zip(hybrid_modeling.EXPERTS, weights, strict=True))
                for of_worker in llm.apply_model(_take)
                for item, weights in of_worker
            }
            return [
                [taken[item] for item in items] if items and taken.keys() >= {*items} else None
                for items in asked
            ]

        return read

    return of


def _contents(prompt: Any) -> list[tuple[int, ...]]:
    """The content of each picture and video of a rendered prompt; of none that vLLM keeps back."""
    items = [item or {} for kind in prompt.get("mm_kwargs", {}).values() for item in kind]
    shown = [item.get("pixel_values", item.get("pixel_values_videos")) for item in items]
    return [() if one is None else tuple(content(one.data).tolist()) for one in shown]


def register() -> None:
    """Make vLLM know the class by the name that checkpoints have for it."""
    name = hybrid_modeling.HybridForConditionalGeneration.__name__
    if name not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(name, f"{__name__}:{HybridForConditionalGeneration.__name__}")
