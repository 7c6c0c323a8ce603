"""Qwen2.5-VL with two experts in the place of its merger, and a gate between them.

In the style of Emotion-Qwen (arXiv 2505.06685); no checkpoint of theirs is read. What computes
stands in ``hybrid_modeling``, what makes one of an ordinary Qwen2.5-VL in ``hybrid_conversion``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ah_ray.models import qwen
from ah_ray.models.architecture import Parts
from ah_ray.models.qwen2_5_vl import QWEN2_5_VL

MODEL_TYPE = "qwen2_5_vl_hybrid"

_MERGER = "model.visual.merger."
_LAYER = r"model\.language_model\.layers\.\d+"
_ATTENTION = r"self_attn\.[qkvo]_proj"


def _load_processor(path: str) -> Any:
    from ah_ray.models import hybrid_modeling  # noqa: F401  # makes its config known

    return qwen.load_processor(path)


def _load_model(path: str, dtype: str, attention: str) -> Any:
    import torch

    from ah_ray.models.hybrid_modeling import HybridForConditionalGeneration

    model = HybridForConditionalGeneration.from_pretrained(
        path, dtype=getattr(torch, dtype), attn_implementation=attention
    )
    qwen.with_whole_positions(model)
    return model


def _gates(core: Any) -> list[dict[str, float]] | None:
    from ah_ray.models.hybrid_modeling import EXPERTS

    merger = core.model.visual.merger
    if merger.weights is None:
        return None
    weights, merger.weights = merger.weights.tolist(), None
    return [dict(zip(EXPERTS, of_item, strict=True)) for of_item in weights]


def _register_vllm() -> None:
    from ah_ray.models.hybrid_vllm import register

    register()


def _vllm_gates(llm: Any) -> Any:
    from ah_ray.models.hybrid_vllm import gates

    return gates(llm)


def _register() -> None:
    from swift.model import MODEL_MAPPING, Model, ModelGroup, ModelMeta, register_model
    from swift.model.models.qwen import Qwen2_5VLLoader

    from ah_ray.models.hybrid_modeling import HybridForConditionalGeneration

    class Loader(Qwen2_5VLLoader):  # type: ignore[misc]  # the package has no types
        def get_model(self, *args: Any, **options: Any) -> Any:
            self.auto_model_cls = HybridForConditionalGeneration
            return super().get_model(*args, **options)

    QWEN2_5_VL.register()
    if MODEL_TYPE in MODEL_MAPPING:
        return
    stock = MODEL_MAPPING[QWEN2_5_VL.swift_model]
    # Language model, tower and aligner have the names of the stock model's.
    register_model(
        ModelMeta(
            MODEL_TYPE,
            [ModelGroup([Model()], QWEN2_5_VL.swift_template)],
            Loader,
            model_arch=stock.model_arch.arch_name,
            architectures=[HybridForConditionalGeneration.__name__],
            is_multimodal=True,
        )
    )


QWEN2_5_VL_HYBRID = replace(
    QWEN2_5_VL,
    model_type=MODEL_TYPE,
    swift_model=MODEL_TYPE,
    # Its checkpoints have the names that transformers has today.
    parts=Parts(
        language=("model.language_model.", "lm_head."),
        towers=("model.visual.",),
        aligner=(_MERGER,),
        named={part: (f"{_MERGER}{part}.",) for part in ("general", "emotion", "gate")},
    ),
    lora_targets={
        "attention": rf"{_LAYER}\.{_ATTENTION}",
        "all-linear": rf"{_LAYER}\.({_ATTENTION}|mlp\.(gate|up|down)_proj)",
    },
    name_in_memory=lambda name: name,
    load_processor=_load_processor,
    load_model=_load_model,
    register_vllm=_register_vllm,
    gates=_gates,
    vllm_gates=_vllm_gates,
    register=_register,
)
