"""Qwen3-Omni (mixture of experts): it sees and hears; its speech output is left out.

The part that answers is called the thinker, the one that speaks the talker.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ah_ray.media.config import MediaConfig
from ah_ray.media.frames import AUDIO_HZ
from ah_ray.models import qwen
from ah_ray.models.architecture import Architecture, Parts

_LAYER = r"thinker\.model\.layers\.\d+"
_ATTENTION = r"self_attn\.[qkvo]_proj"
_EXPERTS = r"mlp\.experts\.\d+\.(gate|up|down)_proj"
_TIMES = ("video_second_per_grid",)


def _load_model(path: str, dtype: str, attention: str) -> Any:
    model = qwen.load_model(path, dtype, attention, enable_audio_output=False)
    model.thinker.generation_config = model.generation_config
    qwen.with_whole_positions(model.thinker)
    return model


def _swift_environment(media: MediaConfig, reader: str) -> dict[str, str]:
    return qwen.swift_environment(media, reader) | {
        # Sound is an item of its own after the picture, not woven into it.
        "USE_AUDIO_IN_VIDEO": "0",
        "SAMPLING_RATE": str(AUDIO_HZ),
        "SWIFT_AUDIO_LOAD_BACKEND": "soundfile_pyav",
        "ENABLE_AUDIO_OUTPUT": "0",
    }


def _read_with(name: str, pictures: Callable[..., Any], sound: Callable[..., Any]) -> None:
    from qwen_omni_utils.v2_5 import vision_process
    from swift.template.templates import qwen as templates

    qwen.read_pictures_with(vision_process, name, pictures)
    # MS-Swift has no mapping for sound, so its function is replaced.
    templates.load_audio = sound


QWEN3_OMNI = Architecture(
    model_type="qwen3_omni_moe",
    kinds=("image", "video", "audio"),
    unit=32,
    swift_model="qwen3_omni_moe",
    swift_template="qwen3_omni",
    parts=Parts(
        language=("thinker.model.", "thinker.lm_head."),
        towers=("thinker.audio_tower.", "thinker.visual."),
        aligner=(
            *("thinker.audio_tower.proj1.", "thinker.audio_tower.proj2."),
            *("thinker.visual.merger.", "thinker.visual.merger_list."),
        ),
        unused=("talker.", "code2wav."),
    ),
    # ``all-linear`` is what MS-Swift's word for it reached with transformers 4, where the experts
    # and their router were linear layers: all of the language model but its two ends, and nothing
    # of towers and projections.
    lora_targets={
        "attention": rf"{_LAYER}\.{_ATTENTION}",
        "experts": rf"{_LAYER}\.{_EXPERTS}",
        "all-linear": rf"{_LAYER}\.({_ATTENTION}|{_EXPERTS}|mlp\.gate)",
    },
    name_in_memory=lambda name: name,
    load_processor=qwen.load_processor,
    load_model=_load_model,
    core=lambda model: model.thinker,
    encode=partial(qwen.encode, _TIMES),
    times=_TIMES,
    vllm_limits=qwen.vllm_limits,
    vllm_media=qwen.vllm_media,
    swift_environment=_swift_environment,
    read_with=_read_with,
)
