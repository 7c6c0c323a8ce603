"""What a metric looks at: one labelled video, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ah_ray.evaluation.weighted import Weighted
from ah_ray.tasks.answers import Answer, LabelSet

# Numbers by name; None where a metric is undefined, with the reason under ``undefined``.
Metrics = dict[str, Any]


class Written(NamedTuple):
    """What one member wrote of a video.

    Attributes:
        replies: whole, in order of its clips.
        explanation: that of its answer; empty where it gave none.
    """

    replies: tuple[str, ...]
    explanation: str = ""


class Judged(NamedTuple):
    """What was said of one labelled video.

    Attributes:
        truth: its labels.
        said: the answer; None for undecided.
        chances: of labels, as far as they are known.
        video_id: of the video.
        written: how it was said; None where nobody looked, and of several members together.
        stated: what else the archive says of the video.
    """

    truth: LabelSet
    said: LabelSet | None
    chances: Mapping[str, float] = {}
    video_id: str = ""
    written: Written | None = None
    stated: Mapping[str, str] = {}


Metric = Callable[[Sequence[Judged], Answer], Metrics]


@dataclass(frozen=True)
class Weighable:
    """A metric that also says what its numbers are where videos count more or less often.

    Its numbers have intervals and are compared; those of a metric that is a function alone are not.

    Attributes:
        measure: the metric.
        weighted: from the same arguments to some of its numbers, by the same names, under weights.
    """

    measure: Metric
    weighted: Callable[[Sequence[Judged], Answer], Weighted]

    def __call__(self, judged: Sequence[Judged], answer: Answer) -> Metrics:
        """The numbers, where each video counts once."""
        return self.measure(judged, answer)


def overlap(one: Judged) -> float:
    """How much of an answer and the truth is the same: of single labels 1 or 0."""
    said = one.said or frozenset()
    both = one.truth | said
    return len(one.truth & said) / len(both) if both else 1.0


def chance_of(one: Judged, label: str) -> float:
    """Of a label; where it is not known, or no number, 1 if it is said and else 0."""
    chance = one.chances.get(label, math.nan)
    return chance if math.isfinite(chance) else float(label in (one.said or ()))
