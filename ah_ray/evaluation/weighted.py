"""Metrics of videos that count more or less often: what intervals and tests are made of.

A bootstrap draws people again and again; a video then counts as often as its person was drawn. So
a metric that can say what it is under any such weights has an interval, whatever it measures, and
nothing is copied. Pure functions over arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: How often each video counts, (draws, videos), to figures by name, each (draws,) and NaN where it
#: is undefined.
Weighted = Callable[[Array], Mapping[str, Array]]

_BENCHMARK_THRESHOLDS = np.arange(0, 1, 0.001)  # not all are the doubles nearest to a thousandth


def ratio(above: Array, below: Array) -> Array:
    """``above / below``; NaN where nothing is below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def means(values: Mapping[str, npt.ArrayLike]) -> Weighted:
    """Means over videos of numbers that each has.

    Args:
        values: by name, one per video; NaN for a video that does not count.
    """
    names = list(values)
    each = np.array([values[name] for name in names], dtype=float).reshape(len(names), -1).T
    counts = np.isfinite(each)

    def weighted(weights: Array) -> dict[str, Array]:
        found = ratio(weights @ np.where(counts, each, 0.0), weights @ counts.astype(float))
        return dict(zip(names, found.T, strict=True))

    return weighted


class Tallies(NamedTuple):
    """Of each class, (draws, classes).

    Attributes:
        hits: videos that have it and are called so.
        labelled: videos that have it.
        called: videos that are called so.
    """

    hits: Array
    labelled: Array
    called: Array

    @property
    def precision(self) -> Array:
        """NaN where nothing is called so."""
        return ratio(self.hits, self.called)

    @property
    def recall(self) -> Array:
        """NaN where no video has it."""
        return ratio(self.hits, self.labelled)

    @property
    def f1(self) -> Array:
        """NaN where no video has it."""
        f1 = ratio(2 * self.hits, self.labelled + self.called)
        return np.where(self.labelled > 0, f1, np.nan)

    @property
    def accuracy(self) -> Array:
        """Over all classes, (draws,)."""
        return ratio(self.hits.sum(axis=1), self.labelled.sum(axis=1))

    @property
    def weighted_f1(self) -> Array:
        """The mean F1 of the classes, each as often as videos have it, (draws,)."""
        return ratio(np.nansum(self.labelled * self.f1, axis=1), self.labelled.sum(axis=1))


def tallied(truth: npt.ArrayLike, said: npt.ArrayLike, classes: int) -> Callable[[Array], Tallies]:
    """From weights to how often classes are there, are said, and both.

    Args:
        truth: the class of each video, 0 to ``classes`` - 1.
        said: what it is called; -1 where it has no answer, which counts nowhere.
        classes: how many there are.
    """
    each = np.arange(classes)
    called = np.asarray(said, dtype=int)[:, None] == each
    labelled = (np.asarray(truth, dtype=int)[:, None] == each) & called.any(axis=1, keepdims=True)
    columns = np.concatenate([labelled & called, labelled, called], axis=1).astype(float)
    return lambda weights: Tallies(*np.split(weights @ columns, 3, axis=1))


def over_present(values: Array) -> Array:
    """The mean over classes, (draws,), of those that some video has; the others' are NaN."""
    there = np.isfinite(values)
    return ratio(np.where(there, values, 0.0).sum(axis=1), there.sum(axis=1).astype(float))


def ranked(truth: npt.ArrayLike, chances: npt.ArrayLike) -> Weighted:
    """What depends on the order of videos by a chance.

    Args:
        truth: 1 or 0 per video.
        chances: that it is 1; NaN for a video that does not count.

    Returns:
        average_precision (scikit-learn's) and bah_average_precision (``metrics`` has it), under
        weights; undefined unless there are videos of both kinds.
    """
    chance = np.asarray(chances, dtype=float)
    order = np.argsort(-chance, kind="stable")[: np.isfinite(chance).sum()]  # the likeliest first
    chance, true = chance[order], np.asarray(truth, dtype=float)[order]
    # How many videos reach each chance that there is, and each threshold of the benchmark's;
    # between thresholds that the same videos reach is no area.
    ends = np.flatnonzero(np.diff(chance, append=-np.inf)) + 1
    reach = np.unique(np.searchsorted(-chance, -_BENCHMARK_THRESHOLDS, side="right"))

    def weighted(weights: Array) -> dict[str, Array]:
        hits, said = (np.zeros((len(weights), len(order) + 1)) for _ in range(2))
        counted = weights[:, order]
        np.cumsum(counted, axis=1, out=said[:, 1:])
        np.cumsum(counted * true, axis=1, out=hits[:, 1:])
        all_true, of_both_kinds = hits[:, -1:], (hits[:, -1] > 0) & (hits[:, -1] < said[:, -1])
        gained = np.diff(hits[:, ends], axis=1, prepend=0.0)
        steps = ratio((gained * _precision(hits, said, ends)).sum(axis=1), all_true[:, 0])
        recall = ratio(hits[:, reach], all_true)
        area = np.trapezoid(_precision(hits, said, reach), recall, axis=1)
        found = {"average_precision": steps, "bah_average_precision": area}
        return {name: np.where(of_both_kinds, value, np.nan) for name, value in found.items()}

    return weighted


def _precision(hits: Array, said: Array, first: npt.NDArray[np.intp]) -> Array:
    """Of the first so many videos; 0 where they count nothing."""
    return np.nan_to_num(ratio(hits[:, first], said[:, first]))
