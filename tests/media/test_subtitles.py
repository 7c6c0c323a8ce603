"""What is said in a clip."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.media.config import SegmentationConfig
from ah_ray.media.segment import Span, split
from ah_ray.media.subtitles import subtitle_of

CLIP = Span(5.0, 10.0)


def said(start_s, end_s, text="x") -> dict:
    return {"start_s": start_s, "end_s": end_s, "text": text}


@pytest.mark.parametrize(
    ("start_s", "end_s", "heard"),
    [
        (6, 7, True),
        (0, 20, True),
        (4, 5.1, True),
        (9.9, 12, True),
        (0, 5, False),  # it ends as the clip begins
        (10, 12, False),
        (7, 7, True),  # of no length
        (5, 5, True),
        (10, 10, False),
        (None, None, True),  # of the whole video
        (6, None, True),
    ],
)
def test_an_utterance_is_given_to_the_clips_that_it_overlaps(start_s, end_s, heard):
    assert subtitle_of([said(start_s, end_s)], CLIP) == ("x" if heard else None)


def test_utterances_stand_in_the_order_of_time_on_one_line():
    spoken = [
        *(said(8, 9, "I am\r\n fine. "), said(6, 7, "How are you?"), said(20, 21, "Bye.")),
        *(said(None, None, "Two people:"), said(6, 7, "How are you?"), said(6.5, 7, " \n")),
    ]
    assert subtitle_of(spoken, CLIP) == "Two people: How are you? I am fine."
    assert subtitle_of(spoken[::-1], CLIP) == subtitle_of(spoken, CLIP)


@pytest.mark.parametrize("spoken", [[], [said(6, 7, "")], [said(6, 7, None)], [said(0, 1)]])
def test_where_nothing_is_said_there_is_nothing(spoken):
    assert subtitle_of(spoken, CLIP) is None


TIMES = st.floats(0, 60).map(lambda time: round(time, 2))


@given(st.lists(st.tuples(TIMES, TIMES.filter(bool)), max_size=8), st.floats(1, 20))
def test_every_utterance_is_heard_in_each_clip_that_shares_time_with_it(spoken, clip_s):
    segments = [
        said(start, start + length, f"u{number}") for number, (start, length) in enumerate(spoken)
    ]
    rule = SegmentationConfig(clip_s=clip_s, tail="keep", min_tail_s=0)
    clips = split(Span(0.0, 130.0), rule)
    for segment in segments:
        heard = [
            clip for clip in clips if segment["text"] in (subtitle_of(segments, clip) or "").split()
        ]
        shared = [
            min(segment["end_s"], c.end_s) - max(segment["start_s"], c.start_s) for c in heard
        ]
        assert all(seconds > 0 for seconds in shared)
        length = segment["end_s"] - segment["start_s"]
        assert math.fsum(shared) == pytest.approx(length, abs=1e-3), "and no part of it is lost"
