"""Interval arithmetic: from a video's length and annotation to clips. Pure functions over seconds.

``scoring_spans`` is given a video's length alone and cannot see its annotation, so that no label
leaks into how a video under test is cut.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from ah_ray.media.config import SegmentationConfig
from ah_ray.schemas import stable_id

# Containers round durations and 29.97 Hz frames do not divide seconds: a stretch that exceeds
# a whole number of clips by no more than this gets no extra clip, and one that lacks this little
# is not cut short.
TOLERANCE_S = 0.05
_SHORTEST_S = 0.001  # less is no stretch of video
_DECIMALS = 6  # of a second; so that sums of lengths come out equal however they were added up


class Span(NamedTuple):
    """A stretch of a video, in seconds from its start; ``start_s`` < ``end_s``."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


#: What a picture counts as: a clip needs a length, and a model a frame rate. At two frames a
#: second, the usual rate, it is the one pair of frames that Qwen takes for one picture.
STILL = Span(0.0, 1.0)


def split(span: Span, rule: SegmentationConfig) -> list[Span]:
    """Cut one stretch into clips, in order of time (the split rule of the paper, section 3).

    A stretch of at most ``clip_s`` stays whole. A longer one becomes clips of ``clip_s``, each
    ``clip_s - overlap_s`` after the one before, and a tail by the rule's policy. To split a clip
    again changes nothing.
    """
    if span.duration_s < max(rule.min_clip_s, _SHORTEST_S):
        return []
    end_s = round(span.end_s, _DECIMALS)

    def clip(start_s: float) -> Span:
        return Span(start_s, min(round(start_s + rule.clip_s, _DECIMALS), end_s))

    start_s = round(span.start_s, _DECIMALS)
    if span.duration_s <= rule.clip_s + TOLERANCE_S:
        return [clip(start_s)]
    stride_s = rule.clip_s - rule.overlap_s
    whole = 1 + int((span.duration_s - rule.clip_s + TOLERANCE_S) / stride_s)
    starts = [round(start_s + index * stride_s, _DECIMALS) for index in range(whole + 1)]
    clips = [clip(start) for start in starts[:whole]]
    if end_s - clips[-1].end_s > TOLERANCE_S:
        tail = Span(starts[whole], end_s)
        shortest_s = max(rule.min_clip_s, rule.min_tail_s if rule.tail == "drop" else 0.0)
        if rule.tail == "overlap":
            clips.append(clip(round(end_s - rule.clip_s, _DECIMALS)))
        elif tail.duration_s >= shortest_s:
            clips.append(tail)
    return clips


def scoring_spans(duration_s: float, rule: SegmentationConfig) -> list[Span]:
    """The clips of a whole video, blind to any annotation."""
    return split(Span(0.0, duration_s), rule)


class Balance(NamedTuple):
    """Gives videos without intervals clips of the same lengths as annotated ones have.

    Attributes:
        lengths: of the clips of all annotated intervals, in seconds; sorted and not empty.
        key: of the video, such as its id: each video has its own lengths, the same in every run.
    """

    lengths: Sequence[float]
    key: str

    def clips(self, duration_s: float, rule: SegmentationConfig) -> list[Span]:
        """One clip in each whole ``clip_s`` of a video, its length and place picked by chance.

        Every length fits into every such window, so the lengths are distributed exactly as
        ``lengths`` are. The rest at the end of a video is not used; a video that is shorter than
        one window gives one clip, of a length that fits into it if there is one.
        """
        whole = int((duration_s + TOLERANCE_S) / rule.clip_s)
        windows = [(index * rule.clip_s, rule.clip_s) for index in range(whole)]
        clips = []
        for start_s, room_s in windows or [(0.0, duration_s)]:
            fitting = bisect_right(self.lengths, room_s + TOLERANCE_S)
            index = int(self._chance("length", start_s) * fitting)
            picked = min(self.lengths[index], room_s)
            start_s += self._chance("place", start_s) * (room_s - picked)
            end_s = min(start_s + picked, duration_s)
            clips.append(Span(round(start_s, _DECIMALS), round(end_s, _DECIMALS)))
        return clips

    def _chance(self, what: str, start_s: float) -> float:
        """A number in [0, 1) that depends on nothing but the arguments."""
        return int(stable_id(self.key, what, f"{start_s:.3f}"), 16) / 2**64


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
