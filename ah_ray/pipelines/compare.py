"""Compare: several runs on the same videos side by side, with paired tests over their people.

evaluated runs -> the same videos? -> their ensembles as sources of answers -> statistics
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from ah_ray.config import ENSEMBLE
from ah_ray.errors import ConfigError
from ah_ray.evaluation.config import EvaluateConfig
from ah_ray.evaluation.judged import Judged
from ah_ray.evaluation.metrics import measured
from ah_ray.evaluation.statistics import statistics
from ah_ray.participants import person
from ah_ray.pipelines.evaluate import (
    METRICS_FILE,
    judged_by,
    labelled_in,
    metrics_made_from,
    read_metrics,
    shown_in,
)
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.tasks.judgement import Judgement
from ah_ray.yaml_objects import build

_TOLD = 3  # videos that are named where runs differ
# What is the same of each video in runs that are compared, and what to do where it is not.
_SAME = {
    "labels": "read the same annotation in both",
    "participants": "read the same annotation in both",
    "contents": "score the same files in both",
}


class Evaluated(NamedTuple):
    """A run whose metrics are made from its verdicts as they are.

    Attributes:
        judgement: by which they are.
        videos: the labelled ones, sorted by video_id.
        judged: what its ensemble says of them.
    """

    judgement: Judgement
    videos: pa.Table
    judged: list[Judged]


def compare(
    runs: Sequence[RunDirectory], settings: EvaluateConfig = EvaluateConfig()
) -> dict[str, Any]:
    """Metrics of the ensembles of several runs, and how the first does beside each other one.

    Args:
        runs: at least two, evaluated, on the same videos with the same labels.
        settings: of intervals and tests.

    Returns:
        ``video_level.RUN.METRIC``, ``statistics`` as ``evaluate`` has them, where ``compared.RUN``
        is the first run minus that one, and ``runs``, from the name of each to its URI.

    Raises:
        ConfigError: there are less than two, one was not evaluated or its metrics are stale, or
            they are about other videos, labels or metrics; naming the difference.
    """
    if len(runs) < 2:
        raise ConfigError("compare", "takes two runs or more", "name them: RUN RUN")
    names = _names([run.uri for run in runs])
    found = dict(zip(names, map(_evaluated, runs), strict=True))
    first, *others = names
    for name in others:
        _require_alike(first, found[first], name, found[name])
    judgement, videos = found[first].judgement, found[first].videos
    asked = (judgement.metrics, judgement.answer)
    sources = {name: one.judged for name, one in found.items()}
    return {
        "runs": {name: run.uri for name, run in zip(names, runs, strict=True)},
        "video_level": {name: measured(judged, *asked) for name, judged in sources.items()},
        "statistics": statistics(sources, shown_in(videos), first, *asked, settings),
    }


def _names(uris: Sequence[str]) -> list[str]:
    """What runs are called: the ends of their URIs, as long as it takes to tell them apart."""
    if twice := sorted({uri for uri in uris if uris.count(uri) > 1}):
        raise ConfigError("compare", f"{twice[0]} is named twice", "name each run once")
    parts = [uri.rstrip("/").split("/") for uri in uris]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(uris)


def _evaluated(run: RunDirectory) -> Evaluated:
    """What a run says of its labelled videos.

    Raises:
        ConfigError: it was not evaluated, or its metrics are stale.
    """
    run.require(METRICS_FILE, "ah-ray evaluate")
    path = run.path(METRICS_FILE)
    metrics = read_metrics(run)
    splits = metrics["splits"]
    if metrics["made_from"] != metrics_made_from(run, splits):
        problem = "is not made from the verdicts and labels that there are now"
        raise ConfigError(path, problem, "run `ah-ray evaluate` first")
    videos = labelled_in(run, splits).sort_by("video_id")
    judgement = build(Judgement, metrics["task"], f"{path}: task").check(f"{path}: task")
    return Evaluated(judgement, videos, judged_by(videos, run.verdicts())[ENSEMBLE])


def _require_alike(first: str, one: Evaluated, name: str, other: Evaluated) -> None:
    """Fail where two runs cannot be compared.

    Raises:
        ConfigError: naming how they differ.
    """
    ours, theirs = _facts(one.videos), _facts(other.videos)
    for here, there, whose in ((ours, theirs, first), (theirs, ours, name)):
        if alone := sorted(here.keys() - there):
            told = ", ".join(here[video]["uri"] for video in alone[:_TOLD])
            problem = f"{len(alone)} videos are in {whose} alone, such as {told}"
            raise ConfigError(f"{first} and {name}", problem, "score the same videos in both")
    for key, fix in _SAME.items():
        apart = sorted(video for video in ours if ours[video][key] != theirs[video][key])
        if apart:
            told = ", ".join(
                f"{ours[v]['uri']} ({ours[v][key]} and {theirs[v][key]})" for v in apart[:_TOLD]
            )
            problem = f"{len(apart)} videos have other {key}: {told}"
            raise ConfigError(f"{first} and {name}", problem, fix)
    for key in ("answer", "metrics"):
        if getattr(one.judgement, key) != getattr(other.judgement, key):
            problem = f"their tasks have another {key}"
            raise ConfigError(f"{first} and {name}", problem, "evaluate both by one task")
    if one.judgement.policies.parse != other.judgement.policies.parse:
        problem = "their replies are read by other parsers"
        raise ConfigError(f"{first} and {name}", problem, "reduce and evaluate both by one")


def _facts(videos: pa.Table) -> dict[str, dict[str, Any]]:
    """Of each video where it is, and what must be the same of it in two runs."""
    columns = ("video_id", "uri", "labels", "participant_id", "content")
    rows = zip(*(videos[name].to_pylist() for name in columns), strict=True)
    return {
        video: {
            "uri": uri,
            "labels": "/".join(sorted(labels)),
            "participants": who and person(who),
            "contents": content,
        }
        for video, uri, labels, who, content in rows
    }
