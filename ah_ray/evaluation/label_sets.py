"""Metrics of sets of words: how much of what is said is true, and how much of what is true is said.

Of a video, T and S are the classes of the true and of the said words, in lower case. Its precision
is |T & S| / |S| and its recall |T & S| / |T|, both 0 where S is empty; a video whose T is empty is
left out. MER2024 ranks by the mean of the mean precision (which it calls accuracy) and the mean
recall, MER2025 by the F1 of these two, averaged over wheels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from ah_ray.evaluation.judged import Judged, Metrics, Weighable
from ah_ray.evaluation.weighted import Array, Weighted, means, over_present, ratio
from ah_ray.tasks.answers import Answer, LabelSet
from ah_ray.words.groups import WHEEL, View, find_grouping
from ah_ray.words.wheel import LEVELS
from ah_ray.yaml_objects import Frozen, build

_NOTHING = "no labelled video that has an answer has a true word with a class"


class LabelSets(Frozen):
    """The argument of the metric.

    Attributes:
        groups: which words count as one; see ``groups.find_grouping``.
    """

    groups: str


class Scores(NamedTuple):
    """Means over videos, and what follows from them."""

    precision: float
    recall: float
    mean: float
    f1: float


def label_sets(argument: dict[str, Any]) -> Weighable:
    """A metric of sets of words.

    Its numbers are named by what makes words the same, and as ``Scores`` are: ``words_precision``,
    ``groups_recall``, ``wheel_f1``. Those of several wheels and levels are means; those of one
    level are there too (``wheel_1_f1``). ``by`` names the groups or the wheels, ``videos_counted``
    how many videos are in the means, by wheel.

    Args:
        argument: the values of ``LabelSets``.

    Raises:
        ConfigError: it is wrong, or there is no such file or function.
    """
    where = "task: metrics.label_sets"
    by = find_grouping(build(LabelSets, argument, where).groups, where)

    parts = {by.kind: list(by.views)}
    if by.kind == WHEEL:
        for level in LEVELS:
            parts[f"{by.kind}_{level}"] = [key for key in by.views if key[0] == level]

    def metric(judged: Sequence[Judged], answer: Answer) -> Metrics:
        found = {key: overlaps(judged, view) for key, view in by.views.items()}
        values = {
            f"{part}_{name}": value
            for part, keys in parts.items()
            for name, value in _means([_scores(found[key]) for key in keys if found[key]]).items()
        }
        undefined = {name: _NOTHING for name, value in values.items() if value is None}
        counted = {key[1]: len(rows) for key, rows in found.items()}
        return values | {
            "undefined": undefined,
            "by": {by.kind: {"groups": by.name, "hash": by.hash}},
            "videos_counted": {by.kind: counted},
        }

    def weighted(judged: Sequence[Judged], answer: Answer) -> Weighted:
        views = {}
        for key, view in by.views.items():
            precision, recall = zip(*(_overlap(one, view) for one in judged), strict=True)
            views[key] = means({"precision": precision, "recall": recall})

        def under(weights: Array) -> dict[str, Array]:
            scores = {key: _scores_under(**view(weights)) for key, view in views.items()}
            return {
                f"{part}_{name}": over_present(np.stack([scores[key][k] for key in keys], axis=1))
                for part, keys in parts.items()
                for k, name in enumerate(Scores._fields)
            }

        return under

    return Weighable(metric, weighted)


def overlaps(judged: Sequence[Judged], view: View) -> list[tuple[float, float]]:
    """Precision and recall of every video that has an answer and a true word with a class."""
    return [row for one in judged if not math.isnan((row := _overlap(one, view))[0])]


def _overlap(one: Judged, view: View) -> tuple[float, float]:
    """Precision and recall of a video; NaN for one that is left out."""
    if one.said is None:
        return math.nan, math.nan
    truth, said = _lower(one.truth), _lower(one.said)
    classes = view(one.video_id, truth | said)
    true, given = ({classes[w] for w in words if w in classes} for words in (truth, said))
    if not true:
        return math.nan, math.nan
    both = len(true & given)
    return both / len(given) if given else 0.0, both / len(true)


def _lower(labels: LabelSet) -> LabelSet:
    return frozenset(label.strip().lower() for label in labels)


def _scores(rows: Sequence[tuple[float, float]]) -> Scores:
    precision, recall = (fmean(row[k] for row in rows) for k in range(2))
    both = precision + recall
    return Scores(precision, recall, both / 2, 2 * precision * recall / both if both else 0.0)


def _scores_under(precision: Array, recall: Array) -> tuple[Array, ...]:
    """``Scores`` of many draws."""
    both = precision + recall
    f1 = np.where(both == 0, 0.0, ratio(2 * precision * recall, both))
    return precision, recall, both / 2, f1


def _means(scores: Sequence[Scores]) -> dict[str, float | None]:
    """The mean of several scores, by name."""
    columns = zip(*scores, strict=True) if scores else [()] * len(Scores._fields)
    means = (fmean(column) if column else None for column in columns)
    return dict(zip(Scores._fields, means, strict=True))
