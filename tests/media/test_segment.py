import inspect
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ah_ray.config import SegmentationConfig
from ah_ray.media.segment import (
    TOLERANCE_S,
    Span,
    clamp,
    scoring_spans,
    split,
    training_spans,
)

PAPER = SegmentationConfig()
EPS = 1e-6


@st.composite
def rules(draw):
    clip_s = draw(st.floats(0.5, 30))
    return SegmentationConfig(clip_s=clip_s, min_tail_s=draw(st.floats(0, clip_s)))


@st.composite
def stretches(draw):
    start = draw(st.floats(0, 5000))
    return Span(start, start + draw(st.floats(0.1, 300)))


@st.composite
def annotations(draw):
    edges = sorted(draw(st.lists(st.integers(0, 4000), min_size=2, max_size=12, unique=True)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [Span(start / 10, end / 10) for start, end in pairs]


@given(stretches(), rules())
def test_clips_lie_in_the_stretch_in_order_and_apart(stretch, rule):
    clips = split(stretch, rule)
    assert clips
    assert clips[0].start_s == stretch.start_s
    assert clips[-1].end_s <= stretch.end_s + EPS
    assert all(clip.start_s < clip.end_s for clip in clips)
    assert all(left.end_s <= right.start_s for left, right in pairwise(clips))


@given(stretches(), rules())
def test_no_clip_is_longer_than_allowed(stretch, rule):
    assert max(clip.duration_s for clip in split(stretch, rule)) <= rule.clip_s + EPS


@given(stretches(), rules())
def test_only_a_short_tail_is_dropped(stretch, rule):
    clips = split(stretch, rule)
    gaps = [right.start_s - left.end_s for left, right in pairwise(clips)]
    assert max(gaps, default=0.0) <= EPS
    assert stretch.end_s - clips[-1].end_s <= max(rule.min_tail_s, TOLERANCE_S) + EPS


@given(stretches(), rules())
def test_every_clip_but_the_only_one_is_long_enough(stretch, rule):
    clips = split(stretch, rule)
    if len(clips) > 1:
        shortest = min(clip.duration_s for clip in clips)
        assert shortest >= min(rule.min_tail_s, rule.clip_s - TOLERANCE_S) - EPS


@given(stretches(), rules())
def test_splitting_a_clip_again_changes_nothing(stretch, rule):
    for clip in split(stretch, rule):
        (again,) = split(clip, rule)
        assert again == pytest.approx(clip, abs=EPS)


@given(st.floats(0.1, 1), st.floats(0, 5000), rules())
def test_a_stretch_shorter_than_a_clip_stays_whole(share, start, rule):
    stretch = Span(start, start + share * rule.clip_s)
    assume(stretch.duration_s < rule.clip_s)
    assert split(stretch, rule) == [stretch]


@given(st.integers(1, 50), st.floats(-0.04, 0.04), rules())
def test_rounded_lengths_give_neither_more_nor_fewer_clips(count, noise, rule):
    assume(rule.clip_s >= 1)
    clips = split(Span(0.0, count * rule.clip_s + noise), rule)
    assert len(clips) == count
    assert clips[-1].end_s == pytest.approx(count * rule.clip_s, abs=0.04 + EPS)


@pytest.mark.parametrize("seconds", [5, 10, 15, 60])
def test_whole_frames_at_29_97_hz_make_no_extra_clip(seconds):
    frames = -(-seconds * 30_000 // 1001)
    rule = SegmentationConfig(clip_s=5, min_tail_s=0)
    assert len(split(Span(0.0, frames * 1001 / 30_000), rule)) == seconds // 5


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [
        (0.5, [0.5]),
        (4.99, [4.99]),
        (5.0, [5.0]),
        (5.005, [5.0]),
        (7.9, [5.0]),
        (8.0, [5.0, 3.0]),
        (9.99, [5.0, 4.99]),
        (12.9, [5.0, 5.0]),
        (13.5, [5.0, 5.0, 3.5]),
    ],
)
def test_the_rule_of_the_paper(seconds, lengths):
    clips = split(Span(10.0, 10.0 + seconds), PAPER)
    assert [clip.duration_s for clip in clips] == pytest.approx(lengths)


@given(st.floats(0.1, 300), rules())
def test_scoring_cuts_the_whole_video_as_one_segment(duration, rule):
    assert scoring_spans(duration, rule) == [split(Span(0.0, duration), rule)]


def test_scoring_cannot_be_given_an_annotation():
    assert list(inspect.signature(scoring_spans).parameters) == ["duration_s", "rule"]


@given(st.floats(0.1, 400), annotations(), rules())
def test_a_negative_is_cut_as_in_scoring(duration, intervals, rule):
    assert training_spans(duration, 0, intervals, rule) == scoring_spans(duration, rule)


@given(annotations(), rules())
def test_a_positive_stays_in_its_intervals(intervals, rule):
    segments = training_spans(400.0, 1, intervals, rule)
    assert len(segments) == len(intervals)
    for interval, clips in zip(intervals, segments, strict=True):
        assert clips == split(interval, rule)
        assert interval.start_s <= clips[0].start_s
        assert clips[-1].end_s <= interval.end_s + EPS


@given(annotations(), st.floats(0.1, 500))
def test_clamped_intervals_lie_in_the_video(intervals, duration):
    kept, problems = clamp(intervals, duration)
    assert all(span.start_s < span.end_s <= duration for span in kept)
    assert all(span in intervals for span, _ in problems)
    untouched = [span for span in intervals if span.end_s <= duration]
    assert kept[: len(untouched)] == untouched
    lost = [span for span, done in problems if "left out" in done]
    assert len(kept) + len(lost) == len(intervals)


@pytest.mark.parametrize(
    ("interval", "kept", "told"),
    [
        ((1.0, 2.0), (1.0, 2.0), None),
        ((8.0, 10.0), (8.0, 10.0), None),
        ((8.0, 10.03), (8.0, 10.0), None),  # rounding is not worth a word
        ((8.0, 12.0), (8.0, 10.0), "cut there"),
        ((9.98, 12.0), None, "left out"),
        ((10.0, 12.0), None, "left out"),
        ((20.0, 22.0), None, "left out"),
    ],
)
def test_what_becomes_of_an_interval_near_the_end(interval, kept, told):
    spans, problems = clamp([Span(*interval)], 10.0)
    assert spans == ([Span(*kept)] if kept else [])
    assert [told in done for _, done in problems] == ([True] if told else [])
