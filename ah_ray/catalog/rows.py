"""What every reader returns, and the checks that all readers share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ah_ray.catalog.intervals import clean_intervals
from ah_ray.findings import note
from ah_ray.participants import person

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Catalog:
    """What an archive contains.

    Attributes:
        videos: rows of ``schemas.VIDEOS``.
        findings: rows of ``schemas.FINDINGS``; with the videos they account for everything that
            the archive lists (see ``findings.LEFT_OUT``).
    """

    videos: Rows
    findings: Rows


def video_row(
    video_id: str,
    uri: str,
    participant_id: str | None = None,
    split: str | None = None,
    label: int | None = None,
    intervals: Iterable[tuple[float, float]] = (),
    attributes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One row of ``schemas.VIDEOS``; ``intervals`` are ``(start_s, end_s)`` in seconds."""
    return {
        "video_id": video_id,
        "uri": uri,
        "participant_id": participant_id,
        "split": split,
        "label": label,
        "intervals": [{"start_s": start_s, "end_s": end_s} for start_s, end_s in intervals],
        "attributes": sorted((attributes or {}).items()),
    }


def parse_label(value: object) -> int | None:
    """0 or 1 from a number or its text, None for anything else.

    >>> parse_label("1"), parse_label(0.0), parse_label("maybe")
    (1, 0, None)
    """
    try:
        number = float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None
    return int(number) if number in (0.0, 1.0) else None


def check_intervals(
    video_id: str, name: str, label: int | None, annotated: object
) -> tuple[list[tuple[float, float]], Rows]:
    """The intervals of a video that agree with its label, and the findings about them.

    Args:
        video_id: of the video.
        name: of the video, for people.
        label: of the video.
        annotated: its list of intervals as annotated; None when the archive does not state any.

    Returns:
        Sorted, disjoint ``(start_s, end_s)`` in seconds, and rows of ``schemas.FINDINGS``.
    """
    intervals, problems = clean_intervals(annotated)
    findings = [note(video_id, kind, f"{name}: {message}") for kind, message in problems]
    if label == 1 and not intervals and annotated is not None:
        message = f"{name} is positive and has no usable interval"
        findings.append(note(video_id, "positive_without_intervals", message))
    if label == 0 and intervals:
        message = f"{name} is negative and has intervals: {len(intervals)}"
        findings.append(note(video_id, "negative_with_intervals", message))
        intervals = []
    return intervals, findings


def withheld(consent: Mapping[str, str], flags: Mapping[str, str]) -> list[str]:
    """Why a video may not be used, one line per required flag that is absent or different."""
    return [
        f"{name!r} is {flags.get(name, 'not stated')}, must be {required}"
        for name, required in consent.items()
        if flags.get(name, "").strip().casefold() != required.casefold()
    ]


def participants_in_two_splits(videos: Sequence[Mapping[str, Any]]) -> Rows:
    """One finding per participant, however spelled, whose videos are in more than one split."""
    found: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for video in videos:
        if video["participant_id"] is not None and video["split"] is not None:
            spelling = video["participant_id"]
            found[person(spelling)][spelling].add(video["split"])
    findings = []
    for _, spellings in sorted(found.items()):
        splits = set().union(*spellings.values())
        if len(splits) > 1:
            message = (
                f"participant {' = '.join(sorted(spellings))} is in {', '.join(sorted(splits))}"
            )
            findings.append(note(min(spellings), "participant_in_two_splits", message))
    return findings
