"""Rows of a run's tables as flat rows, for R, SPSS and spreadsheets. Pure functions.

A set of labels is one cell with semicolons between them; what is unknown is an empty cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ah_ray.pipelines.results import chance, evidence
from ah_ray.schemas import Row

#: What spreadsheets would run as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def video_columns(members: Sequence[str], attributes: Sequence[str]) -> list[str]:
    """The columns of ``video_row``, in order."""
    return [
        *("video_id", "file", "participant_id", "split", "label", "score", "status", "coverage"),
        *("evidence_start_s", "evidence_end_s", "true_label"),
        *(f"{name}_{what}" for name in members for what in ("label", "score")),
        *(f"attribute_{name}" for name in attributes),
    ]


def video_row(
    verdict: Mapping[str, Any],
    video: Mapping[str, Any],
    file: str,
    spans: Mapping[str, tuple[float, float]],
) -> Row:
    """A video, with what the ensemble and every member say of it.

    Args:
        verdict: ``schemas.VERDICTS``.
        video: ``schemas.VIDEOS``.
        file: its name in the archive.
        spans: of clips by their ids, in seconds.
    """
    start_s, end_s = spans.get(evidence(verdict) or "", (None, None))
    row: Row = {
        "video_id": verdict["video_id"],
        "file": file,
        "participant_id": video["participant_id"],
        "split": video["split"],
        "label": cell(verdict["labels"]),
        "score": score(verdict),
        "status": verdict["status"],
        "coverage": verdict["coverage"],
        "evidence_start_s": start_s,
        "evidence_end_s": end_s,
        "true_label": cell(video["labels"]),
    }
    for member in verdict["members"] or ():
        row[f"{member['member']}_label"] = cell(member["labels"])
        row[f"{member['member']}_score"] = score(member)
    return row | {f"attribute_{name}": text for name, text in video["attributes"] or ()}


def clip_columns(options: Sequence[str]) -> list[str]:
    """The columns of ``clip_row``, in order."""
    return [
        *("clip_id", "video_id", "file", "start_s", "end_s", "member", "label"),
        *(f"chance_{option}" for option in options),
        *("text", "status", "error_kind", "subtitle"),
    ]


def clip_row(answer: Mapping[str, Any], clip: Mapping[str, Any], file: str) -> Row:
    """A clip, with the answer of one member (``schemas.PREDICTIONS`` with a column ``member``)."""
    row: Row = {
        "clip_id": clip["clip_id"],
        "video_id": clip["video_id"],
        "file": file,
        "start_s": clip["start_s"],
        "end_s": clip["end_s"],
        "member": answer["member"],
        "label": cell(answer["labels"]),
        "text": answer["text"],
        "status": answer["status"],
        "error_kind": answer["error_kind"],
        "subtitle": clip["subtitle"],
    }
    return row | {f"chance_{label}": value for label, value in answer["chances"] or ()}


def cell(labels: Iterable[str] | None) -> str | None:
    """Labels as one text.

    >>> cell(["sad", "calm"])
    'calm; sad'
    """
    return None if labels is None else "; ".join(sorted(labels))


def score(said: Mapping[str, Any]) -> float | None:
    """Of two options the chance of the first, whatever is said; else that of the likeliest."""
    considered = said["considered"] or []
    if len(considered) == 2:
        value: float | None = considered[0]["chance"]
        return value
    return chance(said)


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet runs: a text that begins like a formula gets an apostrophe.

    >>> harmless("=HYPERLINK(1)")
    "'=HYPERLINK(1)"
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
