"""The longest conversation that a member's settings allow: what an engine must have room for.

Left to itself vLLM plans for the longest that the architecture allows, an hour of video, and does
not start on the GPUs that serve clips of some seconds.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ah_ray.engines.wording import Wording
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.media.decode import DecodedClip
from ah_ray.media.frames import MOST_ELONGATED, audio_samples, frame_count
from ah_ray.media.segment import TOLERANCE_S
from ah_ray.models.architecture import Architecture


class Longest(NamedTuple):
    """What a clip has at most.

    Attributes:
        frames: pictures.
        side: of a square picture, in pixels; no picture has more of them.
        samples: of sound; 0 where the model gets none.
    """

    frames: int
    side: int
    samples: int

    def clip(self) -> DecodedClip:
        """One that is as long: black and silent."""
        frames = np.zeros((self.frames, self.side, self.side, 3), np.uint8)
        return DecodedClip(frames, 1.0, np.zeros(self.samples, np.float32))


def longest_media(media: MediaConfig, segmentation: SegmentationConfig) -> Longest:
    """The most that a clip of these settings can have."""
    seconds = segmentation.clip_s + TOLERANCE_S
    side = media.size_multiple * math.ceil(math.sqrt(_largest_area(media)))
    samples = audio_samples(seconds) if "audio" in media.kinds else 0
    return Longest(frame_count(seconds, media), side, samples)


def _largest_area(media: MediaConfig) -> float:
    """No frame that ``media.frames.fit_size`` gives is larger; in squares of ``size_multiple``.

    Sides are whole: of a picture that is reduced the shorter is at least one, of a picture that is
    enlarged both are rounded up. Both matter for elongated pictures alone.
    """
    least, most = (area / media.size_multiple**2 for area in media.areas)
    if media.square is not None:
        return most
    reduced = math.sqrt(MOST_ELONGATED * most)
    both_sides = math.sqrt(MOST_ELONGATED * least) + math.sqrt(least / MOST_ELONGATED)
    return max(most, reduced, least + both_sides + 1)


def tokens_of(architecture: Architecture, processor: Any, words: Wording, longest: Longest) -> int:
    """How many tokens a conversation takes up to its reply, as the processor counts them.

    Args:
        architecture: of the member's checkpoint.
        processor: of the same.
        words: the member's ``Wording``.
        longest: its clip.
    """
    inputs = architecture.encode(processor, words.text, words.kinds, [longest.clip()])
    return int(inputs["input_ids"].shape[1])
