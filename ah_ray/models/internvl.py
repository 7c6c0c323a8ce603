"""InternVL as transformers has it: it sees pictures of one size, and does not hear.

Its processors cut a larger picture into tiles, each as many tokens as a whole one, and no two of
them agree on when; a square of the size that the checkpoint reads stays one tile everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ah_ray.models import qwen
from ah_ray.models.architecture import Architecture, Parts

if TYPE_CHECKING:
    from ah_ray.media.decode import DecodedClip

# Checkpoints have the names that transformers had when it took the architecture up, or today's.
_IN_MEMORY = {
    "language_model.model.": "model.language_model.",
    "language_model.lm_head.": "lm_head.",
    "vision_tower.": "model.vision_tower.",
    "multi_modal_projector.": "model.multi_modal_projector.",
}
_LAYER = r"(language_model\.model|model\.language_model)\.layers\.\d+"
_ATTENTION = r"self_attn\.[qkvo]_proj"
_ONE_TILE = {"crop_to_patches": False}


def _name_in_memory(name: str) -> str:
    for theirs, ours in _IN_MEMORY.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _square(config: Mapping[str, Any]) -> int:
    size = config["vision_config"]["image_size"]
    return int(size if isinstance(size, int) else size[0])


def _encode(processor: Any, text: str, kinds: Sequence[str], clips: Sequence[DecodedClip]) -> Any:
    import torch

    images = [torch.from_numpy(frame).permute(2, 0, 1) for clip in clips for frame in clip.frames]
    return processor(
        text=[text] * len(clips),
        images=images if kinds else None,
        padding=True,
        return_tensors="pt",
        **(_ONE_TILE if kinds else {}),
    )


def _vllm_limits(kinds: Sequence[str], longest: DecodedClip) -> dict[str, Any]:
    height, width = longest.frames.shape[1:3]
    image = {"count": len(kinds), "width": width, "height": height}
    return {"image": image if kinds else 0, "video": 0}


def _vllm_media(kinds: Sequence[str], clip: DecodedClip) -> dict[str, Any]:
    from PIL import Image

    return {
        "multi_modal_data": {"image": [Image.fromarray(frame) for frame in clip.frames]},
        "mm_processor_kwargs": _ONE_TILE,
    }


INTERNVL = Architecture(
    model_type="internvl",
    kinds=("image",),
    unit=28,
    square=_square,
    swift_model="internvl",
    swift_template="internvl_hf",
    parts=Parts(
        language=(
            *("language_model.model.", "language_model.lm_head."),
            *("model.language_model.", "lm_head."),
        ),
        towers=("vision_tower.", "model.vision_tower."),
        aligner=("multi_modal_projector.", "model.multi_modal_projector."),
    ),
    lora_targets={
        "attention": rf"{_LAYER}\.{_ATTENTION}",
        "all-linear": rf"{_LAYER}\.({_ATTENTION}|mlp\.(gate|up|down)_proj)",
    },
    name_in_memory=_name_in_memory,
    load_processor=qwen.load_processor,
    load_model=qwen.load_model,
    core=lambda model: model,
    encode=_encode,
    times=(),
    vllm_limits=_vllm_limits,
    vllm_media=_vllm_media,
    swift_environment=lambda media, reader: {},
    read_with=lambda name, pictures, sound: None,
)
