"""Explanations judged by a text model: who judges, what is asked, and the file of its scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.lineage import fingerprint
from ah_ray.models.config import ModelConfig
from ah_ray.yaml_objects import Count, Frozen, build


class JudgeConfig(Frozen):
    """Who judges explanations; see ``jobs/judge.yaml``.

    Attributes:
        model: a text model.
        task: whose answer is one of several scores, from the lowest on, and whose prompt states the
            rubric, with ``{subtitle}`` where reference and explanation shall stand.
        prompt: which wording of it.
        decoding: ``generate`` lets it write; what is no score then is counted and not guessed.
            ``answer`` takes the likeliest score.
        max_new_tokens: the longest reply.
        score: the engine and its resources.
    """

    model: ModelConfig
    task: str = "explanation_judge"
    prompt: str = "short"
    decoding: Literal["answer", "generate"] = "generate"
    max_new_tokens: Count = 32
    score: ScoreConfig = ScoreConfig()


class JudgedFile(Frozen):
    """The scores of a judge.

    Attributes:
        judge: its model.
        made_from: fingerprint of the judge: its weights and its question.
        task: of the judge.
        prompt: the wording.
        rubric: the wording in full.
        scale: the scores that there are, the lowest first.
        scores: of each pair of a reference and an explanation (``pair``), by video; None where the
            judge's reply was no score.
    """

    judge: str
    made_from: str
    task: str
    prompt: str
    rubric: str
    scale: tuple[float, ...]
    scores: dict[str, dict[str, float | None]]


def pair(reference: str, explanation: str) -> str:
    """By what a score names the texts that it is of."""
    return fingerprint(reference, explanation)


def told(reference: str, explanation: str) -> str:
    """Both texts as they stand in the judge's prompt, each on a line of its own."""
    lines = (" ".join(text.split()) for text in (reference, explanation))
    return "\n".join(
        f"{name}: {line}" for name, line in zip(("Reference", "Explanation"), lines, strict=True)
    )


def scale_of(options: tuple[str, ...], where: str) -> tuple[float, ...]:
    """The scores that options are.

    Raises:
        ConfigError: they are no numbers, or not in order.
    """
    try:
        scale = tuple(map(float, options))
    except ValueError:
        scale = ()
    if len(scale) < 2 or list(scale) != sorted(set(scale)):
        problem = f"its answer is one of {', '.join(options) or 'no options'}, which are no scores"
        raise ConfigError(where, problem, "name a task whose options are numbers, the lowest first")
    return scale


def stated_reference(stated: Mapping[str, str], names: tuple[str, ...]) -> str:
    """What an archive says of a video, by the first of some attributes that it has; or nothing."""
    return next((text for name in names if (text := (stated.get(name) or "").strip())), "")


@lru_cache(maxsize=8)  # every member is measured by the same
def read_judged(content: bytes, path: Path) -> JudgedFile:
    """The scores in a file.

    Raises:
        ConfigError: it has none.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(path), f"is no JSON: {error}", "run `ah-ray judge` again") from None
    return build(JudgedFile, values, str(path))
