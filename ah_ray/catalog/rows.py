"""What every reader returns, and the checks that all readers share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ah_ray.catalog.entry import CatalogEntry
from ah_ray.catalog.intervals import clean_intervals
from ah_ray.findings import note, shown
from ah_ray.participants import person
from ah_ray.tasks.answers import Answer, LabelSet

Rows = list[dict[str, Any]]

_WORDS = str | int | float  # that may be a label


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
    labels: LabelSet | None = None,
    intervals: Iterable[Interval] = (),
    attributes: Mapping[str, str] | None = None,
    subtitles: Iterable[Subtitle] = (),
) -> dict[str, Any]:
    """One row of ``schemas.VIDEOS``."""
    return {
        "video_id": video_id,
        "uri": uri,
        "participant_id": participant_id,
        "split": split,
        "labels": None if labels is None else sorted(labels),
        "intervals": [interval._asdict() for interval in intervals],
        "subtitles": [subtitle._asdict() for subtitle in subtitles],
        "attributes": sorted((attributes or {}).items()),
    }


class Interval(NamedTuple):
    """Where something is annotated, in seconds; no label stands for those of the video."""

    start_s: float
    end_s: float
    label: str | None = None


class Subtitle(NamedTuple):
    """What is said, and when, in seconds; no times stand for the whole video."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


def labels_meant(value: object, entry: CatalogEntry, answer: Answer) -> LabelSet | None:
    """The labels of the task that an archive states with ``value``; None when it states none.

    Args:
        value: as it stands there.
        entry: translates the archive's words (``labels``).
        answer: the task's, which knows the usual words for its labels.
    """
    words = {word.strip().casefold(): label for word, label in entry.labels.items()}
    # What is nested may be endless, and a number of thousands of digits has no text.
    parts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, _WORDS) for part in parts):
        return None
    try:
        return answer.meant(value, words)
    except ValueError:
        return None


def check_intervals(
    video_id: str,
    name: str,
    labels: LabelSet | None,
    annotated: object,
    entry: CatalogEntry,
    answer: Answer,
) -> tuple[list[Interval], Rows]:
    """The intervals of a video that agree with its labels, and the findings about them.

    Args:
        video_id: of the video.
        name: of the video, for people.
        labels: of the video.
        annotated: its list of intervals as annotated, each ``[start, end]``, or with a label of its
            own after them; None when the archive does not state any.
        entry: translates the archive's words (``labels``).
        answer: the task's; where an option says that what is looked for is absent, that option has
            no intervals and the other one needs some.

    Returns:
        Sorted intervals, those of one label disjoint, and rows of ``schemas.FINDINGS``.
    """
    intervals: list[Interval] = []
    findings: Rows = []
    whole, groups = _by_label(annotated)
    meant: dict[str | None, Any] = {None: whole}
    for word, pairs in groups.items():
        own = labels_meant(word, entry, answer)
        if own is None or len(own) != 1:
            message = f"{name}: an interval has the label {shown(word)}: {answer.advice(word)}"
            findings.append(note(video_id, "interval_unparsable", message))
            continue
        label = None if own == labels else next(iter(own))
        meant[label] = [*meant.get(label, ()), *pairs]
    for shows, some in meant.items():
        usable, problems = clean_intervals(some)
        intervals += [Interval(*pair, shows) for pair in usable]
        findings += [note(video_id, kind, f"{name}: {message}") for kind, message in problems]
    if answer.absent is None or labels is None:
        return sorted(intervals, key=_order), findings
    if answer.absent in labels and intervals:
        message = f"{name} is {answer.absent} and has intervals: {len(intervals)}"
        return [], [*findings, note(video_id, "negative_with_intervals", message)]
    if answer.absent not in labels and not intervals and annotated is not None:
        message = f"{name} is {', '.join(sorted(labels))} and has no usable interval"
        findings.append(note(video_id, "positive_without_intervals", message))
    return sorted(intervals, key=_order), findings


def _by_label(annotated: object) -> tuple[Any, dict[Any, list[Any]]]:
    """Annotated intervals without a label of their own, as they are, and the others by theirs."""
    if not isinstance(annotated, list | tuple):
        return annotated, {}
    whole: list[object] = []
    groups: dict[Any, list[object]] = {}
    for item in annotated:
        *pair, label = item if isinstance(item, list | tuple) and len(item) == 3 else (None, None)
        if isinstance(label, _WORDS):
            groups.setdefault(label, []).append(pair)
        else:  # [start, end, null] has none, as a row of a table may
            whole.append(pair if len(pair) == 2 and label is None else item)
    return whole, groups


def _order(interval: Interval) -> tuple[float, float, str]:
    return interval.start_s, interval.end_s, interval.label or ""


def needs_interval(video: Mapping[str, Any], absent: str | None) -> bool:
    """Whether a labelled video can be trained on by its annotated intervals alone.

    Where one option says that what is looked for is absent, the other one is true of some moments
    and not of the whole video; of other options each is true of the whole.

    Args:
        video: a row of ``schemas.VIDEOS``.
        absent: that option, if there is one.
    """
    return absent is not None and absent not in video["labels"]


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
