"""Annotated times and intervals: read every spelling, keep what can be true, report the rest."""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

from ah_ray.findings import shown

# The default of limits.max_duration_s. Later times are none of seconds but of milliseconds.
_LONGEST_S = 6 * 3600.0
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(\.\d*)?", re.ASCII)


class Problem(NamedTuple):
    """An oddity in a list of intervals: a kind of ``findings.KINDS`` and one line for people."""

    kind: str
    message: str


def parse_time(value: object) -> float:
    """Seconds from ``value`` as YAML, JSON or a table delivers it.

    A number is seconds: YAML 1.1 reads an unquoted ``00:00:01.721`` as the float 1.721 and an
    unquoted ``1:04`` as the integer 64. A string is ``SS``, ``MM:SS`` or ``HH:MM:SS``, each with
    an optional fraction; all parts but the first are below 60.

    >>> parse_time("00:01:04.5"), parse_time(64.5), parse_time("64.5")
    (64.5, 64.5, 64.5)

    Raises:
        ValueError: it is none of these, negative, or not finite.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= sys.float_info.max:
            raise ValueError(f"{shown(value)} is no time")
        return float(value)
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no time")
    *whole, last = value.strip().split(":")
    if (
        len(whole) > 2
        or not all(_WHOLE.fullmatch(part) for part in whole)
        or not _SECONDS.fullmatch(last)
    ):
        raise ValueError(f"{shown(value)} is no time")
    parts = [float(part) for part in (*whole, last)]
    if any(part >= 60 for part in parts[1:]):
        raise ValueError(f"{shown(value)} has minutes or seconds of 60 and more")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def clean_intervals(intervals: object) -> tuple[list[tuple[float, float]], list[Problem]]:
    """The usable part of an annotated list of ``[start, end]`` pairs.

    Pairs that are unparsable, reversed or empty are dropped; those that overlap or touch are
    merged. Whether an interval ends past its video is for those to check who open the video.

    Args:
        intervals: the list as annotated; None is an empty list.

    Returns:
        Sorted, disjoint ``(start_s, end_s)`` in seconds, and what was wrong, in order of the list.
    """
    if intervals is None:
        return [], []
    if not isinstance(intervals, list | tuple):
        message = f'{shown(intervals)} is no list of intervals: [[0.5, 2], ["0:03", "0:04"]] is one'
        return [], [Problem("interval_unparsable", message)]
    usable, problems = [], []
    for item in intervals:
        parsed = _parse(item)
        if isinstance(parsed, Problem):
            problems.append(parsed)
        else:
            usable.append(parsed)
    merged, joins = _merge(usable)
    return merged, problems + joins


def _parse(item: object) -> tuple[float, float] | Problem:
    """One annotated pair in seconds."""
    if not isinstance(item, list | tuple) or len(item) != 2:
        return Problem("interval_unparsable", f"{shown(item)} is no [start, end]")
    try:
        start_s, end_s = parse_time(item[0]), parse_time(item[1])
    except ValueError as error:
        return Problem("interval_unparsable", f"{shown(list(item))}: {error}")
    if end_s < start_s:
        return Problem("interval_reversed", f"{shown(list(item))} ends before it starts")
    if end_s > _LONGEST_S:
        message = f"{shown(list(item))} is after {_LONGEST_S / 3600:.0f} hours: write seconds"
        return Problem("interval_too_late", message)
    if end_s == start_s:
        return Problem("interval_empty", f"{shown(list(item))} has no length")
    return start_s, end_s


def _merge(
    intervals: list[tuple[float, float]],
) -> tuple[list[tuple[float, float]], list[Problem]]:
    """The union as sorted, disjoint intervals that do not touch, and every join that it took."""
    merged: list[tuple[float, float]] = []
    joins: list[Problem] = []
    for start_s, end_s in sorted(intervals):
        if not merged or start_s > merged[-1][1]:
            merged.append((start_s, end_s))
            continue
        last = merged[-1]
        touch = start_s == last[1]
        message = f"[{start_s}, {end_s}] {'touches' if touch else 'overlaps'} {list(last)}"
        joins.append(Problem("intervals_touch" if touch else "intervals_overlap", message))
        merged[-1] = (last[0], max(last[1], end_s))
    return merged, joins
