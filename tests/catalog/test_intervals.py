import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.catalog.intervals import clean_intervals, parse_time
from ah_ray.findings import KINDS

MILLIS = st.integers(0, 10**8)  # a bit more than a day
TIMES = st.integers(0, 40).map(lambda quarter: quarter / 4)
PAIRS = st.lists(st.tuples(TIMES, TIMES).map(list), max_size=8)


def clock(millis: int) -> str:
    seconds, millis = divmod(millis, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{millis:03}"


@given(MILLIS)
def test_a_written_time_reads_as_the_same_time(millis):
    assert parse_time(clock(millis)) == pytest.approx(millis / 1000, abs=1e-6)


@given(MILLIS)
def test_a_time_may_lose_its_quotes(millis):
    assert parse_time(yaml.safe_load(clock(millis))) == pytest.approx(millis / 1000, abs=1e-6)


@given(st.floats(0, 1e6), st.booleans())
def test_numbers_and_their_text_are_seconds(seconds, as_text):
    text = f"{seconds:.6f}"
    assert parse_time(text if as_text else float(text)) == float(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("00:00:01.721", 1.721),
        ("1:04.5", 64.5),
        ("00:01:04", 64.0),
        ("01:00:00", 3600.0),
        (" 12 ", 12.0),
        ("90", 90.0),
        ("3.", 3.0),
        (64, 64.0),
    ],
)
def test_known_spellings(value, seconds):
    assert parse_time(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", ":", "a", "nan", "-1", "1e3", "1 2", "00:00:01,5", "٣", "9" * 400),
        *("1:2:3:4", "1:60", "60:00.0:1", "1.5:00", "::1"),
        *(None, True, [], -1, -0.5, math.nan, math.inf, 10**400),
    ],
    ids=lambda value: repr(value)[:9],
)
def test_what_is_no_time(value):
    with pytest.raises(ValueError, match=r"is no time|of 60 and more"):
        parse_time(value)


@given(PAIRS)
def test_intervals_come_out_sorted_disjoint_and_as_their_union(pairs):
    intervals, problems = clean_intervals(pairs)
    edges = [edge for interval in intervals for edge in interval]
    assert edges == sorted(set(edges))  # every interval has a length, and a gap to the next
    for tick in range(80):  # at the middle of every eighth of a second
        time = tick / 8 + 1 / 16
        inside = any(start <= time < end for start, end in pairs)
        assert inside == any(start <= time < end for start, end in intervals)
    joined = sum(p.kind in ("intervals_overlap", "intervals_touch") for p in problems)
    dropped = sum(start >= end for start, end in pairs)
    assert (len(problems), len(intervals)) == (dropped + joined, len(pairs) - dropped - joined)
    assert all(problem.kind in KINDS for problem in problems)


@given(PAIRS)
def test_clean_intervals_stay_as_they_are(pairs):
    intervals, _ = clean_intervals(pairs)
    assert clean_intervals(intervals) == (intervals, [])


@pytest.mark.parametrize(
    ("pairs", "kinds"),
    [
        ([[1, 2], [2, 3]], ["intervals_touch"]),
        ([[1, 2], [1.5, 3]], ["intervals_overlap"]),
        ([[1, 2], [1, 2]], ["intervals_overlap"]),
        ([[1, 4], [2, 3], [4, 5]], ["intervals_overlap", "intervals_touch"]),
        ([[1, 2], [2.001, 3]], []),
    ],
)
def test_overlapping_and_touching_are_told_apart(pairs, kinds):
    assert [problem.kind for problem in clean_intervals(pairs)[1]] == kinds


@given(st.permutations([[3, 4], [1, 2], [1.5, 3], [9, 8]]))
def test_the_order_of_the_list_does_not_matter(pairs):
    assert clean_intervals(pairs)[0] == [(1, 4)]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@given(JUNK)
def test_nothing_in_a_file_raises(value):
    intervals, problems = clean_intervals(value)
    assert isinstance(intervals, list)
    assert all(problem.kind in KINDS for problem in problems)
