"""What Qwen's architectures have in common; the modules beside this one take from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ah_ray.media.config import MediaConfig
from ah_ray.media.frames import AUDIO_HZ

if TYPE_CHECKING:
    from ah_ray.media.decode import DecodedClip


def load_processor(path: str) -> Any:
    """See ``Architecture``."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(path)
    processor.tokenizer.padding_side = "left"
    return processor


def load_model(path: str, dtype: str, attention: str, **changes: Any) -> Any:
    """See ``Architecture``; ``changes`` are to the checkpoint's config."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(path)
    for name, value in changes.items():
        setattr(config, name, value)
    return getattr(transformers, config.architectures[0]).from_pretrained(
        path, config=config, dtype=getattr(torch, dtype), attn_implementation=attention
    )


def with_whole_positions(core: Any) -> None:
    """Cut temporal positions to whole numbers, as MS-Swift trains and vLLM serves.

    transformers alone keeps fractions of a position, which changes answers.
    """
    original = core.base_model.get_rope_index

    def get_rope_index(*args: Any, **kwargs: Any) -> Any:
        positions, deltas = original(*args, **kwargs)
        return positions.floor(), deltas.floor()

    core.base_model.get_rope_index = get_rope_index


def encode(
    times: Sequence[str],
    processor: Any,
    text: str,
    kinds: Sequence[str],
    clips: Sequence[DecodedClip],
) -> Any:
    """See ``Architecture``; ``times`` are what the processor calls how long a pair of frames is."""
    import torch

    media: dict[str, Any] = {}
    pictures = [torch.from_numpy(clip.frames).permute(0, 3, 1, 2) for clip in clips]
    if "image" in kinds:
        media["images"] = [list(of_clip) for of_clip in pictures]
    if "video" in kinds:
        media["videos"] = pictures
    if "audio" in kinds:
        media |= {"audio": [clip.audio for clip in clips], "sampling_rate": AUDIO_HZ}
    inputs = processor(
        text=[text] * len(clips),
        **media,
        do_resize=False,
        do_sample_frames=False,
        padding=True,
        return_tensors="pt",
    )
    # The processor knows one rate for all videos; each clip has its own.
    for name in times:
        if name in inputs:
            pair = processor.video_processor.temporal_patch_size
            inputs[name] = torch.tensor([pair / clip.fps for clip in clips])
    return inputs


def vllm_limits(kinds: Sequence[str], longest: DecodedClip) -> dict[str, Any]:
    """See ``Architecture``: each frame an image, or all of them one video; and one sound."""
    count, height, width = longest.frames.shape[:3]
    sizes = {
        "image": {"count": count, "width": width, "height": height},
        "video": {"count": 1, "num_frames": count, "width": width, "height": height},
        "audio": {"count": 1, "length": len(longest.audio)},
    }
    return {"image": 0, "video": 0, "audio": 0, **{kind: sizes[kind] for kind in kinds}}


def vllm_media(kinds: Sequence[str], clip: DecodedClip) -> dict[str, Any]:
    """See ``Architecture``."""
    from PIL import Image

    count = len(clip.frames)
    metadata = {
        "fps": clip.fps,
        "duration": count / clip.fps if clip.fps else 0.0,
        "total_num_frames": count,
        "frames_indices": list(range(count)),
        "do_sample_frames": False,
    }
    media = {
        "image": [Image.fromarray(frame) for frame in clip.frames],
        "video": (clip.frames, metadata),
        "audio": (clip.audio, AUDIO_HZ),
    }
    return {
        "multi_modal_data": {kind: media[kind] for kind in kinds},
        # Frames come at their final size and rate.
        "mm_processor_kwargs": {"do_resize": False, "do_sample_frames": False, "fps": clip.fps},
    }


def swift_environment(media: MediaConfig, reader: str) -> dict[str, str]:
    """See ``Architecture``."""
    unit, (least, most) = media.size_multiple**2, media.areas
    # Frames come at their final size; these bounds keep Qwen's utilities from changing it.
    bounds = {"MIN_TOKEN_NUM": str(least // unit), "MAX_TOKEN_NUM": str(-(-most // unit))}
    return {
        "FORCE_QWENVL_VIDEO_READER": reader,
        **{f"{kind}_{name}": size for kind in ("IMAGE", "VIDEO") for name, size in bounds.items()},
    }


def read_pictures_with(utilities: Any, name: str, reader: Callable[..., Any]) -> None:
    """Add a reader to those that Qwen's media utilities keep in a mapping."""
    utilities.VIDEO_READER_BACKENDS[name] = reader
