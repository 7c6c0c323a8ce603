"""Evaluate: verdicts against labels, and the sums that must hold, into ``metrics.json``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.evaluation.leaks import require_no_leaks
from ah_ray.evaluation.metrics import Metrics, binary_metrics
from ah_ray.pipelines.prepare import in_scope, in_splits, lost_videos
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.progress import results as console

ENSEMBLE = "ensemble"


def evaluate(
    run: RunDirectory, splits: tuple[str, ...], baseline: pa.Table | None = None
) -> dict[str, Any]:
    """Compare the verdicts with the labels and write ``metrics.json``.

    Args:
        run: the run directory.
        splits: the splits that were scored.
        baseline: what something that looks at no video says of the same videos
            (``schemas.VERDICTS``).

    Returns:
        What was written: ``video_level.<member or ensemble>.<metric>``, the same below
        ``baseline`` if there is one, and ``counts.<what>``.

    Raises:
        LeakError: a participant or file is in several splits.
    """
    videos = run.videos()
    require_no_leaks(videos)
    # A labelled video outside the splits may show somebody who was trained on: it has a verdict
    # but does not count here.
    labelled = in_splits(videos, splits, unlabelled=False)
    report: dict[str, Any] = {"video_level": video_level(labelled, run.verdicts())}
    if baseline is not None:
        by_member = video_level(labelled, baseline)
        report["baseline"] = {name: by_member[name] for name in by_member if name != ENSEMBLE}
    report["counts"] = counts(run, splits)
    storage.write_bytes(run.path("metrics.json"), (json.dumps(report, indent=2) + "\n").encode())
    return report


def video_level(videos: pa.Table, verdicts: pa.Table) -> dict[str, Metrics]:
    """Metrics of every member and of the ensemble over the videos that have a label."""
    labels = dict(zip(videos["video_id"].to_pylist(), videos["label"].to_pylist(), strict=True))
    rows = [row for row in verdicts.to_pylist() if labels.get(row["video_id"]) is not None]
    truth = [labels[row["video_id"]] for row in rows]
    names = sorted({member["member"] for row in rows for member in row["members"]})
    answers = {
        name: [next(m for m in row["members"] if m["member"] == name) for row in rows]
        for name in names
    } | {ENSEMBLE: rows}
    return {
        name: binary_metrics(truth, [a["label"] for a in given], [a["score"] for a in given])
        for name, given in answers.items()
    }


def counts(run: RunDirectory, splits: tuple[str, ...]) -> dict[str, Any]:
    """What went in and what came out; ``videos`` is ``verdicts`` plus ``videos_in_findings``.

    After a trial (``prepare --limit``), ``videos`` are those of the trial.

    Raises:
        ConfigError: a video is in neither: a stage has not seen it yet.
    """
    expected = set(in_scope(run, splits, unlabelled=True)["video_id"].to_pylist())
    archive = len(in_splits(run.videos(), splits, unlabelled=True))
    verdicts = run.verdicts()
    judged = set(verdicts["video_id"].to_pylist()) & expected
    lost = (lost_videos(run, SCORING) & expected) - judged
    if expected != judged | lost:
        unseen = sorted(expected - judged - lost)
        unprepared = set(unseen) - set(run.clips(SCORING)["video_id"].to_pylist())
        stages = "prepare, score and reduce" if unprepared else "score and reduce"
        raise ConfigError(
            run.path("verdicts"),
            f"{len(unseen)} videos have neither verdict nor finding: {', '.join(unseen[:5])}",
            f"run the stages {stages} again, or `ah-ray run`; they do what is missing",
        )
    findings = run.findings()
    clips = run.clips(SCORING)
    training = run.clips(TRAINING)
    return {
        "videos": len(expected),
        "videos_beyond_trial": archive - len(expected),
        "verdicts": len(judged),
        "videos_in_findings": len(lost),
        "verdicts_by_status": _tally(verdicts["status"]),
        "clips": len(clips),
        "predictions": _predictions(verdicts),
        "training_videos": pc.count_distinct(training["video_id"]).as_py(),
        "training_clips": len(training),
        "findings": {
            stage: _tally(findings.filter(pc.equal(findings["stage"], stage))["severity"])
            for stage in sorted(set(findings["stage"].to_pylist()))
        },
    }


def _predictions(verdicts: pa.Table) -> dict[str, dict[str, int]]:
    """Per member: how its expected clip answers ended."""
    totals: dict[str, Counter[str]] = {}
    for members in verdicts["members"].to_pylist():
        for member in members:
            total = totals.setdefault(member["member"], Counter())
            for status in ("ok", "unparseable", "error", "missing"):
                total[status] += member[f"clips_{status}"]
    return {name: dict(total) for name, total in sorted(totals.items())}


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(column.to_pylist()).items()))


def print_metrics(report: dict[str, Any]) -> None:
    """A table of members and ensemble for people."""
    shown = ("accuracy", "precision", "recall", "f1", "n")
    table = Table("", *shown, title="video level")
    ensemble = {ENSEMBLE: report["video_level"][ENSEMBLE]}
    members = {k: v for k, v in report["video_level"].items() if k != ENSEMBLE}
    for section in (report.get("baseline", {}), members, ensemble):
        for name, values in section.items():
            cells = ["-" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v)
                     for v in (values[key] for key in shown)]  # fmt: skip
            table.add_row(name, *cells)
        table.add_section()
    console.print(table)


def print_counts(run: RunDirectory, totals: dict[str, Any]) -> None:
    """The sums and where the tables are."""
    left = totals["videos_beyond_trial"]
    console.print(
        f"videos in: {totals['videos']} = {totals['verdicts']} verdicts "
        f"+ {totals['videos_in_findings']} in findings"
        + (f"; {left} more are left out of this trial" if left else "")
    )
    for name, ends in totals["predictions"].items():
        parts = ", ".join(f"{count} {status}" for status, count in ends.items() if count)
        console.print(f"  {name}: {sum(ends.values())} clip answers expected: {parts or 'none'}")
    console.print(f"tables: {run.uri}/{{videos,clips,predictions,verdicts,findings}}")
