"""Qwen2.5-VL: it sees and does not hear."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from ah_ray.models import qwen
from ah_ray.models.architecture import Architecture, Parts

_LAYER = r"model\.layers\.\d+"
_ATTENTION = r"self_attn\.[qkvo]_proj"
_TIMES = ("second_per_grid_ts",)


def _load_model(path: str, dtype: str, attention: str) -> Any:
    model = qwen.load_model(path, dtype, attention)
    qwen.with_whole_positions(model)
    return model


def _name_in_memory(name: str) -> str:
    """Checkpoints have the names that transformers had when they were published."""
    if name.startswith("model."):
        return f"model.language_model.{name.removeprefix('model.')}"
    return f"model.{name}" if name.startswith("visual.") else name


def _read_with(name: str, pictures: Callable[..., Any], sound: Callable[..., Any]) -> None:
    from qwen_vl_utils import vision_process

    qwen.read_pictures_with(vision_process, name, pictures)


def _register() -> None:
    from swift.template.templates.qwen import Qwen2_5VLTemplate

    # MS-Swift has the numbers of the published vocabulary; another one has others.
    for kind in ("image", "video"):
        name = f"{kind}_token_id"
        setattr(Qwen2_5VLTemplate, name, property(attrgetter(f"processor.{name}")))


QWEN2_5_VL = Architecture(
    model_type="qwen2_5_vl",
    kinds=("image", "video"),
    unit=28,
    swift_model="qwen2_5_vl",
    swift_template="qwen2_5_vl",
    parts=Parts(language=("model.", "lm_head."), towers=("visual.",), aligner=("visual.merger.",)),
    lora_targets={
        "attention": rf"{_LAYER}\.{_ATTENTION}",
        "all-linear": rf"{_LAYER}\.({_ATTENTION}|mlp\.(gate|up|down)_proj)",
    },
    name_in_memory=_name_in_memory,
    load_processor=qwen.load_processor,
    load_model=_load_model,
    core=lambda model: model,
    encode=partial(qwen.encode, _TIMES),
    times=_TIMES,
    vllm_limits=qwen.vllm_limits,
    vllm_media=qwen.vllm_media,
    swift_environment=qwen.swift_environment,
    read_with=_read_with,
    register=_register,
)
