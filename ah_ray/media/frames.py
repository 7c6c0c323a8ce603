"""What the model sees of a clip: when its frames are taken and how large they are. Pure functions.

Training and scoring both go through here, by way of ``decode``.
"""

from __future__ import annotations

import math
import random

from ah_ray.errors import ItemError
from ah_ray.media.config import MediaConfig
from ah_ray.media.segment import Span

AUDIO_HZ = 16_000  # the rate of Qwen's audio encoder
AUDIO_JUMP_S = 0.05  # timestamps that jump by less are rounding (Matroska counts milliseconds)
AUDIO_HOP = 160  # samples per spectrogram column; a clip's audio is a whole number of them
DEINTERLACE = {"mode": "send_frame", "deint": "interlaced"}  # options of the filter bwdif
MIN_AUDIO_SAMPLES = 1_600  # the encoder fails on less
MOST_ELONGATED = 200  # how often the longer side of a picture may hold the shorter


def frame_count(duration_s: float, media: MediaConfig) -> int:
    """The even number of frames that comes nearest to ``media.fps``, within its bounds.

    Of images as many as there shall be, however long the clip is.
    """
    if media.picture == "images":
        return media.images
    nearest = 2 * round(duration_s * media.fps / 2)
    return min(max(nearest, media.min_frames), media.max_frames)


def frame_times(span: Span, media: MediaConfig, clip_id: str = "") -> list[float]:
    """When the frames of a clip are taken, in seconds of the video.

    The middles of equal parts; or, of images that are picked at random, moments that follow from
    ``clip_id``, each second of the clip being as likely as any other.
    """
    count = frame_count(span.duration_s, media)
    if media.picture == "images" and media.pick == "random":
        chance = random.Random(clip_id)  # of a text: the same in every process and release
        return sorted(span.start_s + chance.random() * span.duration_s for _ in range(count))
    step = span.duration_s / count
    return [span.start_s + (index + 0.5) * step for index in range(count)]


def fit_size(width: int, height: int, media: MediaConfig) -> tuple[int, int]:
    """The frame size the model sees: the source's shape, within the pixel budget.

    Both sides are multiples of ``media.size_multiple`` and the area lies between ``min_pixels``
    and ``max_pixels``. Same rule as ``smart_resize`` of Qwen's own utilities, so that applying
    that to the result changes nothing. With ``media.square`` both sides are that.

    Raises:
        ItemError: a side is not positive, or one is over 200 times the other.
    """
    if min(width, height) <= 0 or max(width, height) > MOST_ELONGATED * min(width, height):
        raise ItemError("frame_size", f"{width}x{height} pixels is no usable frame size")
    if media.square is not None:
        return media.square, media.square
    unit = media.size_multiple
    fitted = [max(unit, round(side / unit) * unit) for side in (width, height)]
    if fitted[0] * fitted[1] > media.max_pixels:
        ratio = math.sqrt(width * height / media.max_pixels)
        fitted = [max(unit, math.floor(side / ratio / unit) * unit) for side in (width, height)]
    elif fitted[0] * fitted[1] < media.min_pixels:
        ratio = math.sqrt(media.min_pixels / (width * height))
        fitted = [math.ceil(side * ratio / unit) * unit for side in (width, height)]
    return fitted[0], fitted[1]


def audio_samples(duration_s: float) -> int:
    """Length of a clip's audio in samples at ``AUDIO_HZ``: whole hops, and never too short."""
    samples = int(duration_s * AUDIO_HZ + 0.5) // AUDIO_HOP * AUDIO_HOP
    return max(samples, MIN_AUDIO_SAMPLES)


def bucket(span: Span, width: int, height: int, media: MediaConfig) -> str:
    """Frames x height x width of what the model sees; clips of one bucket cost the same."""
    fitted_width, fitted_height = fit_size(width, height, media)
    return f"{frame_count(span.duration_s, media)}x{fitted_height}x{fitted_width}"
