"""For whom it works: results by what the archive states of its videos and people. Pure functions.

A group of few people says little and may point at somebody, so it is left out, and the page says
how many were.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ah_ray.evaluation.intervals import Draws, People, draw, interval, told
from ah_ray.evaluation.weighted import Weighted

_MOST_NUMBERS = 10  # an attribute with more different ones is shown in ranges
_RANGES = 4


class Group(NamedTuple):
    """Videos with one value of an attribute.

    Attributes:
        attribute: its name.
        value: of it, or a range of values.
        videos: their places.
        people: how many show in them.
    """

    attribute: str
    value: str
    videos: list[int]
    people: int


def find_groups(stated: Sequence[Mapping[str, str]], people: People) -> list[Group]:
    """The groups of every attribute that tells some videos from others.

    Args:
        stated: the attributes of each video.
        people: whose videos they are.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for name in sorted({name for attributes in stated for name in attributes}):
        values = {place: a[name] for place, a in enumerate(stated) if name in a}
        ranges = _ranges(sorted(set(values.values())))
        groups = defaultdict(list)
        for place, value in values.items():
            groups[ranges.get(value, value)].append(place)
        if len(groups) > 1:
            found[name] = groups
    return [
        Group(name, value, places, len(set(people.codes[places].tolist())))
        for name, groups in found.items()
        for value, places in sorted(groups.items(), key=lambda group: _first(group[0]))
    ]


def _first(value: str) -> tuple[float, str]:
    """Sorts values: numbers, and ranges by their start, in their order."""
    number = _number(value.partition(" to ")[0])
    return (math.inf if number is None else number), value


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _ranges(values: Sequence[str]) -> dict[str, str]:
    """Of many different numbers, the quarter that each is in; of few, or of words, nothing."""
    numbers = {value: number for value in values if (number := _number(value)) is not None}
    if len(numbers) < len(values) or len(numbers) <= _MOST_NUMBERS:
        return {}
    quarters = np.array_split(sorted(set(numbers.values())), _RANGES)
    return {
        value: f"{quarter[0]:g} to {quarter[-1]:g}"
        for value, number in numbers.items()
        for quarter in quarters
        if quarter[0] <= number <= quarter[-1]
    }


def by_attribute(
    groups: Sequence[Group],
    measure: Callable[[Sequence[int]], Weighted],
    people: People,
    metric: str,
    smallest: int,
) -> dict[str, Any]:
    """A figure of every group, and the largest gap between groups of one attribute.

    Args:
        groups: they.
        measure: from places of videos to what is measured of these.
        people: whose videos they are.
        metric: the name of the figure.
        smallest: a group of fewer people is left out.

    Returns:
        By attribute: ``groups``, by value n, people, value and its interval; ``left_out``, how many
        groups and videos are not shown; and ``gap``, the best and the worst of the groups, their
        difference and its interval, which is optimistic, as these two were picked (None where
        there are less than two).
    """
    shown = [group for group in groups if group.people >= smallest]
    measures = {k: _among(measure(g.videos), g.videos) for k, g in enumerate(shown)}
    figures = draw(measures, people)
    found: dict[str, Any] = {}
    for name in dict.fromkeys(group.attribute for group in groups):
        mine = {
            g.value: (g, figures[k][metric]) for k, g in enumerate(shown) if g.attribute == name
        }
        lost = [g for g in groups if g.attribute == name and g.people < smallest]
        found[name] = {
            "groups": {value: _told(group, figure) for value, (group, figure) in mine.items()},
            "left_out": {"groups": len(lost), "videos": sum(len(g.videos) for g in lost)},
            "gap": _gap({value: figure for value, (_, figure) in mine.items()}),
        }
    return found


def _told(group: Group, figure: Draws) -> dict[str, Any]:
    value = figure.value if math.isfinite(figure.value) else None
    size = {"n": len(group.videos), "people": group.people}
    return size | {"value": value} | told(interval(figure))


def _gap(figures: Mapping[str, Draws]) -> dict[str, Any] | None:
    defined = {value: figure for value, figure in figures.items() if math.isfinite(figure.value)}
    if len(defined) < 2:
        return None
    best = max(defined, key=lambda value: defined[value].value)
    worst = min(defined, key=lambda value: defined[value].value)
    difference = defined[best].minus(defined[worst])
    gap = {"best": best, "worst": worst, "difference": difference.value}
    return gap | told(interval(difference))


def _among(measure: Weighted, videos: Sequence[int]) -> Weighted:
    """What is measured of some videos, from the weights of all."""
    return lambda weights: measure(weights[:, videos])
