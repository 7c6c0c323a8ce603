"""Whether what is found lies where people saw it: answers to clips against annotated intervals.

Pure functions over seconds. Of one label and one source of answers; a clip is positive when its
answer has the label, and its chance that of the label.

Seconds are counted over all videos together, those without the label too: F1 of the time that is
called positive, and average precision of time by its chance (scikit-learn's, each piece of time as
heavy as it is long). Segments are runs of positive clips that touch; how they meet the intervals is
measured as for temporal action localisation (ActivityNet, THUMOS): average precision at thresholds
of intersection over union, each interval found once, by the segment with the largest chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from ah_ray.media.segment import Span

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

_TOUCHING_S = 0.05  # clips that lie no further apart are one segment


class Found(NamedTuple):
    """What is said of one clip.

    Attributes:
        span: of the clip.
        chance: of the label, 0 to 1.
        positive: whether the answer has it.
    """

    span: Span
    chance: float
    positive: bool


class Video(NamedTuple):
    """One labelled video.

    Attributes:
        truth: where people saw the label; empty for a video without it.
        found: what is said of its clips, as far as they have an answer.
    """

    truth: Sequence[Span]
    found: Sequence[Found]


class Segment(NamedTuple):
    """A run of positive clips; its chance is the largest of theirs."""

    span: Span
    chance: float


def localisation(videos: Sequence[Video]) -> dict[str, Any]:
    """How well time and segments are found.

    Args:
        videos: all that have a label, in any order.

    Returns:
        ``videos`` and ``intervals`` (how many; those that overlap are one), ``seconds`` of them,
        ``precision``, ``recall``, ``f1`` and ``average_precision`` of seconds, ``mean_iou`` (the
        mean over intervals of the intersection over union with the best segment), and
        ``segments_average_precision`` by threshold (``"0.1"`` to ``"0.7"``) with their ``mean``.
        None where there is no interval, or no time that could be ranked.
    """
    truths = [merged(video.truth) for video in videos]
    segments = [segments_of(video.found) for video in videos]
    pieces = np.array(
        [row for video, truth in zip(videos, truths, strict=True) for row in _pieces(video, truth)],
        dtype=float,
    ).reshape(-1, 4)
    weight, true, positive, chance = pieces.T
    hit, said, there = ((weight * w).sum() for w in (true * positive, positive, true))
    ious = [
        max((iou(interval, segment.span) for segment in mine), default=0.0)
        for truth, mine in zip(truths, segments, strict=True)
        for interval in truth
    ]
    at = {f"{t:g}": _average_precision(truths, segments, t) for t in THRESHOLDS}
    precise = [value for value in at.values() if value is not None]
    return {
        "videos": len(videos),
        "intervals": len(ious),
        "seconds": float(there),
        "precision": float(hit / said) if said else None,
        "recall": float(hit / there) if there else None,
        "f1": float(2 * hit / (said + there)) if there else None,
        "average_precision": _of_seconds(weight, true, chance) if there else None,
        "mean_iou": fmean(ious) if ious else None,
        "segments_average_precision": at | {"mean": fmean(precise) if precise else None},
    }


def merged(spans: Sequence[Span], apart_s: float = 0.0) -> list[Span]:
    """Spans in order of time; those that overlap, or lie no further apart, are one.

    >>> merged([Span(4, 6), Span(0, 2), Span(1, 3)])
    [Span(start_s=0, end_s=3), Span(start_s=4, end_s=6)]
    """
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start_s <= found[-1].end_s + apart_s:
            found[-1] = Span(found[-1].start_s, max(found[-1].end_s, span.end_s))
        else:
            found.append(span)
    return found


def segments_of(found: Sequence[Found]) -> list[Segment]:
    """The runs of positive clips of a video."""
    positive = [clip for clip in found if clip.positive]
    return [
        Segment(whole, max(clip.chance for clip in positive if iou(whole, clip.span) > 0))
        for whole in merged([clip.span for clip in positive], _TOUCHING_S)
    ]


def iou(one: Span, other: Span) -> float:
    """Intersection over union."""
    both = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    return max(both, 0.0) / (one.duration_s + other.duration_s - max(both, 0.0))


def _pieces(video: Video, truth: Sequence[Span]) -> list[tuple[float, bool, bool, float]]:
    """Stretches in which nothing changes: length, true, positive, the largest chance.

    Where clips overlap one of them is enough; time that no answered clip covers has no chance (-1).
    """
    spans = [*truth, *(clip.span for clip in video.found)]
    cuts = sorted({time for span in spans for time in span})
    rows = []
    for start_s, end_s in pairwise(cuts):
        middle_s = (start_s + end_s) / 2
        over = [c for c in video.found if c.span.start_s < middle_s < c.span.end_s]
        true = any(span.start_s < middle_s < span.end_s for span in truth)
        if over or true:
            chance = max((clip.chance for clip in over), default=-1.0)
            positive = any(clip.positive for clip in over)
            rows.append((end_s - start_s, true, positive, chance))
    return rows


def _of_seconds(weight: Any, true: Any, chance: Any) -> float:
    from sklearn.metrics import average_precision_score  # takes a second

    return float(average_precision_score(true, chance, sample_weight=weight))


def _average_precision(
    truths: Sequence[Sequence[Span]], segments: Sequence[Sequence[Segment]], threshold: float
) -> float | None:
    """Of segments, the largest chance first, of equal ones the best placed; None without truth."""
    there = sum(map(len, truths))
    if not there:
        return None
    places = [(v, k) for v, mine in enumerate(segments) for k in range(len(mine))]

    def first(place: tuple[int, int]) -> tuple[float, float]:
        video, number = place
        segment = segments[video][number]
        best = max((iou(truth, segment.span) for truth in truths[video]), default=0.0)
        return -segment.chance, -best

    taken: set[tuple[int, int]] = set()
    right = []
    for video, place in sorted(places, key=first):
        free = [
            (iou(truth, segments[video][place].span), -number)
            for number, truth in enumerate(truths[video])
            if (video, number) not in taken
        ]
        best, number = max(free, default=(0.0, 0))
        right.append(best >= threshold)
        if right[-1]:
            taken.add((video, -number))
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    # The best precision at that recall or a larger one, as the benchmarks take it.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * right).sum() / there)
