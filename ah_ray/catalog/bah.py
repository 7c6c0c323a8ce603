"""The reader for BAH and for archives in its format (the synthetic one, for example).

Three sources speak about a video: the annotation file, the split files and the metadata of its
participant. What happens when they are odd or disagree is stated in ``ah_ray.findings``.
"""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode

from ah_ray import storage
from ah_ray.catalog.bah_yaml import read_annotations
from ah_ray.catalog.entry import BahFiles, CatalogEntry
from ah_ray.catalog.listing import Refusal, files_below
from ah_ray.catalog.rows import (
    Catalog,
    Rows,
    check_intervals,
    labels_meant,
    participants_in_two_splits,
    video_row,
    withheld,
)
from ah_ray.errors import ConfigError
from ah_ray.findings import note, shown
from ah_ray.schemas import stable_id
from ah_ray.tasks.answers import Answer, LabelSet
from ah_ray.yaml_nodes import check_nodes

SPLITS = ("train", "val", "test")
VIDEOS = "Videos"  # the folder that every key starts with


class Annotation(NamedTuple):
    """What is used of a video's entry in the annotation file, as it stands there."""

    label: object
    intervals: object
    lengths: dict[str, int]  # of the lists that should be as long as the intervals
    attributes: dict[str, str]


class SplitLine(NamedTuple):
    """A line of a split file."""

    split: str
    label: str


class Sources(NamedTuple):
    """Everything that the archive states, by the canonical key of the video."""

    annotations: Mapping[str, Sequence[Annotation]]
    splits: Mapping[str, Sequence[SplitLine]]
    people: Mapping[str, Sequence[Mapping[str, str]]]  # metadata by participant
    files: Mapping[str, str]  # URIs
    refused: Mapping[str, Refusal]  # files and folders that may not be used
    listed: int  # files in all

    def attributes(self, participant: str | None) -> Mapping[str, str]:
        """The metadata of a participant; none when they are unknown or contradict each other."""
        stated = self.people.get(participant or "", ())
        return stated[0] if stated and not _differ(stated) else {}


def read(entry: CatalogEntry, root: str, answer: Answer) -> Catalog:
    """Every video that the annotation file or a split file names, as a row or as a finding.

    Raises:
        ConfigError: a file of the archive is missing or cannot be read.
    """
    assert entry.files is not None  # checked by CatalogEntry
    sources = _sources(entry.files, root)
    keys = sources.annotations.keys() | sources.splits.keys()
    videos: Rows = []
    findings: Rows = []
    for key in sorted(keys):
        if reason := _left_out(key, sources, entry.consent):
            findings.append(reason)
        else:
            video, notes = _video(key, sources, entry, answer)
            videos.append(video)
            findings += notes
    findings += participants_in_two_splits(videos)
    findings += _odd_metadata(videos, sources, entry.files)
    if unnamed := sources.listed - len(keys & (sources.files.keys() | sources.refused.keys())):
        message = f"files that no annotation or split file names: {unnamed}"
        findings.append(note(root, "ignored_files", message))
    return Catalog(videos, findings)


def canonical(path: str) -> str:
    """The key of a video: the split files write a space where annotations have an underscore.

    >>> canonical("Videos/1/./a 2.mp4")
    'Videos/1/a_2.mp4'
    """
    return str(PurePosixPath(path)).replace(" ", "_")


def _sources(files: BahFiles, root: str) -> Sources:
    # One listing instead of a question per video. Should a file be there in both spellings, the
    # one with underscores, which the listing has last, is used.
    videos, refused = files_below(storage.join(root, VIDEOS))
    return Sources(
        annotations=_annotations(_only_match(root, files.annotations)),
        splits=_split_lines(storage.join(root, files.splits)),
        people=_metadata(storage.join(root, files.metadata)) if files.metadata else {},
        files={canonical(f"{VIDEOS}/{path}"): uri for path, uri in videos.items()},
        refused={canonical(f"{VIDEOS}/{path}"): why for path, why in refused.items()},
        listed=len(videos) + len(refused),
    )


def _annotations(uri: str) -> dict[str, list[Annotation]]:
    found: defaultdict[str, list[Annotation]] = defaultdict(list)
    with storage.open_read(uri) as stream:
        for key, values in read_annotations(stream, uri):
            found[canonical(key)].append(_annotation(values))
    return dict(found)


def _annotation(values: Mapping[str, Any]) -> Annotation:
    lists = {name: values.get(name) for name in ("all_cues", "certainty_ah")}
    attributes = {
        "annotator": values.get("annotator_id"),
        "certainty": lists["certainty_ah"],
        "language": _language(values.get("transcript")),
    }
    return Annotation(
        label=values.get("global_ah"),
        intervals=values.get("time_detailed_ah") or [],
        lengths={name: len(v) for name, v in lists.items() if isinstance(v, list)},
        attributes={k: _text(v) for k, v in attributes.items() if v not in (None, [])},
    )


def _language(transcript: object) -> object:
    """The language of the first chunk of a transcript, if there is one."""
    chunks = transcript.get("chunks") if isinstance(transcript, dict) else None
    first = chunks[0] if isinstance(chunks, list) and chunks else None
    return first.get("language") if isinstance(first, dict) else None


def _text(value: object) -> str:
    """A scalar or a flat list as text; what is nested, which may be endless, is cut short."""
    parts = value if isinstance(value, list) else [value]
    return ",".join(v if isinstance(v, str) else shown(v) for v in parts)


def _split_lines(folder: str) -> dict[str, list[SplitLine]]:
    """The lines ``<path>,<0|1>,<transcript>``; the transcript has commas and is not quoted."""
    found: defaultdict[str, list[SplitLine]] = defaultdict(list)
    for split in SPLITS:
        text = _read_text(storage.join(folder, f"{split}.txt"))
        for line in text.split("\n"):
            if line.strip():
                path, label, *_ = [*line.split(",", 2), ""]
                found[canonical(path.strip())].append(SplitLine(split, label.strip()))
    return dict(found)


def _metadata(uri: str) -> dict[str, list[dict[str, str]]]:
    """Every entry about a participant, each value as it is written (``Yes`` is no boolean here)."""
    people: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    text = _read_text(uri)
    try:
        loader = yaml.BaseLoader(text)  # builds only text
        root = loader.get_single_node()
        if isinstance(root, MappingNode):
            for _, value in root.value:  # a participant may have several entries
                check_nodes(value, merges=False)
        if not isinstance(root, MappingNode):
            raise ConfigError(uri, "is no mapping by participant", "use the file as published")
        for key, value in root.value:  # a dictionary would keep only the last of several entries
            values = loader.construct_object(value, deep=True)
            if isinstance(values, dict):
                person = _text(loader.construct_object(key, deep=True))
                people[person].append({str(k): _text(v) for k, v in values.items()})
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(uri, f"is no YAML: {error}", "use the file as published") from None
    return dict(people)


def _differ(stated: Sequence[Mapping[str, str]]) -> bool:
    """Whether several entries about one participant contradict each other."""
    return any(other != stated[0] for other in stated)


def _read_text(uri: str) -> str:
    try:
        return storage.read_bytes(uri).decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            uri, "there is no such file", "check catalog.root and `files` of the catalog entry"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(uri, f"is no UTF-8: {error}", "use the file as published") from None


def _only_match(root: str, pattern: str) -> str:
    """The one file below ``root`` that matches ``pattern``."""
    matches = storage.list_files(storage.join(glob.escape(root), pattern))
    if len(matches) != 1:
        raise ConfigError(
            storage.join(root, pattern),
            f"{len(matches)} files match, one is needed",
            "check catalog.root, or name the file in `files.annotations` of the catalog entry",
        )
    return matches[0]


def _participant(key: str) -> str | None:
    """The participant in ``Videos/<participant>/…/<file>``."""
    parts = PurePosixPath(key).parts
    return parts[1] if len(parts) > 2 else None


def _left_out(key: str, sources: Sources, consent: Mapping[str, str]) -> dict[str, str] | None:
    """The finding that keeps a video out of the catalog, if there is a reason."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts:
        return note(key, "unsafe_key", f"{key} is not a path inside the archive")
    video_id = stable_id(key)
    splits = sorted({line.split for line in sources.splits.get(key, ())})
    if len(splits) > 1:
        return note(video_id, "video_in_two_splits", f"{key} is in {', '.join(splits)}")
    if reasons := withheld(consent, sources.attributes(_participant(key))):
        return note(video_id, "consent_denied", f"{key}: {'; '.join(reasons)}")
    # A refused folder takes all that is below it with it.
    for part in (key, *map(str, path.parents)):
        if part in sources.refused:
            kind, message = sources.refused[part]
            return note(video_id, kind, f"{key}: {message}")
    if key not in sources.files:
        return note(video_id, "missing_file", f"{key} is listed and not there")
    return None


def _video(
    key: str, sources: Sources, catalog: CatalogEntry, answer: Answer
) -> tuple[dict[str, Any], Rows]:
    """The row of a video that can be used, and the findings about it."""
    video_id, participant = stable_id(key), _participant(key)
    entries, lines = sources.annotations.get(key, ()), sources.splits.get(key, ())
    entry, line = next(iter(entries), None), next(iter(lines), None)
    found: list[tuple[str, str]] = []
    if participant is None:
        found.append(("participant_unknown", f"{key} names no participant"))
    if len(entries) > 1:
        found.append(("duplicate_key", f"{key} has {len(entries)} annotations"))
    if len(lines) > 1:
        found.append(("duplicate_split_line", f"{key} has {len(lines)} lines in {lines[0].split}"))
    if entry is None:
        found.append(("not_in_annotations", f"{key} is in {lines[0].split} and not annotated"))
    if line is None:
        found.append(("not_in_splits", f"{key} is annotated and in no split file"))
    labels, labels_found = _labels(key, entry, line, catalog, answer)
    annotated = entry and entry.intervals
    intervals, notes = check_intervals(video_id, key, labels, annotated, catalog, answer)
    found += labels_found + (_lengths(key, entry) if entry else [])
    attributes = {
        **_question(key),
        **(entry.attributes if entry else {}),
        **sources.attributes(participant),
    }
    row = video_row(
        video_id,
        sources.files[key],
        participant,
        line and line.split,
        labels,
        intervals,
        attributes,
    )
    return row, [note(video_id, kind, message) for kind, message in found] + notes


def _labels(
    key: str,
    entry: Annotation | None,
    line: SplitLine | None,
    catalog: CatalogEntry,
    answer: Answer,
) -> tuple[LabelSet | None, list[tuple[str, str]]]:
    """The labels of a video: that of the split file, else the annotated one."""
    stated = {
        source: value.label
        for source, value in (("the split file", line), ("the annotation", entry))
        if value is not None
    }
    read = {source: labels_meant(value, catalog, answer) for source, value in stated.items()}
    found = [
        (
            "label_invalid",
            f"{key}: the label in {source} is {shown(stated[source])}: "
            f"{answer.advice(stated[source])}",
        )
        for source, labels in read.items()
        if labels is None
    ]
    valid = [labels for labels in read.values() if labels is not None]
    if len(set(valid)) > 1:
        line_says, entry_says = (", ".join(sorted(labels)) for labels in valid)
        message = f"{key} is {line_says} in the split file and {entry_says} in the annotation"
        found.append(("label_contradiction", message))
    return next(iter(valid), None), found


def _lengths(key: str, entry: Annotation) -> list[tuple[str, str]]:
    count = len(entry.intervals) if isinstance(entry.intervals, list) else 0
    other = {name: length for name, length in entry.lengths.items() if length != count}
    if not other:
        return []
    lengths = ", ".join(f"{length} {name}" for name, length in other.items())
    return [("list_lengths_differ", f"{key} has {count} time_detailed_ah and {lengths}")]


def _question(key: str) -> dict[str, str]:
    """The number of the question that a video answers, as its file name states it."""
    match = re.search(r"_Question_(\d+)_", PurePosixPath(key).name)
    return {"question": match[1]} if match else {}


def _odd_metadata(videos: Rows, sources: Sources, files: BahFiles) -> Rows:
    """One finding per participant that the metadata do not know, or state in two ways."""
    present = {video["participant_id"] for video in videos} - {None}
    missing = sorted(present - sources.people.keys()) if files.metadata else []
    twice = sorted(p for p, stated in sources.people.items() if _differ(stated))
    return [
        note(person, "metadata_missing", f"participant {person} is not in {files.metadata}")
        for person in missing
    ] + [
        note(
            person,
            "duplicate_participant",
            f"participant {person} has {len(sources.people[person])} entries in {files.metadata}, "
            "and they differ",
        )
        for person in twice
    ]
