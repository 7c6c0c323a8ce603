"""What a run has found, for people: positives, the strongest videos, and every kind of finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import printable, results

_WORDS = {1: "yes", 0: "no", None: "undecided"}


class Strong(NamedTuple):
    """A video near the top.

    Attributes:
        label: its verdict; None when undecided.
        score: the mean of the members' scores; None without any.
        uri: where it is.
        evidence_clip_id: the clip that speaks loudest for the verdict; None when undecided.
    """

    label: int | None
    score: float | None
    uri: str
    evidence_clip_id: str | None


def print_found(run: RunDirectory, top: int = 10) -> None:
    """Print what was found, and how to open the tables.

    Args:
        run: the run directory.
        top: how many videos to show.

    Raises:
        ConfigError: there are no verdicts yet.
    """
    verdicts = run.verdicts()
    counts = {row["values"]: row["counts"] for row in verdicts["label"].value_counts().to_pylist()}
    positives, undecided = counts.get(1, 0), counts.get(None, 0)
    results.print(
        f"[bold]found[/]: {positives} of {len(verdicts)} videos are positive"
        + (f", {undecided} undecided" if undecided else "")
        + (". The strongest, and where:" if len(verdicts) else "")
    )
    shown = strongest(verdicts, top)
    times = _times(run, shown)
    archive = run.outside(run.settings().get("archive", "")).rstrip("/") + "/"
    for video in shown:
        score = "-    " if video.score is None else f"{video.score:.3f}"
        at = f" {times[video.evidence_clip_id]}" if video.evidence_clip_id in times else ""
        file = printable(video.uri.removeprefix(archive))
        results.print(f"  {score} {_WORDS[video.label]:9} {file}{at}", markup=False)
    _print_findings(run.findings())
    results.print("in Python:")
    for line in opening_lines(run):
        results.print(f"  {line}", markup=False)


def voters(verdicts: pa.Table) -> list[str]:
    """The names of the members whose verdicts these are, sorted."""
    members = verdicts["members"].combine_chunks().flatten()
    return sorted(pc.unique(pc.struct_field(members, "member")).to_pylist())


def strongest(verdicts: pa.Table, top: int) -> list[Strong]:
    """The first ``top`` verdicts: positives first, by score, undecided ones last.

    Args:
        verdicts: ``schemas.VERDICTS``.
        top: at most so many.
    """
    keys = [("label", "descending"), ("score", "descending"), ("uri", "ascending")]
    best = verdicts.take(pc.select_k_unstable(verdicts, min(top, len(verdicts)), keys))
    return [
        Strong(row["label"], row["score"], row["uri"], evidence(row)) for row in best.to_pylist()
    ]


def evidence(verdict: Mapping[str, Any]) -> str | None:
    """The clip of the surest member among those that agree with the verdict.

    Args:
        verdict: a row of ``schemas.VERDICTS``.
    """
    agreeing = [
        member
        for member in verdict["members"]
        if verdict["label"] is not None
        and member["label"] == verdict["label"]
        and member["evidence_clip_id"] is not None
    ]
    if not agreeing:
        return None
    surest = max(agreeing, key=lambda member: -1.0 if member["score"] is None else member["score"])
    return str(surest["evidence_clip_id"])


def span_text(start_s: float, end_s: float) -> str:
    """A stretch of a video as players show it: ``00:10`` and ``00:12.5``, a dash between them."""
    return f"{_clock(start_s)}\N{EN DASH}{_clock(end_s)}"


def _clock(seconds: float) -> str:
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{rest % 10}" if rest % 10 else ""
    return (f"{hours}:" if hours else "") + f"{minutes:02}:{rest // 10:02}{fraction}"


def opening_lines(run: RunDirectory) -> list[str]:
    """Python that opens the verdicts, as it is printed."""
    return [
        "import pandas; pandas.options.display.max_colwidth = None",
        f"print(pandas.read_parquet({run.path('verdicts')!r})[['label', 'score', 'uri']])",
    ]


def _times(run: RunDirectory, videos: Sequence[Strong]) -> dict[str | None, str]:
    """When the evidence of some videos is, by clip."""
    ids = [video.evidence_clip_id for video in videos if video.evidence_clip_id is not None]
    clips = run.clips(SCORING).select(["clip_id", "start_s", "end_s"])
    rows = clips.filter(pc.is_in(clips["clip_id"], pa.array(ids, pa.string()))).to_pylist()
    return {row["clip_id"]: span_text(row["start_s"], row["end_s"]) for row in rows}


def _print_findings(findings: pa.Table) -> None:
    """One line per kind, the worst first: how many, what is done, and one of them."""
    kinds: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in findings.to_pylist():
        kinds[schemas.SEVERITIES.index(row["severity"]), row["kind"]].append(row)
    for (severity, kind), rows in sorted(kinds.items()):
        first = min(rows, key=lambda row: str(row["message"]))
        text = f"{schemas.SEVERITIES[severity]}: {len(rows)} {kind}: {first['action']}"
        results.print(f"  {printable(text)}: {printable(first['message'])}", markup=False)
