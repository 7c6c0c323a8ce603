"""The reader for a table of videos: Parquet, CSV or JSON lines, with one row per video.

Columns: ``uri`` (relative ones are relative to the table's folder) and, as far as known,
``video_id``, ``participant_id``, ``split``, ``label`` (a label of the task; of two options also 1
and 0) and ``intervals`` (a list of ``[start, end]`` or of ``{start_s, end_s}``, each with a label
of its own if it has one; in CSV, that list as JSON). Times are seconds or
``HH:MM:SS.mmm``. Every other column becomes an attribute, unless its name is nearly one of these
(``wording``).
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ah_ray import storage
from ah_ray.catalog.entry import CatalogEntry
from ah_ray.catalog.listing import is_picture, resolve
from ah_ray.catalog.rows import (
    Catalog,
    Rows,
    check_intervals,
    labels_meant,
    participants_in_two_splits,
    video_row,
    withheld,
)
from ah_ray.catalog.wording import (
    COLUMNS,
    Wording,
    check_columns,
    require_unique,
    separator,
    uri_column,
)
from ah_ray.errors import ConfigError
from ah_ray.findings import note, shown
from ah_ray.schemas import stable_id
from ah_ray.tasks.answers import Answer

# A cell may hold a transcript; Python's own limit is 131,072 characters.
csv.field_size_limit(2**31 - 1)

#: A row by column name, or the text of what is none.
Line = dict[str, Any] | str


def read(entry: CatalogEntry, root: str, answer: Answer) -> Catalog:
    """Every row of the table ``root``, as a video or as a finding.

    Raises:
        ConfigError: the table is missing, of an unknown format, or has no column ``uri``; a column
            is there twice, or nearly has the name of one that is not there.
    """
    rows, findings = _load(root)
    columns = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    attributes = [name for name in columns if name not in entry.consent]
    findings = [*findings, *check_columns(root, attributes)]
    if rows and "uri" not in columns:
        raise ConfigError(root, "has no column 'uri'", uri_column(columns))
    folder = storage.absolute(root).rpartition("/")[0]
    wording = Wording(root, answer.options)
    videos: list[tuple[str, dict[str, Any]]] = []
    for number, row in enumerate(rows, start=1):
        where = f"row {number} of {PurePosixPath(root).name}"
        video, notes = _video(row, where, folder, "intervals" in columns, entry, answer, wording)
        if video is not None:
            videos.append((where, video))
        findings += notes
    kept, repeated = _once(videos)
    findings += [*repeated, *participants_in_two_splits(kept)]
    splits = {video["split"] for video in kept} - {None}
    if splits and all(video["participant_id"] is None for video in kept):
        message = "no row says who is in its video: there is no column participant_id"
        findings.append(note(root, "no_participants", message))
    return Catalog(kept, findings + wording.findings(splits))


def _once(videos: Sequence[tuple[str, dict[str, Any]]]) -> tuple[Rows, Rows]:
    """The rows whose id and file no earlier row has, and findings about the others.

    What is in two splits is left out of both: in either it would leak.
    """
    splits: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for _, video in videos:
        for name in ("video_id", "uri"):
            splits[name, video[name]] |= {video["split"]} - {None}
    kept: Rows = []
    findings: Rows = []
    seen: set[tuple[str, str]] = set()
    for where, video in videos:
        keys = [(name, video[name]) for name in ("video_id", "uri")]
        two = next((sorted(splits[key]) for key in keys if len(splits[key]) > 1), None)
        if two:
            message = f"{where}: {video['uri']} is in {', '.join(two)}"
            findings.append(note(where, "video_in_two_splits", message))
        elif keys[0] in seen:
            message = f"{where} has the id {video['video_id']} of an earlier row"
            findings.append(note(where, "duplicate_row", message))
        elif keys[1] in seen:
            message = f"{where} has the file {video['uri']} of an earlier row under another id"
            findings.append(note(where, "duplicate_uri", message))
        else:
            kept.append(video)
            seen.update(keys)
    return kept, findings


def _video(
    row: Line,
    where: str,
    folder: str,
    has_intervals: bool,
    entry: CatalogEntry,
    answer: Answer,
    wording: Wording,
) -> tuple[dict[str, Any] | None, Rows]:
    """The video of a row, None if it cannot be used, and the findings about it."""
    if isinstance(row, str):
        return None, [note(where, "bad_row", f"{where} is no row: {shown(row)}")]
    stated = wording.stated(row)
    if not isinstance(uri := stated.get("uri"), str):
        return None, [note(where, "bad_row", f"{where} has the uri {shown(uri)}")]
    try:
        resolved = resolve(uri, folder)
    except (ImportError, ValueError) as error:
        kind = "unsafe_key" if ".." in PurePosixPath(uri).parts else "bad_row"
        return None, [note(where, kind, f"{where}: {error}")]
    for name in ("video_id", "participant_id", "split"):
        if isinstance(value := stated.get(name), dict | list | bytes):
            return None, [note(where, "bad_row", f"{where} has the {name} {shown(value)}")]
    video_id = str(stated.get("video_id", stable_id(uri)))
    attributes = {k: _text(v) for k, v in stated.items() if k not in COLUMNS}
    if reasons := withheld(entry.consent, attributes):
        return None, [note(video_id, "consent_denied", f"{where}: {'; '.join(reasons)}")]
    labels, notes = None, []
    if "label" in stated and answer.votes:  # who asks for text asks for no labels
        labels = labels_meant(stated["label"], entry, answer)
        wording.label(stated["label"], labels)
        if labels is None:
            advice = answer.advice(stated["label"])
            message = f"{where} has the label {shown(stated['label'])}: {advice}"
            notes.append(note(video_id, "label_invalid", message))
    if is_picture(resolved):  # it needs none
        has_intervals = "intervals" in stated
    annotated = _pairs(stated.get("intervals", [])) if has_intervals else None
    intervals, more = check_intervals(video_id, where, labels, annotated, entry, answer)
    participant, split = (
        str(stated[name]) if name in stated else None for name in ("participant_id", "split")
    )
    video = video_row(video_id, resolved, participant, split, labels, intervals, attributes)
    return video, notes + more


def _pairs(intervals: object) -> object:
    """Intervals as a list of pairs, where they have that form."""
    if isinstance(intervals, str):
        try:
            intervals = json.loads(intervals)
        except ValueError:
            return intervals
    if not isinstance(intervals, list):
        return intervals
    keys = ("start_s", "end_s", "label")
    return [[i.get(key) for key in keys] if isinstance(i, dict) else i for i in intervals]


def _text(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return {True: "Yes", False: "No"}[value] if isinstance(value, bool) else str(value)


def _load(uri: str) -> tuple[list[Line], Rows]:
    """All rows of the table, and what is odd about how it is written."""
    suffix = PurePosixPath(uri).suffix.lower()
    if suffix not in _FORMATS:
        raise ConfigError(
            uri, f"{suffix or 'no suffix'} is no known table", f"use one of {', '.join(_FORMATS)}"
        )
    try:
        return _FORMATS[suffix](uri)
    except FileNotFoundError:
        raise ConfigError(uri, "there is no such file", "check catalog.root") from None
    except (pa.ArrowException, csv.Error, ValueError, OverflowError) as error:
        raise ConfigError(uri, f"cannot be read: {error}", "check its format") from None


def _load_parquet(uri: str) -> tuple[list[Line], Rows]:
    with storage.open_read(uri) as file:
        parquet = pq.ParquetFile(file)
        require_unique(uri, parquet.schema_arrow.names)  # of two of one name Arrow reads none
        table = parquet.read()
    # Python knows no year 50,000 and no nanoseconds: dates and times become text in Arrow.
    for index, column in enumerate(table.schema):
        if pa.types.is_temporal(column.type) and not pa.types.is_interval(column.type):
            text = table.column(index).cast(pa.string())
            table = table.set_column(index, column.name, text)
    rows: list[Line] = table.to_pylist()
    return rows, []


def _load_csv(uri: str) -> tuple[list[Line], Rows]:
    """Every cell as text: a participant ``007`` is not the number 7."""
    text = storage.read_bytes(uri).decode("utf-8-sig")
    mark = separator(text.partition("\n")[0].rstrip("\r"))
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    names = next(lines, [])
    require_unique(uri, names)
    rows: list[Line] = [
        dict(zip(names, row, strict=True)) if len(row) == len(names) else mark.join(row)
        for row in lines
        if row
    ]
    message = f"its cells are separated by {mark!r}"
    return rows, [] if mark == "," else [note(uri, "separator", message)]


def _load_json(uri: str) -> tuple[list[Line], Rows]:
    """One object per line; line by line, so that a bad one costs only itself."""
    rows: list[Line] = []
    for line in storage.read_bytes(uri).decode("utf-8-sig").split("\n"):
        if line.strip():
            try:
                row = json.loads(line, object_pairs_hook=_unique)
                json.dumps(row, ensure_ascii=False).encode()  # an escape may be half a character
            except (ValueError, RecursionError):
                row = None
            rows.append(row if isinstance(row, dict) else line)
    return rows, []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without a key that is there twice, of which Python would keep the last."""
    if len(values := dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return values


_FORMATS: dict[str, Callable[[str], tuple[list[Line], Rows]]] = {
    ".parquet": _load_parquet,
    ".csv": _load_csv,
    ".jsonl": _load_json,
    ".ndjson": _load_json,
}
