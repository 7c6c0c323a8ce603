"""How labelled videos are cut: to their annotated intervals, or where there are none as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.catalog.rows import Interval, video_row
from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.media.probe import MediaInfo
from ah_ray.media.segment import STILL, Balance, Span, scoring_spans, split
from ah_ray.pipelines.manifest import Manifest
from ah_ray.pipelines.prepare_video import Segment, training_segments

RULES = st.sampled_from(
    [
        SegmentationConfig(),
        SegmentationConfig(clip_s=2.5, min_tail_s=1.5),
        SegmentationConfig(clip_s=3, overlap_s=1, tail="keep"),
        SegmentationConfig(clip_s=3, tail="overlap"),
    ]
)
PAPER = SegmentationConfig()
LENGTHS = [0.5, 1.25, 3.0, 4.75]


@st.composite
def annotations(draw):
    edges = sorted(draw(st.lists(st.integers(0, 4000), min_size=2, max_size=12, unique=True)))
    return list(zip([e / 10 for e in edges[::2]], [e / 10 for e in edges[1::2]], strict=False))


def segments(
    labels, intervals, duration_s=400.0, rule=PAPER, lengths=(), absent="No", odd=None, still=False
):
    media = MediaConfig(), PrepareConfig(), LimitsConfig()
    manifest = Manifest("training", ("train",), rule, *media, absent)
    info = MediaInfo(duration_s, 640, 480, 25.0, 0, 1, still)
    labels = None if labels is None else frozenset(labels)
    video = video_row("v", "v.mp4", labels=labels, intervals=[Interval(*i) for i in intervals])
    return training_segments(video, info, manifest, lengths, [] if odd is None else odd)


@given(st.floats(0.1, 400), RULES)
def test_where_nothing_is_to_be_found_it_is_cut_as_in_scoring(duration, rule):
    assert segments(["No"], [], duration, rule) == [Segment(scoring_spans(duration, rule), ["No"])]


@given(annotations(), RULES, st.sampled_from([("Yes", "No"), ("smile", None)]))
def test_where_something_is_annotated_clips_stay_in_its_intervals(intervals, rule, words):
    label, absent = words
    found = segments([label], intervals, rule=rule, absent=absent)
    assert found == [Segment(split(Span(*interval), rule), [label]) for interval in intervals]
    for (start_s, end_s), segment in zip(intervals, found, strict=True):
        assert start_s <= segment.clips[0].start_s
        assert segment.clips[-1].end_s <= end_s + 1e-6


def test_where_nothing_is_annotated_only_absence_may_do_without():
    with pytest.raises(
        ItemError, match="Yes, but no annotated interval lies in the video"
    ) as found:
        segments(["Yes"], [])
    assert found.value.kind == "no_interval"
    whole = scoring_spans(400.0, PAPER)
    assert segments(["smile"], [], absent=None) == [Segment(whole, ["smile"])]
    assert segments(["b", "a"], [], absent=None) == [Segment(whole, ["a", "b"])]
    with pytest.raises(ItemError, match="needs a label") as found:
        segments(None, [(1, 2)])
    assert found.value.kind == "no_label"


def test_an_interval_with_a_label_of_its_own_shows_that():
    intervals = [(1, 4), (2, 7), (3, 5, "frown")]
    assert segments(["smile"], intervals, absent=None) == [
        Segment([Span(1, 4)], ["smile"]),
        Segment([Span(2, 7)], ["smile"]),
        Segment([Span(3, 5)], ["frown"]),
    ]


def test_an_interval_that_lies_behind_the_video_is_told_and_not_used():
    odd = []
    found = segments(["Yes"], [(1, 4), (8, 12), (20, 22, "No")], duration_s=10.0, odd=odd)
    assert found == [Segment([Span(1, 4)], ["Yes"]), Segment([Span(8, 10)], ["Yes"])]
    assert [finding["kind"] for finding in odd] == ["interval_past_end"] * 2
    with pytest.raises(ItemError, match="no annotated interval lies in the video"):
        segments(["Yes"], [(20, 22)], duration_s=10.0, odd=odd)


def test_only_what_has_no_intervals_is_balanced():
    balanced = Balance(LENGTHS, "v").clips(60.0, PAPER)
    assert segments(["No"], [], 60.0, lengths=LENGTHS) == [Segment(balanced, ["No"])]
    annotated = segments(["Yes"], [(1, 9)], 60.0, lengths=LENGTHS)
    assert annotated == [Segment(split(Span(1, 9), PAPER), ["Yes"])]


def test_a_picture_is_one_clip_whatever_the_rule_and_whatever_is_annotated():
    odd = []
    whole = [Segment([STILL], ["Yes"])]
    for rule in (
        PAPER,
        SegmentationConfig(clip_s=9, min_clip_s=9),
        SegmentationConfig(clip_s=0.3, min_tail_s=0),
    ):
        length = STILL.duration_s
        assert segments(["Yes"], [], length, rule, still=True, odd=odd) == whole
        assert segments(["Yes"], [], length, rule, lengths=LENGTHS, still=True, odd=odd) == whole
    assert odd == []
    assert segments(["Yes"], [(0.2, 0.5), (3, 4)], 1.0, still=True, odd=odd) == whole
    assert [finding["kind"] for finding in odd] == ["picture_with_intervals"]
    with pytest.raises(ItemError, match="needs a label"):
        segments(None, [], 1.0, still=True)
