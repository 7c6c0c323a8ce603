"""The reader for a table of videos: Parquet, CSV or JSON lines, with one row per video.

Columns: ``uri`` (relative ones are relative to the table's folder) and, as far as known,
``video_id``, ``participant_id``, ``split``, ``label`` (0 or 1) and ``intervals`` (a list of
``[start, end]`` or of ``{start_s, end_s}``; in CSV, that list as JSON). Times are seconds or
``HH:MM:SS.mmm``. Every other column becomes an attribute.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ah_ray import storage
from ah_ray.catalog.entry import CatalogEntry
from ah_ray.catalog.listing import resolve
from ah_ray.catalog.rows import (
    Catalog,
    Rows,
    check_intervals,
    parse_label,
    participants_in_two_splits,
    video_row,
    withheld,
)
from ah_ray.errors import ConfigError
from ah_ray.findings import note, shown
from ah_ray.schemas import stable_id

COLUMNS = ("uri", "video_id", "participant_id", "split", "label", "intervals")

#: A row by column name, or the text of what is no row.
Row = dict[str, Any] | str


def read(entry: CatalogEntry, root: str) -> Catalog:
    """Every row of the table ``root``, as a video or as a finding.

    Raises:
        ConfigError: the table is missing, of an unknown format, or has no column ``uri``.
    """
    rows = _load(root)
    columns = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    if rows and "uri" not in columns:
        raise ConfigError(
            root,
            "has no column 'uri'",
            f"rename one of its columns: {', '.join(columns) or 'none'}",
        )
    folder = storage.absolute(root).rpartition("/")[0]
    videos: Rows = []
    findings: Rows = []
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        where = f"row {number} of {PurePosixPath(root).name}"
        video, notes = _video(row, where, folder, "intervals" in columns, entry.consent)
        if video is not None and video["video_id"] in seen:
            message = f"{where} has the id {video['video_id']} of an earlier row"
            video, notes = None, [note(where, "duplicate_row", message)]
        if video is not None:
            seen.add(video["video_id"])
            videos.append(video)
        findings += notes
    return Catalog(videos, findings + participants_in_two_splits(videos))


def _video(
    row: Row, where: str, folder: str, has_intervals: bool, consent: Mapping[str, str]
) -> tuple[dict[str, Any] | None, Rows]:
    """The video of a row, None if it cannot be used, and the findings about it."""
    if isinstance(row, str):
        return None, [note(where, "bad_row", f"{where} is no row: {shown(row)}")]
    stated = {k: v for k, v in row.items() if _is_stated(v)}
    if not isinstance(uri := stated.get("uri"), str):
        return None, [note(where, "bad_row", f"{where} has the uri {shown(uri)}")]
    try:
        resolved = resolve(uri, folder)
    except (ImportError, ValueError) as error:
        kind = "unsafe_key" if ".." in PurePosixPath(uri).parts else "bad_row"
        return None, [note(where, kind, f"{where}: {error}")]
    video_id = str(stated.get("video_id") or stable_id(uri))
    attributes = {k: _text(v) for k, v in stated.items() if k not in COLUMNS}
    if reasons := withheld(consent, attributes):
        return None, [note(video_id, "consent_denied", f"{where}: {'; '.join(reasons)}")]
    label, notes = parse_label(stated.get("label")), []
    if label is None and "label" in stated:
        notes.append(
            note(video_id, "label_invalid", f"{where} has the label {shown(stated['label'])}")
        )
    annotated = _pairs(stated.get("intervals", [])) if has_intervals else None
    intervals, more = check_intervals(video_id, where, label, annotated)
    participant, split = (
        str(stated[name]) if name in stated else None for name in ("participant_id", "split")
    )
    video = video_row(video_id, resolved, participant, split, label, intervals, attributes)
    return video, notes + more


def _is_stated(value: object) -> bool:
    """Whether a cell says something: not null, not empty, not NaN (a null in pandas)."""
    return value is not None and value != "" and value == value


def _pairs(intervals: object) -> object:
    """Intervals as a list of pairs, where they have that form."""
    if isinstance(intervals, str):
        try:
            intervals = json.loads(intervals)
        except ValueError:
            return intervals
    if not isinstance(intervals, list):
        return intervals
    return [[i.get("start_s"), i.get("end_s")] if isinstance(i, dict) else i for i in intervals]


def _text(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return {True: "Yes", False: "No"}[value] if isinstance(value, bool) else str(value)


def _load(uri: str) -> list[Row]:
    """All rows of the table."""
    suffix = PurePosixPath(uri).suffix.lower()
    if suffix not in _FORMATS:
        raise ConfigError(
            uri, f"{suffix or 'no suffix'} is no known table", f"use one of {', '.join(_FORMATS)}"
        )
    try:
        return list(_FORMATS[suffix](uri))
    except FileNotFoundError:
        raise ConfigError(uri, "there is no such file", "check catalog.root") from None
    except (pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(uri, f"cannot be read: {error}", "check its format") from None


def _load_parquet(uri: str) -> Iterable[Row]:
    with storage.open_read(uri) as file:
        rows: list[Row] = pq.read_table(file).to_pylist()
    return rows


def _load_csv(uri: str) -> Iterator[Row]:
    """Every cell as text: a participant ``007`` is not the number 7."""
    text = storage.read_bytes(uri).decode("utf-8-sig")
    rows = csv.reader(io.StringIO(text, newline=""))
    names = next(rows, [])
    for row in rows:
        if row:
            yield dict(zip(names, row, strict=True)) if len(row) == len(names) else ",".join(row)


def _load_json(uri: str) -> Iterator[Row]:
    """One object per line; line by line, so that a bad one costs only itself."""
    for line in storage.read_bytes(uri).decode("utf-8-sig").split("\n"):
        if line.strip():
            try:
                row = json.loads(line)
                json.dumps(row, ensure_ascii=False).encode()  # an escape may be half a character
            except (ValueError, RecursionError):
                row = None
            yield row if isinstance(row, dict) else line


_FORMATS: dict[str, Callable[[str], Iterable[Row]]] = {
    ".parquet": _load_parquet,
    ".csv": _load_csv,
    ".jsonl": _load_json,
    ".ndjson": _load_json,
}
