"""What a run has found, for people: labels, the strongest videos, and every kind of finding."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from rich.markup import escape

from ah_ray import schemas
from ah_ray.media.segment import STILL
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import printable, results

_MOST_LABELS = 8  # that are told of
_AT_ONCE = 4096  # rows as Python objects, for memory's sake


class Said(NamedTuple):
    """A label of a verdict, who gives it, and the clip that speaks for it most."""

    label: str
    members: tuple[str, ...]
    evidence_clip_id: str | None


class Strong(NamedTuple):
    """A video near the top.

    Attributes:
        labels: its verdict; None when undecided.
        chance: of the likeliest label of it, or where it is undecided of what was looked for; None
            when nothing is known.
        uri: where it is.
        evidence_clip_id: the clip that speaks loudest for the verdict; None when undecided.
        said: each label of it.
    """

    labels: tuple[str, ...] | None
    chance: float | None
    uri: str
    evidence_clip_id: str | None
    said: tuple[Said, ...]


def print_found(run: RunDirectory, top: int = 10) -> None:
    """Print what was found, and how to open the tables.

    Args:
        run: the run directory.
        top: how many videos to show.

    Raises:
        ConfigError: there are no verdicts yet.
    """
    verdicts = run.verdicts()
    results.print(
        f"[bold]found[/] in {len(verdicts)} videos: {escape(printable(_summary(verdicts)))}"
        + (". The strongest, and where:" if len(verdicts) else "")
    )
    # Of a choice there is one label; words come each with who says it, and where.
    answer = run.settings().get("judgement", {}).get("answer", {})
    in_words = bool(answer) and not answer.get("options")
    shown = strongest(verdicts, top, in_words)
    times = _times(run, shown)
    short = short_names(run)
    for video in shown:
        sure = "-    " if video.chance is None else f"{video.chance:.3f}"
        words = "undecided" if video.labels is None else ", ".join(video.labels) or "nothing"
        at = f" {times[video.evidence_clip_id]}" if video.evidence_clip_id in times else ""
        at = "" if in_words else at
        file = printable(short(video.uri))
        results.print(f"  {sure} {printable(words):9} {file}{at}", markup=False)
        for one in video.said if in_words else ():
            parts = [", ".join(one.members), times.get(one.evidence_clip_id)]
            line = f"        {one.label}: {', '.join(part for part in parts if part)}"
            results.print(printable(line), markup=False)
    _print_findings(run.findings())
    results.print("in Python:")
    for line in opening_lines(run):
        results.print(f"  {line}", markup=False)


def _summary(verdicts: pa.Table) -> str:
    """How many videos have which label; the options of a choice in their order."""
    counts: Counter[str] = Counter()
    order: dict[str, None] = {}
    for row in verdicts.select(["labels", "considered"]).to_pylist():
        order |= dict.fromkeys(one["label"] for one in row["considered"] or ())
        counts.update(["undecided"] if row["labels"] is None else row["labels"] or ["nothing"])
    found = {label: counts[label] for label in (*order, "nothing", "undecided") if counts[label]}
    most = sorted(found.items(), key=lambda item: -item[1])[:_MOST_LABELS]
    words = [f"{count} {label}" for label, count in found.items() if (label, count) in most]
    return ", ".join(words) or "nothing"


def short_names(run: RunDirectory) -> Callable[[str], str]:
    """A function from the URI of a video to its name in the archive of the run."""
    archive = run.outside(run.settings().get("archive", "")).rstrip("/")
    folders = [f"{archive}/", f"{archive.rpartition('/')[0]}/"]  # the second of a table
    return lambda uri: next((uri[len(f) :] for f in folders if uri.startswith(f)), uri)


def voters(verdicts: pa.Table) -> list[str]:
    """The names of the members whose verdicts these are, sorted."""
    members = verdicts["members"].combine_chunks().flatten()
    return sorted(pc.unique(pc.struct_field(members, "member")).to_pylist())


def strongest(verdicts: pa.Table, top: int, in_words: bool = False) -> list[Strong]:
    """The first ``top`` verdicts, as ``ranked`` has them."""
    return [
        Strong(
            None if row["labels"] is None else tuple(row["labels"]),
            chance(row),
            row["uri"],
            evidence(row),
            tuple(
                Said(one["label"], tuple(one["members"] or ()), one["evidence_clip_id"])
                for one in row["considered"] or ()
                if one["label"] in (row["labels"] or ())
            ),
        )
        for row in ranked(verdicts, top, in_words)
    ]


def ranked(verdicts: pa.Table, top: int, in_words: bool = False) -> list[schemas.Row]:
    """The first ``top`` verdicts: by label in the order of the options, then by chance.

    What is looked for comes first, undecided ones last.

    Args:
        verdicts: ``schemas.VERDICTS``.
        top: at most so many.
        in_words: labels are words, of which none is looked for: by chance alone.
    """

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        labels, considered = row["labels"], row["considered"] or []
        places = [place for place, one in enumerate(considered) if one["label"] in (labels or ())]
        rank = 0 if in_words else min(places, default=len(considered))
        # Two options: the surer of what is looked for, also among those where it is not found.
        two = len(considered) == 2 and not in_words
        sure = considered[0]["chance"] if two else chance(row)
        return labels is None, not labels, rank, -(sure or 0.0), row["uri"]

    batches = verdicts.to_batches(max_chunksize=_AT_ONCE)
    return heapq.nsmallest(top, (row for batch in batches for row in batch.to_pylist()), key)


def chance(verdict: Mapping[str, Any]) -> float | None:
    """Of the likeliest label of a verdict; of an undecided one, of the first one considered."""
    considered = verdict["considered"] or []
    labels = verdict["labels"]
    chances = [one["chance"] for one in considered if one["label"] in (labels or ())]
    return max(chances, default=considered[0]["chance"] if considered and labels is None else None)


def evidence(verdict: Mapping[str, Any]) -> str | None:
    """The clip that speaks loudest for the likeliest label of a verdict; None when undecided.

    Args:
        verdict: a row of ``schemas.VERDICTS``.
    """
    said = [one for one in verdict["considered"] or () if one["label"] in (verdict["labels"] or ())]
    best = max(said, key=lambda one: one["chance"] or 0.0, default=None)
    return None if best is None else best["evidence_clip_id"]


def is_still(clip: Mapping[str, Any]) -> bool:
    """Whether a clip (``schemas.CLIPS``: start_s, end_s and fps) is a picture."""
    return bool(clip["fps"] == 0 and (clip["start_s"], clip["end_s"]) == STILL)


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
        f"print(pandas.read_parquet({run.path('verdicts')!r})[['labels', 'status', 'uri']])",
    ]


def _times(run: RunDirectory, videos: Sequence[Strong]) -> dict[str | None, str]:
    """When the evidence of some videos is, by clip; a picture has no times."""
    evidences = (one.evidence_clip_id for video in videos for one in video.said)
    ids = {clip_id for clip_id in evidences if clip_id is not None}
    clips = run.clips(
        SCORING, schemas.columns(schemas.CLIPS, ["clip_id", "start_s", "end_s", "fps"])
    )
    rows = clips.filter(pc.is_in(clips["clip_id"], pa.array(sorted(ids), pa.string()))).to_pylist()
    return {
        row["clip_id"]: span_text(row["start_s"], row["end_s"]) for row in rows if not is_still(row)
    }


def _print_findings(findings: pa.Table) -> None:
    """One line per kind, the worst first: how many, what is done, and one of them."""
    kinds: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in findings.to_pylist():
        kinds[schemas.SEVERITIES.index(row["severity"]), row["kind"]].append(row)
    for (severity, kind), rows in sorted(kinds.items()):
        first = min(rows, key=lambda row: str(row["message"]))
        text = f"{schemas.SEVERITIES[severity]}: {len(rows)} {kind}: {first['action']}"
        results.print(f"  {printable(text)}: {printable(first['message'])}", markup=False)
