"""What is said in a clip, from what is said in its video. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ah_ray.media.segment import Span


def subtitle_of(subtitles: Sequence[Mapping[str, Any]], span: Span) -> str | None:
    """What is said in a clip, on one line; None where nothing is.

    An utterance is given to each clip that it overlaps, and one without times to all. They stand
    in the order of time, those without times first, however the archive lists them.

    Args:
        subtitles: of the video, as in ``schemas.VIDEOS``.
        span: the clip.
    """
    said = {(_times(one), " ".join((one["text"] or "").split())) for one in subtitles}
    heard = [text for times, text in sorted(said) if text and _overlap(times, span)]
    return " ".join(heard) or None


def _times(subtitle: Mapping[str, Any]) -> Span:
    times = subtitle["start_s"], subtitle["end_s"]
    return Span(-math.inf, math.inf) if None in times else Span(*times)


def _overlap(said: Span, clip: Span) -> bool:
    """Whether they share more than an instant; what is said in no time is said at its start."""
    if said.start_s == said.end_s:
        return clip.start_s <= said.start_s < clip.end_s
    return said.start_s < clip.end_s and said.end_s > clip.start_s
