"""Video-level metrics of binary verdicts. Pure functions over labels, answers and scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Metrics = dict[str, float | int | None]

_NAMES = (
    *("accuracy", "precision", "recall", "f1", "macro_f1"),
    *("average_precision", "bah_average_precision"),
)


def binary_metrics(
    labels: Sequence[int], answers: Sequence[int | None], scores: Sequence[float | None]
) -> Metrics:
    """The benchmark's metrics of one member or of the ensemble.

    A video without an answer is in no metric and counted under ``undecided``; ``n`` is the number
    of those that are. With ``n`` 0 every metric is None.

    Args:
        labels: 1 or 0 per video.
        answers: 1, 0, or None for undecided.
        scores: P(positive), or None for unknown (counts as the answer).

    Returns:
        accuracy, precision, recall and f1 of the positive class (0 where undefined), macro_f1
        (the mean of both classes' F1, which the ABAW challenge ranks by), average_precision
        (scikit-learn's; 0 without a positive), bah_average_precision (see there), n, undecided.
    """
    from sklearn import metrics  # takes seconds, which every command would wait for

    decided = [
        (label, answer, float(answer) if score is None else score)
        for label, answer, score in zip(labels, answers, scores, strict=True)
        if answer is not None
    ]
    result: Metrics = {"n": len(decided), "undecided": len(labels) - len(decided)}
    if not decided:
        return dict.fromkeys(_NAMES) | result
    truth, said, chance = (np.array(column) for column in zip(*decided, strict=True))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, said, average="binary", zero_division=0
    )
    macro_f1 = metrics.f1_score(truth, said, labels=[0, 1], average="macro", zero_division=0)
    values = (
        metrics.accuracy_score(truth, said),
        precision,
        recall,
        f1,
        macro_f1,
        # It warns where there is no positive, and is 0 then.
        metrics.average_precision_score(truth, chance) if truth.any() else 0.0,
        bah_average_precision(truth, chance),
    )
    return dict(zip(_NAMES, map(float, values), strict=True)) | result


def bah_average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Average precision of the positive class as the BAH benchmark defines it.

    The area, by the trapezoid rule, under precision over recall at the 1,000 thresholds 0, 0.001,
    ... 0.999; precision is 0 where nothing is predicted positive (``bah_metrics.py`` of the data
    set's repository). It stands for comparison with published figures alone: the area to the left
    of the recall that threshold 0.999 still has is not in it, so it falls towards 0 for a model
    that is right and sure of it.

    Args:
        labels: 1 or 0 per video.
        scores: P(positive) per video.
    """
    from sklearn import metrics

    truth = np.asarray(labels, dtype=bool)
    said = np.asarray(scores, dtype=float)[None, :] >= np.arange(1000)[:, None] / 1000
    hits = (said & truth).sum(axis=1)
    precision = hits / np.maximum(said.sum(axis=1), 1)
    recall = hits / max(int(truth.sum()), 1)
    return float(metrics.auc(recall, precision))
