import inspect
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ah_ray.media.config import SegmentationConfig
from ah_ray.media.segment import (
    TOLERANCE_S,
    Balance,
    Span,
    clamp,
    scoring_spans,
    split,
)

PAPER = SegmentationConfig()
EPS = 1e-6


@st.composite
def rules(draw, **fixed):
    """Any rule; lengths in milliseconds, as people write them."""

    def seconds(low, high):
        return draw(st.integers(round(low * 1000), round(high * 1000))) / 1000

    clip_s = seconds(0.5, 30)
    drawn = {
        "overlap_s": seconds(0, 0.8 * clip_s),
        "tail": draw(st.sampled_from(["drop", "keep", "overlap"])),
        "min_tail_s": seconds(0, clip_s),
        "min_clip_s": seconds(0, min(0.09, clip_s)),
    }
    return SegmentationConfig(clip_s=clip_s, **(drawn | fixed))


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
def test_clips_lie_in_the_stretch_in_order(stretch, rule):
    clips = split(stretch, rule)
    assert clips[0].start_s == pytest.approx(stretch.start_s, abs=EPS)
    assert clips[-1].end_s <= stretch.end_s + EPS
    assert all(clip.start_s < clip.end_s for clip in clips)
    assert all(left.start_s < right.start_s for left, right in pairwise(clips))
    assert all(left.end_s < right.end_s for left, right in pairwise(clips))


@given(stretches(), rules())
def test_no_clip_is_longer_than_allowed(stretch, rule):
    assert max(clip.duration_s for clip in split(stretch, rule)) <= rule.clip_s + EPS


@given(stretches(), rules())
def test_neighbours_share_the_overlap_and_nothing_is_left_between_them(stretch, rule):
    clips = split(stretch, rule)
    shared = [left.end_s - right.start_s for left, right in pairwise(clips)]
    assert all(s >= -EPS for s in shared)
    # The last clip of the policy overlap is moved back further, and a clip's end that lacks no
    # more than the tolerance is that of the stretch.
    assert shared[:-1] == pytest.approx([rule.overlap_s] * len(shared[:-1]), abs=EPS)


@given(stretches(), rules())
def test_everything_is_covered_but_what_the_policy_drops(stretch, rule):
    unseen = stretch.end_s - split(stretch, rule)[-1].end_s
    dropped = {"drop": max(rule.min_tail_s, rule.min_clip_s), "keep": rule.min_clip_s, "overlap": 0}
    assert unseen <= max(dropped[rule.tail], TOLERANCE_S) + EPS


@given(stretches(), rules(tail="overlap"))
def test_moved_back_every_clip_is_whole(stretch, rule):
    assume(stretch.duration_s > rule.clip_s + TOLERANCE_S)
    for clip in split(stretch, rule):
        assert clip.duration_s == pytest.approx(rule.clip_s, abs=TOLERANCE_S + EPS)


@given(stretches(), rules(tail="drop"))
def test_every_clip_but_the_only_one_is_long_enough(stretch, rule):
    clips = split(stretch, rule)
    if len(clips) > 1:
        shortest = min(clip.duration_s for clip in clips)
        assert shortest >= min(rule.min_tail_s, rule.clip_s - TOLERANCE_S) - EPS


@given(stretches(), rules())
def test_splitting_a_clip_again_changes_nothing(stretch, rule):
    for clip in split(stretch, rule):
        assert split(clip, rule) == [clip]


@given(st.integers(100, 1000), st.integers(0, 5_000_000), rules(min_clip_s=0))
def test_a_stretch_shorter_than_a_clip_stays_whole(share, start, rule):
    stretch = Span(start / 1000, (start + round(share * rule.clip_s)) / 1000)
    assume(stretch.duration_s < rule.clip_s)
    assert split(stretch, rule) == [stretch]


def test_what_is_too_short_gives_no_clip():
    rule = SegmentationConfig(min_clip_s=1.5, tail="keep")
    assert split(Span(3.0, 4.4), rule) == []
    assert split(Span(3.0, 4.6), rule) == [Span(3.0, 4.6)]
    assert split(Span(0.0, 6.4), rule) == [Span(0.0, 5.0)]
    assert split(Span(0.0, 6.6), rule) == [Span(0.0, 5.0), Span(5.0, 6.6)]
    assert split(Span(1.0, 1.0000001), PAPER) == []


@given(st.integers(1, 50), st.floats(-0.04, 0.04), rules(overlap_s=0))
def test_rounded_lengths_give_neither_more_nor_fewer_clips(count, noise, rule):
    assume(rule.clip_s >= 1)
    clips = split(Span(0.0, count * rule.clip_s + noise), rule)
    assert len(clips) == count
    assert clips[-1].end_s == pytest.approx(count * rule.clip_s, abs=0.04 + EPS)


@pytest.mark.parametrize(
    ("policy", "clips"),
    [
        ({}, [(0, 5), (4, 9), (8, 13)]),
        ({"tail": "keep"}, [(0, 5), (4, 9), (8, 13), (12, 14.5)]),
        ({"tail": "overlap"}, [(0, 5), (4, 9), (8, 13), (9.5, 14.5)]),
        ({"min_tail_s": 2.0}, [(0, 5), (4, 9), (8, 13), (12, 14.5)]),
    ],
)
def test_overlapping_clips_and_their_tail(policy, clips):
    rule = SegmentationConfig(overlap_s=1.0, **policy)
    assert split(Span(0.0, 14.5), rule) == [Span(*clip) for clip in clips]


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
    assert scoring_spans(duration, rule) == split(Span(0.0, duration), rule)


def test_scoring_cannot_be_given_an_annotation():
    assert list(inspect.signature(scoring_spans).parameters) == ["duration_s", "rule"]


LENGTHS = sorted([0.5, 0.5, 1.25, 3.0, 3.0, 3.0, 4.75, 5.0])


@given(st.floats(0.1, 400), st.text(max_size=5), st.lists(st.floats(0.1, 5.0), min_size=1))
def test_balanced_clips_lie_in_the_video_in_order_and_apart(duration, key, lengths):
    clips = Balance(sorted(lengths), key).clips(duration, PAPER)
    assert clips
    assert clips[0].start_s >= 0
    assert clips[-1].end_s <= duration + EPS
    assert all(clip.start_s < clip.end_s for clip in clips)
    assert all(left.end_s <= right.start_s + EPS for left, right in pairwise(clips))
    assert len(clips) == max(1, int((duration + TOLERANCE_S) / PAPER.clip_s))


def test_balanced_negatives_are_as_long_as_positives():
    clips = [clip for n in range(400) for clip in Balance(LENGTHS, f"video {n}").clips(53.0, PAPER)]
    found = [round(clip.duration_s, 4) for clip in clips]
    assert len(found) == 4000
    for length in set(LENGTHS):
        share = LENGTHS.count(length) / len(LENGTHS)
        assert found.count(length) / len(found) == pytest.approx(share, abs=0.03)


def test_balanced_clips_are_the_same_in_every_run_and_differ_between_videos():
    one, same, other = (Balance(LENGTHS, key).clips(60.0, PAPER) for key in ("a", "a", "b"))
    assert one == same != other


def test_a_short_negative_gets_a_length_that_fits():
    for key in map(str, range(20)):
        ((start, end),) = Balance(LENGTHS, key).clips(2.0, PAPER)
        assert end - start == pytest.approx(0.5) or end - start == pytest.approx(1.25)
        assert Balance([4.0], key).clips(2.0, PAPER) == [Span(0.0, 2.0)]


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
