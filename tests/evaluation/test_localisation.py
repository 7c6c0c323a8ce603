"""Answers to clips against annotated intervals."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.evaluation.localisation import Found, Video, iou, localisation, merged
from ah_ray.media.segment import Span


def clips(*chances: float, length_s: float = 5.0) -> list[Found]:
    """Clips one after the other, positive from a half."""
    return [
        Found(Span(k * length_s, (k + 1) * length_s), chance, chance >= 0.5)
        for k, chance in enumerate(chances)
    ]


def test_by_hand():
    # Said 0-5 and 10-20 s, true 3-12 s; the other video has nothing and 5 s are called positive.
    videos = [
        Video([Span(3, 8), Span(6, 12)], clips(0.9, 0.2, 0.6, 0.7)),
        Video([], clips(0.1, 0.8)),
    ]
    found = localisation(videos)
    assert (found["videos"], found["intervals"], found["seconds"]) == (2, 1, 9)
    assert found["precision"] == pytest.approx((2 + 2) / 20)
    assert found["recall"] == pytest.approx(4 / 9)
    assert found["f1"] == pytest.approx(2 * 4 / (20 + 9))
    # Time by chance: .9 (2 of 5 s true), .8 (0 of 5), .7 (0 of 5), .6 (2 of 5), .2 (5 of 5), .1.
    steps = 2 * (2 / 5) + 2 * (4 / 20) + 5 * (9 / 25)
    assert found["average_precision"] == pytest.approx(steps / 9)
    assert found["mean_iou"] == pytest.approx(2 / 12)  # with 0-5; 10-20 has 2 of 17
    # By chance: 0-5 (.9, IoU 2/12), 0-10 of the other (.8, none), 10-20 (.7, taken by then).
    at = found["segments_average_precision"]
    assert at["0.1"] == 1.0
    assert at["0.2"] == 0.0
    assert at["mean"] == pytest.approx(1 / 7)


def test_touching_clips_are_one_segment_and_each_interval_is_found_once():
    videos = [Video([Span(0, 10)], clips(0.6, 0.8, 0.1, 0.9))]
    found = localisation(videos)
    # 15-20 s with .9 is wrong, 0-10 s with .8 is right: precision 1/2 at recall 1.
    assert found["segments_average_precision"]["0.7"] == 0.5
    assert found["mean_iou"] == 1.0


def test_an_archive_without_intervals_has_nothing_to_find():
    found = localisation([Video([], clips(0.9))])
    assert found["f1"] is found["mean_iou"] is found["average_precision"] is None
    assert found["segments_average_precision"]["mean"] is None
    assert localisation([])["precision"] is None


def test_what_no_clip_covers_is_missed():
    found = localisation([Video([Span(0, 5), Span(7, 9)], clips(0.9))])
    assert found["recall"] == pytest.approx(5 / 7)
    assert found["average_precision"] == pytest.approx((5 * 1 + 2 * 1) / 7)  # ranked last of all


spans = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda t: Span(t[0], t[0] + t[1]))
found_clips = st.lists(
    st.tuples(spans, st.floats(0, 1), st.booleans()).map(lambda t: Found(*t)), max_size=6
)
videos = st.lists(st.tuples(st.lists(spans, max_size=4), found_clips), max_size=4).map(
    lambda rows: [Video(*row) for row in rows]
)


@given(videos)
def test_numbers_are_shares_and_the_order_of_videos_changes_nothing(some):
    found = localisation(some)
    flat = [*found.values(), *found["segments_average_precision"].values()]
    shares = [v for v in flat if isinstance(v, float) and v is not found["seconds"]]
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in shares)
    at = list(found["segments_average_precision"].values())[:-1]
    if found["intervals"]:
        assert at == sorted(at, reverse=True), "a larger overlap is asked for"
    assert localisation(some[::-1]) == {
        key: value if isinstance(value, dict) else value and pytest.approx(value)
        for key, value in found.items()
    }


@given(st.lists(spans, min_size=1, max_size=5))
def test_who_finds_just_the_truth_is_perfect(truth):
    found = localisation([Video(truth, [Found(span, 0.8, True) for span in truth])])
    assert found["f1"] == pytest.approx(1)
    assert found["average_precision"] == pytest.approx(1)
    assert found["mean_iou"] == 1
    assert found["segments_average_precision"]["mean"] == 1


@given(st.lists(spans, max_size=6))
def test_merged_spans_cover_the_same_and_lie_apart(some):
    found = merged(some)
    assert merged(found) == found
    covered = {second for span in some for second in range(int(span.start_s), int(span.end_s))}
    again = {second for span in found for second in range(int(span.start_s), int(span.end_s))}
    assert again == covered
    assert all(a.end_s < b.start_s for a, b in pairwise(found))
    assert all(iou(span, span) == 1 for span in found)
