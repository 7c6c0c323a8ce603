"""Metrics of answers on videos, found by name. Pure functions over labels, answers and chances.

A metric takes what was judged and what could be answered, and gives numbers by name. Several of a
task go into one table, so a name means the same in all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ah_ray.errors import ConfigError
from ah_ray.evaluation.dfew import dfew
from ah_ray.evaluation.explanations import JUDGE, KEYWORDS, explanations
from ah_ray.evaluation.explanations import NAME as EXPLANATIONS
from ah_ray.evaluation.judged import Judged, Metric, Metrics, Weighable, chance_of
from ah_ray.evaluation.label_sets import label_sets
from ah_ray.evaluation.weighted import Array, Weighted, over_present, ranked, tallied
from ah_ray.names import Named, find_made
from ah_ray.tasks.answers import Answer, LabelSet

#: How the numbers are called in tables, in this order; what is not here is in no table.
HEADINGS = {
    "war": "WAR",
    "uar": "UAR",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "dfew_war": "DFEW's WAR",
    "dfew_uar": "DFEW's UAR",
    "keywords_precision": "keywords P",
    "keywords_recall": "keywords R",
    "keywords_f1": "keywords F1",
    "judge_score": "judge score",
    "words_precision": "words P",
    "words_recall": "words R",
    "words_mean": "words mean",
    "groups_precision": "groups P",
    "groups_recall": "groups R",
    "groups_mean": "groups mean",
    "wheel_precision": "wheel P",
    "wheel_recall": "wheel R",
    "wheel_f1": "wheel F1",
    "average_precision": "AP",
    "bah_average_precision": "BAH's AP",
    "accuracy": "accuracy",
    "f1": "F1",
    "n": "n",
    "undecided": "undecided",
    "coverage": "coverage",
}

#: What is told beside the numbers.
NOTES = frozenset(
    {"undefined", "confusion", "confusion_shares", "by", "videos_counted", EXPLANATIONS}
)

#: What goes by what a member has written: combinations have none of it, nor have checkpoints.
OF_ONE_MEMBER = frozenset({"dfew_war", "dfew_uar", *KEYWORDS, JUDGE, EXPLANATIONS})

_RANKED = ("macro_f1", "average_precision", "bah_average_precision")


def binary(judged: Sequence[Judged], answer: Answer) -> Metrics:
    """The benchmark's metrics of verdicts with two options, of which the first is looked for.

    A video without an answer is in no metric and counted under ``undecided``; ``n`` is the number
    of those that have one, ``positives`` how many of these are labelled with the first option.

    Args:
        judged: the labelled videos. A chance that is not known, or no number, counts as the answer.
        answer: the options.

    Returns:
        accuracy, precision, recall and f1 of the first option, f1_OPTION of either, macro_f1 (the
        mean of both options' F1, which the ABAW challenge ranks by), weighted_f1 (each as often as
        videos are labelled so), average_precision (scikit-learn's), bah_average_precision (see
        there), n, positives, undecided, coverage (the share of the videos that have an answer;
        None without any video), confusion and confusion_shares (as in ``classes``), and undefined:
        the reason for each metric that is None because these videos or answers do not define it.

    Raises:
        ConfigError: there are not two options.
    """
    from sklearn import metrics  # takes seconds, which every command would wait for

    looked_for, other = _options(answer, "binary", exactly=2)
    decided = [
        (looked_for in one.truth, looked_for in one.said, chance_of(one, looked_for))
        for one in judged
        if one.said is not None
    ]
    truth, said, chance = (np.array([row[k] for row in decided], float) for k in range(3))
    measures: dict[str, Callable[[], float]] = {
        "accuracy": lambda: metrics.accuracy_score(truth, said),
        "precision": lambda: metrics.precision_score(truth, said),
        "recall": lambda: metrics.recall_score(truth, said),
        "f1": lambda: metrics.f1_score(truth, said),
        f"f1_{looked_for}": lambda: metrics.f1_score(truth, said),
        f"f1_{other}": lambda: metrics.f1_score(truth, said, pos_label=0),
        "macro_f1": lambda: metrics.f1_score(truth, said, labels=[0, 1], average="macro"),
        "weighted_f1": lambda: metrics.f1_score(truth, said, average="weighted", zero_division=0),
        "average_precision": lambda: metrics.average_precision_score(truth, chance),
        "bah_average_precision": lambda: bah_average_precision(truth, chance),
    }
    positives = int(truth.sum())
    undefined: dict[str, str] = {}
    if not decided:
        undefined = dict.fromkeys(measures, _NOTHING)
    else:
        if not said.any():
            undefined["precision"] = "no video is answered positive"
        if positives == len(decided):
            of_other = (f"f1_{other}", *_RANKED)
            undefined |= dict.fromkeys(of_other, "no video is labelled negative")
        if not positives:
            of_first = ("recall", "f1", f"f1_{looked_for}", *_RANKED)
            undefined |= dict.fromkeys(of_first, "no video is labelled positive")
    values = {
        name: None if name in undefined else float(measure()) for name, measure in measures.items()
    }
    counts = {"positives": positives, **_confusion(judged, answer.options)}
    return values | _sums(judged) | counts | {"undefined": undefined}


def classes(judged: Sequence[Judged], answer: Answer) -> Metrics:
    """The usual metrics of one class out of several.

    A video without an answer is in no metric and counted under ``undecided``. A class that no
    video has is in no mean over classes.

    Args:
        judged: the labelled videos.
        answer: the options.

    Returns:
        war (weighted average recall, which is accuracy), uar (unweighted: the mean recall of the
        classes), macro_f1 and weighted_f1 (of the classes' F1), confusion (how many videos of each
        class were called what), confusion_shares (what share of those of it that have an answer;
        None where none has), n, undecided, coverage, and undefined as in ``binary``.

    Raises:
        ConfigError: there are no options.
    """
    from sklearn import metrics

    options = _options(answer, "classes")
    decided = [(_one(one.truth), _one(one.said)) for one in judged if one.said is not None]
    truth, said = ([row[k] for row in decided] for k in range(2))
    there = [option for option in options if option in truth]

    def f1(average: str) -> Callable[[], float]:
        return lambda: metrics.f1_score(truth, said, labels=there, average=average, zero_division=0)

    measures: dict[str, Callable[[], float]] = {
        "war": lambda: metrics.accuracy_score(truth, said),
        "uar": lambda: metrics.recall_score(truth, said, labels=there, average="macro"),
        "macro_f1": f1("macro"),
        "weighted_f1": f1("weighted"),
    }
    undefined = {} if decided else dict.fromkeys(measures, _NOTHING)
    values = {name: None if undefined else float(measure()) for name, measure in measures.items()}
    return values | _sums(judged) | _confusion(judged, options) | {"undefined": undefined}


def _binary_weighted(judged: Sequence[Judged], answer: Answer) -> Weighted:
    """The numbers of ``binary``."""
    looked_for, other = _options(answer, "binary", exactly=2)
    truth = [looked_for not in one.truth for one in judged]
    said = [-1 if one.said is None else int(looked_for not in one.said) for one in judged]
    chances = [math.nan if one.said is None else chance_of(one, looked_for) for one in judged]
    tallies, ranks = tallied(truth, said, 2), ranked(np.logical_not(truth), chances)

    def weighted(weights: Array) -> dict[str, Array]:
        of = tallies(weights)
        return {
            "accuracy": of.accuracy,
            "precision": of.precision[:, 0],
            "recall": of.recall[:, 0],
            "f1": of.f1[:, 0],
            f"f1_{looked_for}": of.f1[:, 0],
            f"f1_{other}": of.f1[:, 1],
            "macro_f1": of.f1.mean(axis=1),
            "weighted_f1": of.weighted_f1,
            **ranks(weights),
        }

    return weighted


def _classes_weighted(judged: Sequence[Judged], answer: Answer) -> Weighted:
    """The numbers of ``classes``."""
    options = _options(answer, "classes")
    places: dict[str | None, int] = {option: place for place, option in enumerate(options)}
    truth, said = (
        [places.get(_one(labels), -1) for labels in column]
        for column in ([one.truth for one in judged], [one.said for one in judged])
    )
    tallies = tallied(truth, said, len(options))

    def weighted(weights: Array) -> dict[str, Array]:
        of = tallies(weights)
        return {
            "war": of.accuracy,
            "uar": over_present(of.recall),
            "macro_f1": over_present(of.f1),
            "weighted_f1": of.weighted_f1,
        }

    return weighted


def _confusion(judged: Sequence[Judged], options: Sequence[str]) -> Metrics:
    counts = Counter((_one(one.truth), _one(one.said)) for one in judged)
    confusion, shares = {}, {}
    for label in options:
        row = {called: counts[label, called] for called in options}
        decided = sum(row.values())
        confusion[label] = row | {"undecided": counts[label, None]}
        shares[label] = {key: n / decided if decided else None for key, n in row.items()}
    return {"confusion": confusion, "confusion_shares": shares}


METRICS: dict[str, Metric] = {
    "binary": Weighable(binary, _binary_weighted),
    "classes": Weighable(classes, _classes_weighted),
    "dfew": dfew,
}
#: What makes a metric of an argument.
MAKERS: dict[str, Any] = {"label_sets": label_sets, EXPLANATIONS: explanations}


def measured(judged: Sequence[Judged], names: Iterable[Named], answer: Answer) -> Metrics:
    """The numbers of all metrics of a task; at least how many videos were judged.

    Args:
        judged: the labelled videos.
        names: of the metrics; see ``METRICS``, or ``module:function`` of your own.
        answer: what could be answered.

    Raises:
        ConfigError: there is no such metric, it does not go with the answer, or two of them would
            give numbers of the same name by different groups or wheels.
    """
    values: Metrics = _sums(judged) | {"undefined": {}}
    for name in names:
        metric: Metric = find_made(name, METRICS, MAKERS, "task: metrics")
        found = metric(judged, answer)
        for kind in values.get("by", {}).keys() & found.get("by", {}).keys():
            if values["by"][kind] != found["by"][kind]:
                both = (of["by"][kind] for of in (values, found))
                files = " and ".join(by.get("groups") or by["file"] for by in both)
                problem = f"{files} would both give numbers called {kind}_..."
                raise ConfigError("task: metrics", problem, "keep one of them")
        merged = {key: values.get(key, {}) | found[key] for key in _MERGED & found.keys()}
        values |= found | merged
    return values


def weighted(judged: Sequence[Judged], names: Iterable[Named], answer: Answer) -> Weighted:
    """The numbers of ``measured`` that have a value under weights: see ``judged.Weighable``."""
    found: list[Metric] = [find_made(name, METRICS, MAKERS, "task: metrics") for name in names]
    parts = [m.weighted(judged, answer) for m in found if isinstance(m, Weighable)]
    return lambda weights: {name: v for part in parts for name, v in part(weights).items()}


def main_figure(names: Iterable[str]) -> str | None:
    """By which of some figures sources of answers are compared; None where there is none of ours.

    What benchmarks of such tasks rank by: ABAW by macro F1, MER2024 by the mean, MER2025 by F1.
    """
    return next((name for name in _RANKED_BY if name in set(names)), None)


_RANKED_BY = ("war", "macro_f1", "wheel_f1", "groups_mean", "words_mean")
_MERGED = NOTES - {"confusion", "confusion_shares"}
_NOTHING = "no labelled video has an answer"


def _options(answer: Answer, metric: str, exactly: int | None = None) -> tuple[str, ...]:
    count = len(answer.options)
    if not count or exactly not in (None, count):
        needed = f"{exactly} options" if exactly else "options"
        problem = f"{metric} is for answers with {needed}, and this one has {count or 'none'}"
        raise ConfigError("task: metrics", problem, "name another metric")
    return answer.options


def _one(labels: LabelSet | None) -> str | None:
    return next(iter(labels)) if labels else None


def _sums(judged: Sequence[Judged]) -> Metrics:
    decided = sum(one.said is not None for one in judged)
    return {
        "n": decided,
        "undecided": len(judged) - decided,
        "coverage": decided / len(judged) if judged else None,
    }


def bah_average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Average precision of the positive class as the BAH benchmark defines it.

    The area, by the trapezoid rule, under precision over recall at the 1,000 thresholds of
    ``numpy.arange(0, 1, 0.001)``, which are not all the doubles nearest to a thousandth; precision
    is 0 where nothing is predicted positive (``bah_metrics.py`` of the data set's repository). It
    stands for comparison with published figures alone: the area to the left of the recall that
    threshold 0.999 still has is not in it, so it falls towards 0 for a model that is right and sure
    of it.

    Args:
        labels: 1 or 0 per video; undefined, and 0 here, without a 1.
        scores: P(positive) per video.
    """
    from sklearn import metrics

    truth = np.asarray(labels, dtype=bool)
    said = np.asarray(scores, dtype=float)[None, :] >= np.arange(0, 1, 0.001)[:, None]
    hits = (said & truth).sum(axis=1)
    precision = hits / np.maximum(said.sum(axis=1), 1)
    recall = hits / max(int(truth.sum()), 1)
    return float(metrics.auc(recall, precision))
