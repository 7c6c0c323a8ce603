"""How good each source of answers is over all thresholds, and whether its chances are true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from ah_ray.config import ENSEMBLE
from ah_ray.evaluation.calibration import abstention, reliability
from ah_ray.evaluation.judged import Judged, chance_of
from ah_ray.report import plots
from ah_ray.tasks.answers import Answer

_POINTS = 200  # of a curve; more are not seen


def judged_by(truth: Mapping[str, frozenset[str]], verdicts: pa.Table) -> dict[str, list[Judged]]:
    """What each member, and the ensemble last, says of the labelled videos.

    Args:
        truth: labels by video.
        verdicts: ``schemas.VERDICTS``.
    """
    found: dict[str, list[Judged]] = defaultdict(list)
    together = []
    for batch in verdicts.to_batches():
        for row in batch.to_pylist():
            labels = truth.get(row["video_id"])
            if labels is None:
                continue
            together.append(_judged(labels, row))
            for member in row["members"]:
                found[member["member"]].append(_judged(labels, member))
    return {name: found[name] for name in sorted(found)} | {ENSEMBLE: together}


def _judged(truth: frozenset[str], row: Mapping[str, Any]) -> Judged:
    said = None if row["labels"] is None else frozenset(row["labels"])
    return Judged(truth, said, {one["label"]: one["chance"] for one in row["considered"] or ()})


def drawn(judged: Mapping[str, Sequence[Judged]], answer: Answer) -> dict[str, Markup]:
    """The plots that a labelled run has, by their titles.

    Args:
        judged: as ``judged_by`` has it; somebody judged something.
        answer: what could be answered.
    """
    decided = {name: [one for one in of if one.said is not None] for name, of in judged.items()}
    decided = {name: of for name, of in decided.items() if of}
    found = {}
    if len(answer.options) == 2 and (curves := _curves(decided, answer.options[0])):
        positives = [answer.options[0] in one.truth for one in judged[ENSEMBLE]]
        share = sum(positives) / len(positives)
        found["Precision and recall"] = plots.precision_recall(curves, share)
    bins = {name: reliability(of, answer)["bins"] for name, of in decided.items()}
    found["Reliability"] = plots.reliability(bins)
    points = {name: abstention(judged[name]) for name in decided}
    found["Only the surest answered"] = plots.abstention(points)
    return found


def _curves(
    decided: Mapping[str, Sequence[Judged]], option: str
) -> dict[str, tuple[list[float], list[float]]]:
    """Recall and precision of an option by source, where videos with and without it are judged."""
    from sklearn.metrics import precision_recall_curve

    found = {}
    for name, of in decided.items():
        truth = [option in one.truth for one in of]
        if len(set(truth)) == 2:
            chances = [chance_of(one, option) for one in of]
            precision, recall, _ = precision_recall_curve(truth, chances, drop_intermediate=True)
            some = np.unique(np.linspace(0, len(recall) - 1, _POINTS).astype(int))[::-1]
            found[name] = (recall[some].tolist(), precision[some].tolist())
    return found
