"""MS-Swift loads this file (``--external_plugins``) so that it reads clips with our decoder.

Qwen's media utilities, which MS-Swift reads video with, keep their readers in a mapping; the
environment variable ``FORCE_QWENVL_VIDEO_READER`` picks one. Ours takes the same frames at the
same size as scoring does, so nothing that the model sees differs between the two.
"""

from __future__ import annotations

import os
import wave
from pathlib import Path
from typing import Any

import torch
from qwen_omni_utils.v2_5 import vision_process

from ah_ray.config import MediaConfig
from ah_ray.errors import ItemError
from ah_ray.media.decode import decode
from ah_ray.media.segment import Span
from ah_ray.training.swift import MEDIA_VARIABLE, READER


def read_clip(element: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any], float]:
    """Read a whole clip file.

    Args:
        element: with the path under ``video``; its WAV lies beside it.

    Returns:
        Frames (uint8, frames x RGB x height x width), metadata, and their rate in Hz.

    Raises:
        ItemError: the clip cannot be read.
    """
    media = MediaConfig.model_validate_json(os.environ[MEDIA_VARIABLE])
    path = element["video"]
    ((_, clip),) = decode(path, [Span(0.0, _sound_duration(Path(path)))], media)
    if isinstance(clip, ItemError):
        raise clip
    frames = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).contiguous()
    metadata = {
        "fps": clip.fps,
        "frames_indices": list(range(len(frames))),
        "total_num_frames": len(frames),
        "video_backend": READER,
    }
    return frames, metadata, clip.fps


def _sound_duration(clip: Path) -> float:
    """The length of a clip in seconds, by its WAV: the picture's last frame may stand longer."""
    path = clip.with_suffix(".wav")
    try:
        with wave.open(str(path), "rb") as sound:
            return sound.getnframes() / sound.getframerate()
    except (OSError, wave.Error) as error:
        raise ItemError("unreadable", f"{path}: {error}") from error


vision_process.VIDEO_READER_BACKENDS[READER] = read_clip
