"""MS-Swift loads this file (``--external_plugins``) so that it reads clips with our decoder.

It takes the same frames at the same size as scoring does, so nothing that the model sees differs
between the two. The architecture says what MS-Swift reads with, and how ours takes its place. The
sound of a clip file is still read by MS-Swift.
"""

from __future__ import annotations

import os
import wave
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from swift.template import base, vision_utils

from ah_ray.errors import ItemError
from ah_ray.media.config import MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.fragment import split_image, split_times
from ah_ray.media.segment import Span
from ah_ray.media.stills import read_still
from ah_ray.models.architecture import find_architecture
from ah_ray.training.swift import (
    ARCHITECTURE_VARIABLE,
    DEEPSPEED_VARIABLE,
    MEDIA_VARIABLE,
    READER,
)


def read_clip(element: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any], float]:
    """Read the picture of a clip.

    Args:
        element: with the clip under ``video``: the path of its file, which has its WAV beside it,
            or its source and times (``media.fragment``).

    Returns:
        Frames (uint8, frames x RGB x height x width), metadata, and their rate in Hz.

    Raises:
        ItemError: the clip cannot be read.
    """
    clip = _decoded(element["video"], os.environ[MEDIA_VARIABLE])
    frames = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).contiguous()
    metadata = {
        "fps": clip.fps,
        "frames_indices": list(range(len(frames))),
        "total_num_frames": len(frames),
        "video_backend": READER,
    }
    return frames, metadata, clip.fps


def read_sound(audio: Any, *args: Any, **options: Any) -> Any:
    """Read the sound of a clip, 16 kHz mono: ours for times in a source, MS-Swift's for a file.

    Raises:
        ItemError: the clip cannot be read.
    """
    if isinstance(audio, str) and split_times(audio)[1] is not None:
        return _decoded(audio, os.environ[MEDIA_VARIABLE]).audio
    return vision_utils.load_audio(audio, *args, **options)


def read_image(image: Any) -> Any:
    """Read one of the images of a clip, or a picture; another image as MS-Swift does.

    Raises:
        ItemError: the clip cannot be read.
    """
    if isinstance(image, str) and (named := split_image(image)) is not None:
        clip = _decoded(named.clip, os.environ[MEDIA_VARIABLE], named.clip_id)
        return Image.fromarray(clip.frames[named.number])
    still = read_still(image) if isinstance(image, str) and os.path.isfile(image) else None
    if still is not None:  # MS-Swift would not turn it
        return Image.fromarray(still)
    return vision_utils.load_image(image)


# The sound of a clip is asked for right after its picture, and its images one after the other.
@lru_cache(maxsize=1)
def _decoded(uri: str, media: str, clip_id: str = "") -> DecodedClip:
    source, span = split_times(uri)
    span = span or Span(0.0, _sound_duration(Path(source)))
    how = MediaConfig.model_validate_json(media)
    ((_, clip),) = decode(source, [span], how, clip_ids=[clip_id])
    if isinstance(clip, ItemError):
        raise clip
    return clip


def _sound_duration(clip: Path) -> float:
    """The length of a clip in seconds, by its WAV: the picture's last frame may stand longer."""
    path = clip.with_suffix(".wav")
    try:
        with wave.open(str(path), "rb") as sound:
            return sound.getnframes() / sound.getframerate()
    except (OSError, wave.Error) as error:
        raise ItemError("unreadable", f"{path}: {error}") from error


if os.environ.get(DEEPSPEED_VARIABLE) == "cpu":
    import deepspeed
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

    # It would first compile a way of its own for ranks on one machine, which takes a C++ compiler
    # and longer than a small training. It goes without where that cannot be compiled.
    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False
    # It takes a library of Intel's for CPUs, unless somebody has begun before.
    deepspeed.init_distributed("gloo")

base.load_image = read_image  # MS-Swift has no mapping for images
architecture = find_architecture(os.environ[ARCHITECTURE_VARIABLE])
architecture.register()
architecture.read_with(READER, read_clip, read_sound)
