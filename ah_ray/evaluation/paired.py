"""Whether one source of answers is better than another on the same videos. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ah_ray.evaluation.intervals import Draws, interval, told
from ah_ray.evaluation.judged import Judged


def mcnemar(one: Sequence[Judged], other: Sequence[Judged]) -> dict[str, Any]:
    """McNemar's exact test: of the videos that one of two gets right, is it the same one too often?

    It takes videos for independent of each other; where people have several, ``compared`` is the
    more careful test. A set of labels is right when it is the true one.

    Args:
        one: answers.
        other: to the same videos in the same order; those that both answer count.

    Returns:
        first_alone and second_alone (how many videos only that one gets right), and p (two-sided;
        1 where there are none).
    """
    from scipy import stats

    right = [
        (a.said == a.truth, b.said == b.truth)
        for a, b in zip(one, other, strict=True)
        if a.said is not None and b.said is not None
    ]
    first, second = right.count((True, False)), right.count((False, True))
    p = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    return {"first_alone": first, "second_alone": second, "p": float(p)}


def compared(one: Draws, other: Draws) -> dict[str, Any]:
    """The difference of two figures about the same people, by a paired bootstrap over them.

    Returns:
        difference (None where one is undefined), its interval (``intervals.told``), and p: twice
        the share of draws in which the difference is on the rarer side of 0.
    """
    difference = one.minus(other)
    drawn = difference.drawn[np.isfinite(difference.drawn)]
    found = interval(difference)
    p = None
    if math.isfinite(difference.value):
        rarer = min((drawn <= 0).sum(), (drawn >= 0).sum())
        p = float(min(1.0, 2 * (rarer + 1) / (len(drawn) + 1)))
    value = difference.value if math.isfinite(difference.value) else None
    return {"difference": value, **told(found), "p": p}
