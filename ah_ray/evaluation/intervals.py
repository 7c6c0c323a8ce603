"""How sure a figure is: 95 % intervals by a bootstrap over people. Pure functions over arrays.

The videos of one person are alike, so people are drawn and not videos: as many as there are, with
replacement, 10,000 times. The interval is BCa's (Efron 1987: corrected for bias and skewness by
leaving out one person at a time), widened as a t interval is wider than a normal one (Hesterberg
2015, "expanded percentile"), without which few people give too narrow ones. With fewer than
``ENOUGH`` it is still optimistic.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ah_ray.evaluation.weighted import Array, Weighted
from ah_ray.lineage import fingerprint
from ah_ray.participants import person

#: People below whom intervals are called optimistic: the benchmark's validation split has 30.
ENOUGH = 30
DRAWS = 10_000
LEVEL = 0.95

_CELLS = 2**20  # of a table of weights at once, for memory's sake
_DEFINED = 0.95  # of the draws must define a figure

Key = TypeVar("Key", bound=Hashable)


class Interval(NamedTuple):
    """Where a figure lies, at ``LEVEL``."""

    low: float
    high: float


class People(NamedTuple):
    """Whose videos they are.

    Attributes:
        codes: a number for each video's person, 0 to ``size`` - 1.
        size: how many people there are.
        seed: of the draws; the same people are drawn alike, whatever is measured.
    """

    codes: npt.NDArray[np.intp]
    size: int
    seed: int

    @classmethod
    def of(cls, participants: Sequence[str | None], videos: Sequence[str]) -> People:
        """The people of some videos; a video of nobody known counts as a person of its own.

        Args:
            participants: as the archive spells them.
            videos: their ids.
        """
        names = [
            f"video {video}" if name is None else f"person {person(name)}"
            for name, video in zip(participants, videos, strict=True)
        ]
        known, codes = np.unique(np.array(names, dtype=str), return_inverse=True)
        return cls(codes, len(known), int(fingerprint(known.tolist()), 16))


class Draws(NamedTuple):
    """A figure, and what it would have been with other people.

    Attributes:
        value: it; NaN where undefined.
        drawn: in each draw of the bootstrap, the same draws for every figure.
        without: with each person left out in turn.
    """

    value: float
    drawn: Array
    without: Array

    def minus(self, other: Draws) -> Draws:
        """The difference of two figures about the same people."""
        return Draws(
            self.value - other.value, self.drawn - other.drawn, self.without - other.without
        )


def draw(
    measures: Mapping[Key, Weighted], people: People, draws: int = DRAWS
) -> dict[Key, dict[str, Draws]]:
    """Figures under the weights of a bootstrap over people.

    Args:
        measures: what is measured of the videos of ``people``, in their order.
        people: whose videos they are; there is somebody.
        draws: how many.

    Returns:
        The figures of each measure by name.
    """
    once = np.ones((1, len(people.codes)))
    drawn, without = (
        _under(measures, people, counts) for counts in (_drawn(people, draws), _left_out(people))
    )
    return {
        key: {
            name: Draws(float(value[0]), drawn[key][name], without[key][name])
            for name, value in measure(once).items()
        }
        for key, measure in measures.items()
    }


def _under(
    measures: Mapping[Key, Weighted], people: People, counts: Iterator[Array]
) -> dict[Key, dict[str, Array]]:
    """Figures where people count so often, (some draws, people) at a time."""
    parts = []
    for chunk in counts:
        weights = chunk[:, people.codes]
        parts.append({key: measure(weights) for key, measure in measures.items()})
    return {
        key: {name: np.concatenate([part[key][name] for part in parts]) for name in named}
        for key, named in parts[0].items()
    }


def _drawn(people: People, draws: int) -> Iterator[Array]:
    """How often each person is drawn, (some draws, people) at a time."""
    rng = np.random.default_rng(people.seed)
    shares = np.full(people.size, 1 / people.size)
    for start in range(0, draws, _at_once(people)):
        rows = min(_at_once(people), draws - start)
        yield rng.multinomial(people.size, shares, rows).astype(float)


def _left_out(people: People) -> Iterator[Array]:
    """Everybody once, but for one person after the other."""
    for start in range(0, people.size, _at_once(people)):
        rows = np.arange(start, min(start + _at_once(people), people.size))
        yield (rows[:, None] != np.arange(people.size)).astype(float)


def _at_once(people: People) -> int:
    return max(1, _CELLS // len(people.codes))


def interval(figure: Draws) -> Interval | str:
    """Where a figure lies with ``LEVEL`` confidence, or why that cannot be told."""
    from scipy import stats  # takes a second, which every command would wait for

    drawn, without = (values[np.isfinite(values)] for values in (figure.drawn, figure.without))
    people = len(figure.without)
    if not np.isfinite(figure.value):
        return "it is undefined itself"
    if people < 2:
        return "there is one person alone"
    if len(drawn) < _DEFINED * len(figure.drawn):
        return "among people drawn at random it is often undefined"
    if np.ptp(drawn) == 0:
        return "everybody gives the same, so what others would give is not seen"
    below = ((drawn < figure.value).sum() + (drawn == figure.value).sum() / 2) / len(drawn)
    bias = stats.norm.ppf(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    apart = without.mean() - without
    skew = (apart**3).sum() / max(6 * (apart**2).sum() ** 1.5, np.finfo(float).tiny)
    reach = np.sqrt(people / (people - 1)) * stats.t.ppf((1 + LEVEL) / 2, people - 1)
    shifted = bias + np.array([-reach, reach])
    # Beyond this the correction for skewness turns round.
    levels = stats.norm.cdf(bias + shifted / np.maximum(1 - skew * shifted, 0.1))
    low, high = np.quantile(drawn, levels)
    return Interval(float(low), float(high))


def told(found: Interval | str) -> dict[str, Any]:
    """An interval as it is written: ``low`` and ``high``, or None for both and ``why``."""
    if isinstance(found, str):
        return {"low": None, "high": None, "why": found}
    return found._asdict()
