"""Metrics of explanations: by the keywords that they share with a reference, and by a judge.

Of each labelled video with an answer and a reference. A video that was answered without an
explanation shares nothing and has the judge's lowest score. One whose score the judge did not give
in a form that can be read is in no mean of scores, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import Field, field_validator

from ah_ray.errors import ConfigError
from ah_ray.evaluation.judged import Judged, Metrics, Weighable
from ah_ray.evaluation.weighted import Weighted, means
from ah_ray.tasks.answers import Answer
from ah_ray.words.groups import hash_of
from ah_ray.words.judging import pair, read_judged, stated_reference
from ah_ray.words.keywords import Shared, shared
from ah_ray.yaml_objects import Frozen, build

KEYWORDS = tuple(f"keywords_{name}" for name in Shared._fields)
JUDGE = "judge_score"
NAME = "explanations"
_WHERE = f"task: metrics.{NAME}"
_TOGETHER = "what several members explain is no explanation, and none is known here"
_NOTHING = "no labelled video has an answer and a reference"
_UNREAD = "no explanation has a score"


class Explanations(Frozen):
    """The argument of the metric.

    Attributes:
        reference: the attribute of a video that has what explanations are compared with, or several
            of which the first counts that a video has.
        judged: the file of a judge's scores (``ah-ray judge``); null for keywords alone.
    """

    reference: tuple[str, ...] = Field(min_length=1)
    judged: str | None = None

    @field_validator("reference", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


def explanations(argument: dict[str, Any]) -> Weighable:
    """A metric of explanations.

    Its numbers are ``keywords_precision``, ``keywords_recall`` and ``keywords_f1``
    (``words.keywords``), means over videos, and with a judge ``judge_score``, on its scale. Beside
    them ``explanations`` has how many videos are in them, how many of these have no explanation,
    and how many scores could not be read; ``by`` names the judge and its rubric.

    Args:
        argument: the values of ``Explanations``.

    Raises:
        ConfigError: it is wrong, or there is no such file. The metric raises one, too, when a file
            of scores is older than an explanation.
    """
    settings = build(Explanations, argument, _WHERE)
    names = (*KEYWORDS, *([JUDGE] if settings.judged else ()))
    score, by = (None, {}) if settings.judged is None else _judge(settings.judged)

    def values(one: Judged) -> tuple[float, ...]:
        """The numbers of a video; NaN for one that does not count."""
        reference = stated_reference(one.stated, settings.reference)
        if one.said is None or one.written is None or not reference:
            return (math.nan,) * len(names)
        text = one.written.explanation
        keys = shared(text, reference) or (math.nan,) * len(KEYWORDS)
        return (*keys, *([score(one.video_id, reference, text)] if score else ()))

    def metric(judged: Sequence[Judged], answer: Answer) -> Metrics:
        _require_explaining(answer)
        rows = [values(one) for one in judged]
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        finite = [[v for v in column if not math.isnan(v)] for column in columns]
        numbers = {n: fmean(c) if c else None for n, c in zip(names, finite, strict=True)}
        compared = [one for one in judged if one.said is not None and one.written is not None
                    and stated_reference(one.stated, settings.reference)]  # fmt: skip
        together = any(one.said is not None and one.written is None for one in judged)
        why = _UNREAD if compared else _TOGETHER if together else _NOTHING
        counts = {
            "videos": len(compared),
            "without": sum(not one.written.explanation for one in compared if one.written),
        }
        if settings.judged:
            counts["unread"] = len(compared) - len(finite[-1])
        undefined = {name: why for name, value in numbers.items() if value is None}
        return numbers | {"undefined": undefined, "by": by, NAME: counts}

    def weighted(judged: Sequence[Judged], answer: Answer) -> Weighted:
        columns = zip(*map(values, judged), strict=True)
        return means(dict(zip(names, columns, strict=True)))

    return Weighable(metric, weighted)


def _judge(name: str) -> tuple[Callable[[str, str, str], float], dict[str, Any]]:
    """From a video, a reference and an explanation to a score, and who says so."""
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        problem = f"{name} cannot be read: {error.strerror}"
        raise ConfigError(f"{_WHERE}.judged", problem, "name what `ah-ray judge` wrote") from None
    file = read_judged(content, Path(name))
    stated = file.model_dump(include={"judge", "task", "prompt", "rubric", "scale"}, mode="json")
    by = {"judge": {"file": Path(name).name, "hash": hash_of(content), **stated}}

    def score(video_id: str, reference: str, text: str) -> float:
        if not text:
            return min(file.scale)
        given = file.scores.get(video_id, {})
        if (key := pair(reference, text)) not in given:
            problem = f"has no score of an explanation of video {video_id} as it is now"
            raise ConfigError(name, problem, "run `ah-ray judge` again, and take its new file")
        found = given[key]
        return math.nan if found is None else found

    return score, by


def _require_explaining(answer: Answer) -> None:
    if not answer.explains:
        problem = "explanations are of an answer that has an explanation, and this one has none"
        raise ConfigError("task: metrics", problem, "state answer.explanation, or leave it out")
