"""What a metric looks at: one labelled video, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ah_ray.tasks.answers import Answer, LabelSet

# Numbers by name; None where a metric is undefined, with the reason under ``undefined``.
Metrics = dict[str, Any]


class Judged(NamedTuple):
    """What was said of one labelled video.

    Attributes:
        truth: its labels.
        said: the answer; None for undecided.
        chances: of labels, as far as they are known.
        video_id: of the video.
    """

    truth: LabelSet
    said: LabelSet | None
    chances: Mapping[str, float] = {}
    video_id: str = ""


Metric = Callable[[Sequence[Judged], Answer], Metrics]
