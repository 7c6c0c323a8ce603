"""Interval arithmetic: from a video's length and annotation to clips. Pure functions over seconds.

Two functions with two signatures: ``training_spans`` is given the annotation, ``scoring_spans``
cannot see it, so that no label leaks into how a video under test is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ah_ray.config import SegmentationConfig

# Containers round durations and 29.97 Hz frames do not divide seconds: a stretch that exceeds
# a whole number of clips by no more than this gets no extra clip, and one that lacks this little
# is not cut short.
TOLERANCE_S = 0.05


class Span(NamedTuple):
    """A stretch of a video, in seconds from its start; ``start_s`` < ``end_s``."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


def split(span: Span, rule: SegmentationConfig) -> list[Span]:
    """Cut one stretch into consecutive clips (the split rule of the paper, section 3).

    A stretch of at most ``clip_s`` stays whole. A longer one becomes pieces of ``clip_s``, and a
    trailing piece shorter than ``min_tail_s`` is dropped.
    """
    if span.duration_s <= rule.clip_s + TOLERANCE_S:
        return [Span(span.start_s, min(span.end_s, span.start_s + rule.clip_s))]
    whole = int((span.duration_s + TOLERANCE_S) // rule.clip_s)
    edges = [span.start_s + index * rule.clip_s for index in range(whole + 1)]
    pieces = [Span(start, min(end, span.end_s)) for start, end in pairwise(edges)]
    tail = Span(edges[-1], span.end_s)
    if tail.duration_s > TOLERANCE_S and tail.duration_s >= rule.min_tail_s:
        pieces.append(tail)
    return pieces


def scoring_spans(duration_s: float, rule: SegmentationConfig) -> list[list[Span]]:
    """The clips of a whole video, blind to any annotation; one segment."""
    return [split(Span(0.0, duration_s), rule)]


def training_spans(
    duration_s: float, label: int, intervals: Sequence[Span], rule: SegmentationConfig
) -> list[list[Span]]:
    """The clips of each segment of a training video (Algorithm 1 of the paper).

    A negative video is one segment. Each annotated interval of a positive one is a segment, and
    what lies outside them is not used: nobody said that it shows nothing.

    Args:
        duration_s: length of the video.
        label: 1 or 0.
        intervals: where a positive shows the behaviour; sorted, disjoint and inside the video.
        rule: how a segment is cut into clips.
    """
    if not label:
        return scoring_spans(duration_s, rule)
    return [split(interval, rule) for interval in intervals]


def clamp(
    intervals: Sequence[Span], duration_s: float
) -> tuple[list[Span], list[tuple[Span, str]]]:
    """Fit annotated intervals into the video.

    Returns:
        The intervals that overlap the video, cut at its end, and every interval that had to be
        changed with what was done to it.
    """
    kept: list[Span] = []
    problems: list[tuple[Span, str]] = []
    for interval in intervals:
        if interval.start_s >= duration_s - TOLERANCE_S:
            problems.append((interval, "starts after the end of the video; left out"))
            continue
        if interval.end_s > duration_s + TOLERANCE_S:
            problems.append((interval, "ends after the end of the video; cut there"))
        kept.append(Span(interval.start_s, min(interval.end_s, duration_s)))
    return kept, problems
