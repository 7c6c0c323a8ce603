"""The reader for documents of ELAN (``.eaf``): what people annotated, or corrected, with that tool.

A document is about the video that its media link names. That is looked for among the files of the
archive, and nowhere else, by the end of its path: a link may be of another machine. One tier, which
the entry names, has the labels with their times; who is in the video is the tier's participant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ah_ray import storage
from ah_ray.catalog.entry import CatalogEntry
from ah_ray.catalog.listing import files_below, is_video
from ah_ray.catalog.lists import drawn_split
from ah_ray.catalog.rows import (
    Catalog,
    Rows,
    check_intervals,
    labels_meant,
    participants_in_two_splits,
    video_row,
)
from ah_ray.errors import ItemError
from ah_ray.findings import note, shown
from ah_ray.participants import person
from ah_ray.schemas import stable_id
from ah_ray.tasks.answers import Answer, LabelSet

SUFFIX = ".eaf"
_LARGEST = 64 * 2**20  # bytes of a document


class Document(NamedTuple):
    """What a document says.

    Attributes:
        media: the links to its media, in order.
        participant: of the tier; None where it states nobody.
        marks: start and end in seconds (None where one is not aligned) and value, in order; None
            where there is no such tier.
    """

    media: list[str]
    participant: str | None
    marks: list[tuple[float | None, float | None, str]] | None


def read(entry: CatalogEntry, root: str, answer: Answer) -> Catalog:
    """Every video that a document is about, as a row or as a finding."""
    assert entry.elan is not None  # checked by CatalogEntry
    files, refused = files_below(root)
    ends: dict[str, list[str]] = defaultdict(list)
    for path in files:
        if is_video(path):
            ends[PurePosixPath(path).name].append(path)
    videos: dict[str, dict[str, Any]] = {}
    findings: Rows = [note(stable_id(path), *refusal) for path, refusal in refused.items()]
    for path in sorted(path for path in files if path.lower().endswith(SUFFIX)):
        try:
            document = parse(_content(files[path]), entry.elan.tier)
            video = _file(path, document, ends)
        except ItemError as error:
            findings.append(note(path, error.kind, f"{path}: {error.message}"))
            continue
        if video in videos:
            message = f"{path} is about {video}, as an earlier document is"
            findings.append(note(path, "duplicate_row", message))
            continue
        videos[video], notes = _video(path, document, video, files[video], entry, answer)
        findings += notes
    rows = list(videos.values())
    findings += participants_in_two_splits(rows)
    if unnamed := sum(is_video(path) for path in files) - len(videos):
        message = f"video files that no document is about: {unnamed}"
        findings.append(note(root, "ignored_files", message))
    return Catalog(rows, findings)


def parse(content: bytes, tier: str) -> Document:
    """What a document says of a tier; entities and declarations that could do harm are refused.

    Raises:
        ItemError: it is no document of ELAN.
    """
    try:
        root = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, RecursionError) as error:
        raise ItemError("bad_row", f"is no XML that can be read: {error}") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise ItemError("bad_row", f"is no document of ELAN: it begins with {shown(root.tag)}")
    media = [
        link
        for part in root.iter("MEDIA_DESCRIPTOR")
        for link in (part.get("RELATIVE_MEDIA_URL"), part.get("MEDIA_URL"))
        if link
    ]
    found = next((part for part in root.iter("TIER") if part.get("TIER_ID") == tier), None)
    if found is None:
        return Document(media, None, None)
    participant = (found.get("PARTICIPANT") or "").strip() or None
    return Document(media, participant, list(_marks(root, found)))


def _marks(root: Element, tier: Element) -> Iterator[tuple[float | None, float | None, str]]:
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}

    def seconds(reference: str | None) -> float | None:
        value = times.get(reference)
        return int(value) / 1000 if value is not None and value.isdecimal() else None

    for part in tier.iter("ALIGNABLE_ANNOTATION"):
        value = (part.findtext("ANNOTATION_VALUE") or "").strip()
        places = (part.get(f"TIME_SLOT_REF{k}") for k in (1, 2))
        start_s, end_s = map(seconds, places)
        yield start_s, end_s, value


def _content(uri: str) -> bytes:
    if storage.size(uri) > _LARGEST:
        raise ItemError("bad_row", f"is larger than {_LARGEST >> 20} MiB")
    return storage.read_bytes(uri)


def _file(path: str, document: Document, ends: Mapping[str, list[str]]) -> str:
    """The video of the archive that a document is about.

    Raises:
        ItemError: it names none, none that is there, or one that several files may be.
    """
    if not document.media:
        raise ItemError("bad_row", "links to no media")
    best: list[str] = []
    for link in document.media:
        parts = [part for part in unquote(link).replace("\\", "/").split("/") if part]
        alike = {
            file: _common(PurePosixPath(file).parts, parts)
            for file in ends.get(parts[-1] if parts else "", ())
        }
        best = [file for file, count in alike.items() if count == max(alike.values())]
        if len(best) == 1:
            return best[0]
    if best:
        raise ItemError("bad_row", f"links to {shown(link)}, which may be {' or '.join(best)}")
    raise ItemError("missing_file", f"links to {shown(link)}, and there is no such file")


def _common(one: tuple[str, ...], other: list[str]) -> int:
    """How many names two paths end with alike."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _video(
    path: str, document: Document, file: str, uri: str, entry: CatalogEntry, answer: Answer
) -> tuple[dict[str, Any], Rows]:
    """The row of a video, and the findings about what is said of it."""
    assert entry.elan is not None
    video_id = stable_id(file)
    labels, annotated, findings = _said(video_id, path, document, entry, answer)
    intervals, notes = check_intervals(video_id, path, labels, annotated, entry, answer)
    who = document.participant
    split = None
    if entry.elan.shares:
        split = drawn_split(person(who) if who else file, entry.elan.shares)
    row = video_row(video_id, uri, who, split, labels, intervals)
    return row, findings + notes


def _said(
    video_id: str, path: str, document: Document, entry: CatalogEntry, answer: Answer
) -> tuple[LabelSet | None, list[list[Any]] | None, Rows]:
    """Labels of a video, its intervals as ``check_intervals`` takes them, and findings."""
    assert entry.elan is not None
    tier = entry.elan.tier
    if document.marks is None:
        message = f"{path} has no tier {tier}: nothing is known of its video"
        return None, None, [note(video_id, "label_invalid", message)]
    if not answer.votes:  # who asks for text asks for no labels
        return None, None, []
    found: set[str] = set()
    intervals: list[list[Any]] = []
    findings: Rows = []
    for start_s, end_s, value in document.marks:
        meant = labels_meant(value, entry, answer)
        if not meant:
            message = f"{path} has {shown(value)} in tier {tier}: {answer.advice(value)}"
            findings.append(note(video_id, "label_invalid", message))
            continue
        found |= meant
        for label in sorted(meant - {answer.absent}):
            intervals.append([start_s, end_s, label])
    if found - {answer.absent}:
        found -= {answer.absent or ""}
    elif answer.absent is not None and not findings:
        found = {answer.absent}  # somebody looked, and saw nothing
    if len(found) > 1 and answer.options:
        message = f"{path} has {', '.join(sorted(found))} in tier {tier}, and a video has one"
        return None, None, [*findings, note(video_id, "label_invalid", message)]
    labels = frozenset(found) if found or not answer.options else None
    return labels, intervals if labels is not None else None, findings
