"""Whether chances mean what they say, and what is gained where only the surest are answered.

Pure functions over what was judged. Of two options the chance is that of the first, and true is
that a video has it; else it is the chance of each label that is said, and true is that it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from ah_ray.evaluation.judged import Judged, chance_of, overlap
from ah_ray.tasks.answers import Answer

_BINS = 10
_POINTS = 20


def reliability(judged: Sequence[Judged], answer: Answer) -> dict[str, Any]:
    """How often what is said with some chance is true.

    Args:
        judged: the labelled videos. A chance that is not known, or no number, counts as the answer.
        answer: what could be answered.

    Returns:
        brier (the mean of (chance - true)^2), ece (the expected calibration error: the distance of
        the mean chance and the share that is true, over bins of a tenth as many as are in them),
        n, and bins: of each that has any its low and high end, n, mean chance and share.
    """
    events = [event for one in judged if one.said is not None for event in _events(one, answer)]
    if not events:
        return {"brier": None, "ece": None, "n": 0, "bins": []}
    chance, true = np.array(events, dtype=float).T
    places = np.clip((chance * _BINS).astype(int), 0, _BINS - 1)
    bins = [
        {
            "low": place / _BINS,
            "high": (place + 1) / _BINS,
            "n": int(inside.sum()),
            "chance": float(chance[inside].mean()),
            "share": float(true[inside].mean()),
        }
        for place in range(_BINS)
        if (inside := places == place).any()
    ]
    apart = sum(one["n"] * abs(one["chance"] - one["share"]) for one in bins) / len(events)
    brier = float(((chance - true) ** 2).mean())
    return {"brier": brier, "ece": float(apart), "n": len(events), "bins": bins}


def abstention(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """How good the answers are where only those with the largest chances are given.

    Args:
        judged: the labelled videos; those without an answer count as never answered.

    Returns:
        Points from the fewest answers to all: the least chance of an answer that is given (of
        several labels the mean), coverage (the share of the videos), n, and accuracy (of sets of
        labels the mean of |true and said| / |true or said|). Equal chances come together.
    """
    decided = [one for one in judged if one.said is not None]
    rows = sorted(((_confidence(one), overlap(one)) for one in decided), reverse=True)
    ends = [n for n, row in enumerate(rows, 1) if n == len(rows) or rows[n][0] < row[0]]
    wanted = [len(rows) * (point + 1) / _POINTS for point in range(_POINTS)]
    chosen = sorted({min(end for end in ends if end >= n - 1e-9) for n in wanted}) if rows else []
    return [
        {
            "chance": rows[n - 1][0],
            "coverage": n / len(judged),
            "n": n,
            "accuracy": fmean(right for _, right in rows[:n]),
        }
        for n in chosen
    ]


def _events(one: Judged, answer: Answer) -> list[tuple[float, bool]]:
    labels = answer.options[:1] if len(answer.options) == 2 else sorted(one.said or ())
    return [(chance_of(one, label), label in one.truth) for label in labels]


def _confidence(one: Judged) -> float:
    return fmean(chance_of(one, label) for label in one.said) if one.said else 0.0
