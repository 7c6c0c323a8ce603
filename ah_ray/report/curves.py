"""How good each source of answers is over all thresholds, and whether its chances are true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ah_ray.evaluation.judged import Judged, chance_of
from ah_ray.report import plots
from ah_ray.tasks.answers import Answer

_POINTS = 200  # of a curve; more are not seen


def drawn(
    judged: Mapping[str, Sequence[Judged]], statistics: Mapping[str, Any], answer: Answer
) -> dict[str, Markup]:
    """The plots of a run with labels, by their titles.

    Args:
        judged: what each member, and the ensemble last, says of the labelled videos.
        statistics: of ``metrics.json``.
        answer: what could be answered.
    """
    found = {}
    if len(answer.options) == 2:
        option = answer.options[0]
        curves = {name: curve for name, of in judged.items() if (curve := _curve(of, option))}
        if curves:
            every = next(iter(judged.values()))
            share = sum(option in one.truth for one in every) / len(every)
            found["Precision and recall"] = plots.precision_recall(curves, share)
    calibration = statistics.get("calibration", {})
    bins = {name: calibration[name]["bins"] for name in judged if name in calibration}
    if any(bins.values()):
        found["Reliability"] = plots.reliability(bins)
    abstention = statistics.get("abstention", {})
    points = {name: abstention[name] for name in judged if name in abstention}
    if any(points.values()):
        found["Only the surest answered"] = plots.abstention(points)
    return found


def _curve(judged: Sequence[Judged], option: str) -> tuple[list[float], list[float]] | None:
    """Recall and precision of an option; None unless videos with and without it are answered."""
    from sklearn.metrics import precision_recall_curve

    decided = [one for one in judged if one.said is not None]
    truth = [option in one.truth for one in decided]
    if len(set(truth)) < 2:
        return None
    chances = [chance_of(one, option) for one in decided]
    precision, recall, _ = precision_recall_curve(truth, chances, drop_intermediate=True)
    some = np.unique(np.linspace(0, len(recall) - 1, _POINTS).astype(int))[::-1]
    return recall[some].tolist(), precision[some].tolist()
