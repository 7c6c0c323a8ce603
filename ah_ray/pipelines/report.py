"""Report: the tables of a run in, one page for people out (``report.html``)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from ah_ray import schemas, storage, tables
from ah_ray.errors import ConfigError
from ah_ray.members import is_complete, read_member
from ah_ray.pipelines.evaluate import (
    METRICS_FILE,
    counts,
    judged_by,
    metrics_made_from,
    read_metrics,
)
from ah_ray.pipelines.ledger import in_scope, in_splits
from ah_ray.pipelines.reduce import noted_judgement
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import console
from ah_ray.report import curves, sums
from ah_ray.report.config import ReportConfig
from ah_ray.report.made_from import REPORT_FILE, report_made_from
from ah_ray.report.page import render, stated_made_from
from ah_ray.report.plots import gate, histogram
from ah_ray.report.videos import listed
from ah_ray.tasks.judgement import Judgement
from ah_ray.yaml_objects import build


def report(run: RunDirectory, settings: ReportConfig | None = None, stale: int = 0) -> str:
    """Write the page, unless there is one that is made from what there is now.

    Args:
        run: the run directory; there are verdicts, or answers that are text.
        settings: what the page shows; by default, as the run noted it last.
        stale: how many verdicts are not made from the answers that there are now.

    Returns:
        Where it is.

    Raises:
        ConfigError: there are no answers yet, or not of all videos.
    """
    settings = settings or noted_settings(run)
    run.remember({"report": settings.model_dump(mode="json")})
    path = run.path(REPORT_FILE)
    made_from = report_made_from(run, stale)
    if storage.exists(path) and stated_made_from(storage.read_bytes(path)) == made_from:
        console.print(f"[bold]report[/]: {path} is made from what there is now")
        return path
    page = page_of(run, settings) | {"made_from": made_from, "stale": stale}
    storage.write_bytes(path, render(page).encode())
    console.print(f"[bold]report[/]: {path}")
    return path


def noted_settings(run: RunDirectory) -> ReportConfig:
    """What the last report of a run showed."""
    noted = run.settings().get("report", {})
    return build(ReportConfig, noted, f"{run.path('run.yaml')}: report")


def page_of(run: RunDirectory, settings: ReportConfig) -> dict[str, Any]:
    """Everything that the page of a run shows, as ``page.render`` takes it.

    Raises:
        ConfigError: there are no answers yet, or not of all videos.
    """
    noted = run.settings()
    if not (names := noted.get("voters", ())):
        raise ConfigError(run.path("predictions"), "nobody was asked yet", "run `ah-ray run` first")
    judgement = noted_judgement(run)
    votes = judgement is not None and storage.exists(run.path("verdicts"))
    splits = _splits(run)
    options = judgement.answer.options if judgement else ()
    found: dict[str, Any] = {
        "version": version("ah-ray"),
        "run": run.uri,
        "archive": run.outside(noted.get("archive", "")),
        "settings": settings,
        "votes": votes,
        "options": options,
        "judgement": judgement,
        "members": [_member(run, name) for name in names],
        "findings": sums.findings_by_kind(run.findings()),
        "costs": sums.costs_by_stage(run.costs()),
    }
    if not votes:
        return found | listed(run, settings, None, splits, judgement)
    verdicts = run.verdicts()
    assert judgement is not None
    found |= {
        "counts": counts(run, splits),
        "given": sums.given(verdicts, options),
        "agreement": sums.agreement(verdicts) if options else [],
    }
    quality = _quality(run, verdicts, judgement, splits)
    return found | quality | listed(run, settings, verdicts, splits, judgement)


def _splits(run: RunDirectory) -> tuple[str, ...]:
    """The splits that were scored."""
    manifest = run.settings().get("manifests", {}).get(SCORING)
    if manifest is None:  # it is somebody else's, who scored what is in it
        split = schemas.columns(schemas.CLIPS, ["split"], coded=["split"])
        known = pc.unique(run.clips(SCORING, split)["split"]).drop_null().to_pylist()
        return tuple(sorted(known))
    return tuple(manifest["splits"])


def _member(run: RunDirectory, name: str) -> dict[str, Any]:
    """What a reader should know of a member, as far as it is still there."""
    uri = storage.join(run.outside(run.settings()["ensemble"]), name)
    if not is_complete(uri):
        return {"name": name}
    card = read_member(uri).card
    return {
        "name": name,
        "weights": card.weights,
        "model": card.model.path,
        "asked": card.question.prompt.user,
        "reads": card.reads,
        "trained_s": card.trained.get("seconds"),
    }


def _quality(
    run: RunDirectory, verdicts: pa.Table, judgement: Judgement, splits: Sequence[str]
) -> dict[str, Any]:
    """How good the verdicts are where labels say so, and how chances lie."""
    option = judgement.answer.options[0] if len(judgement.answer.options) == 2 else None
    plots = {}
    videos = in_splits(in_scope(run, splits, unlabelled=True), splits, unlabelled=False)
    labelled = videos.filter(pc.is_valid(videos["labels"]))
    if option is not None:
        plots[f"Chance of {option}"] = _chances(verdicts, labelled, option)
    shown = run.path("predictions")
    columns = schemas.columns(schemas.PREDICTIONS, ("video_id", "gate"))
    answers = tables.read_table(shown, columns, "member", pc.field("gate").is_valid())
    for expert, means in sums.gates(answers, labelled).items():
        plots[f"Gate: {expert}"] = gate(means, expert)
    metrics, why = _metrics(run, splits)
    if metrics is not None:
        judged = judged_by(labelled, verdicts)
        plots |= curves.drawn(judged, metrics.get("statistics", {}), judgement.answer)
    return {"metrics": metrics, "no_metrics": why, "labelled": len(labelled), "plots": plots}


def _chances(verdicts: pa.Table, labelled: pa.Table, option: str) -> Markup:
    """How many videos have which chance, and how they are labelled if they are."""
    words = pc.binary_join(labelled["labels"], ", ")
    parts = {
        f"labelled {label}": labelled["video_id"].filter(pc.equal(words, label))
        for label in sorted(pc.unique(words).to_pylist(), key=lambda label: label != option)
    }
    counts = {
        name: sums.chances(verdicts.filter(pc.is_in(verdicts["video_id"], ids)), option)
        for name, ids in parts.items()
    }
    rest = verdicts.filter(pc.invert(pc.is_in(verdicts["video_id"], labelled["video_id"])))
    if len(rest) or not counts:
        counts["not labelled"] = sums.chances(rest, option)
    return histogram(counts, option)


def _metrics(run: RunDirectory, splits: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """``metrics.json``, or why there is none that holds."""
    path = run.path(METRICS_FILE)
    if not storage.exists(path):
        return None, "the run was not evaluated"
    try:
        found = read_metrics(run)
    except ConfigError:
        return None, f"{METRICS_FILE} is damaged: run `ah-ray evaluate` again"
    if found["made_from"] != metrics_made_from(run, found["splits"]):
        return None, f"{METRICS_FILE} is of other verdicts or labels: run `ah-ray evaluate` again"
    return found, ""
