"""Video-level metrics of binary verdicts. Pure functions over labels, answers and scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# Numbers by name; None where a metric is undefined, with the reason under ``undefined``.
Metrics = dict[str, Any]

_RANKED = ("macro_f1", "average_precision", "bah_average_precision")


def binary_metrics(
    labels: Sequence[int], answers: Sequence[int | None], scores: Sequence[float | None]
) -> Metrics:
    """The benchmark's metrics of one member or of the ensemble.

    A video without an answer is in no metric and counted under ``undecided``; ``n`` is the number
    of those that have one, ``positives`` how many of these are labelled positive.

    Args:
        labels: 1 or 0 per video.
        answers: 1, 0, or None for undecided.
        scores: P(positive). None, NaN and the infinite are unknown: they count as the answer.

    Returns:
        accuracy, precision, recall and f1 of the positive class, macro_f1 (the mean of both
        classes' F1, which the ABAW challenge ranks by), average_precision (scikit-learn's),
        bah_average_precision (see there), n, positives, undecided, coverage (the share of the
        videos that have an answer; None without any video), and undefined: the reason for each
        metric that is None because these videos or answers do not define it.
    """
    from sklearn import metrics  # takes seconds, which every command would wait for

    decided = [
        (label, answer, score if _is_finite(score) else float(answer))
        for label, answer, score in zip(labels, answers, scores, strict=True)
        if answer is not None
    ]
    truth, said, chance = (np.array([row[column] for row in decided]) for column in range(3))
    measures: dict[str, Callable[[], float]] = {
        "accuracy": lambda: metrics.accuracy_score(truth, said),
        "precision": lambda: metrics.precision_score(truth, said),
        "recall": lambda: metrics.recall_score(truth, said),
        "f1": lambda: metrics.f1_score(truth, said),
        "macro_f1": lambda: metrics.f1_score(truth, said, labels=[0, 1], average="macro"),
        "average_precision": lambda: metrics.average_precision_score(truth, chance),
        "bah_average_precision": lambda: bah_average_precision(truth, chance),
    }
    positives = int(truth.sum())
    undefined: dict[str, str] = {}
    if not decided:
        undefined = dict.fromkeys(measures, "no labelled video has an answer")
    else:
        if not said.any():
            undefined["precision"] = "no video is answered positive"
        if positives == len(decided):
            undefined |= dict.fromkeys(_RANKED, "no video is labelled negative")
        if not positives:
            undefined |= dict.fromkeys(("recall", "f1", *_RANKED), "no video is labelled positive")
    values = {
        name: None if name in undefined else float(measure()) for name, measure in measures.items()
    }
    return values | {
        "n": len(decided),
        "positives": positives,
        "undecided": len(labels) - len(decided),
        "coverage": len(decided) / len(labels) if labels else None,
        "undefined": undefined,
    }


def _is_finite(score: float | None) -> bool:
    return score is not None and math.isfinite(score)


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
