"""The reader for CSV files that say of videos what is known of them: words, subtitles, splits.

Which files and columns those are is stated by the entry (``entry.Lists``), so that one reader is
enough for MER2024 to MER2026, EMER, CH-SIMS, and the JSON lists of EmoSet. A video has as many rows
as there are tables.
"""

from __future__ import annotations

import glob
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ah_ray import storage
from ah_ray.catalog import pattern
from ah_ray.catalog.csv_lines import Line, problem, read_lines, require_columns
from ah_ray.catalog.entry import CatalogEntry, Lists, VideoTable
from ah_ray.catalog.json_lists import read_entries
from ah_ray.catalog.listing import Listing, files_below, is_picture, is_video
from ah_ray.catalog.rows import (
    Catalog,
    Rows,
    Subtitle,
    labels_meant,
    participants_in_two_splits,
    video_row,
    withheld,
)
from ah_ray.catalog.wording import Wording
from ah_ray.errors import ConfigError, ItemError
from ah_ray.findings import note, shown
from ah_ray.participants import person
from ah_ray.schemas import stable_id
from ah_ray.tasks.answers import Answer, LabelSet


class Stated(NamedTuple):
    """What a row says about a video: the columns that are used."""

    where: str
    uri: str  # of its file
    table: VideoTable
    cells: dict[str, str]

    @property
    def facts(self) -> Iterator[tuple[tuple[str, str], str]]:
        """What it says, by what it is and its column; what is empty is not said."""
        table = self.table
        columns = [("label", table.labels), ("subtitle", table.subtitle)]
        columns += [("participant_id", table.participant)]
        columns += [("attribute", column) for column in table.attributes]
        for name, column in columns:
            if column and self.cells[column]:
                yield (name, column if name == "attribute" else ""), self.cells[column]


def read(entry: CatalogEntry, root: str, answer: Answer) -> Catalog:
    """Every video that a table names, as a row or as a finding.

    Raises:
        ConfigError: a table or a column is missing.
    """
    assert entry.lists is not None  # checked by CatalogEntry
    listing = _videos_below(root, pattern.folders(entry.lists.videos))
    named, findings = _named(entry, root, listing)
    wording = Wording(root, answer.options)
    listed = {path for path, rows in named.items() if any(row.table.names_videos for row in rows)}
    videos: Rows = []
    for path in sorted(listed):
        video, notes = _video(path, named[path], listing, entry, answer, wording)
        videos += [] if video is None else [video]
        findings += notes
    findings += participants_in_two_splits(videos)
    splits = {video["split"] for video in videos} - {None}
    if splits and all(video["participant_id"] is None for video in videos):
        message = "no table says who is in a video: the entry names no column `participant`"
        findings.append(note(root, "no_participants", message))
    if added := sum(len(rows) for path, rows in named.items() if path not in listed):
        message = f"rows about videos that no table of videos names: {added}"
        findings.append(note(root, "ignored_rows", message))
    known = listing.files.keys() | listing.refused.keys()
    pictured = any(map(is_picture, listed))  # else pictures are something beside the videos
    unnamed = sum(is_video(path) or (pictured and is_picture(path)) for path in known - listed)
    if unnamed:
        what = "video and picture" if pictured else "video"
        message = f"{what} files that no table of videos names: {unnamed}"
        findings.append(note(root, "ignored_files", message))
    return Catalog(videos, findings + wording.findings(splits))


def list_words(cell: str) -> list[str] | None:
    """The words in a cell ``['a', 'b']`` or ``[a, b]``; None when there are no such brackets.

    As the authors of these tables read them: without brackets, split at quotes and commas.

    >>> list_words("['looking forward to', 'calm']"), list_words("[a, b"), list_words("[]")
    (['looking forward to', 'calm'], None, [])
    """
    if (match := re.fullmatch(r"\s*\[([^][{}]*)\]\s*", cell)) is None:
        return None
    return [word for part in re.split("[\"',]", match[1]) if (word := part.strip())]


def drawn_split(who: str, shares: Mapping[str, float]) -> str:
    """The split of a participant: drawn by its name alone, each as often as its share says.

    >>> drawn_split("video_0001", {"train": 1.0})
    'train'
    """
    ends = list(accumulate(shares.values()))
    at = int(stable_id("split", who), 16) / 16**16 * ends[-1]
    return list(shares)[min(bisect_right(ends, at), len(ends) - 1)]


def _named(
    entry: CatalogEntry, root: str, listing: Listing
) -> tuple[dict[str, list[Stated]], Rows]:
    """The rows about each video, by its path, and findings about those that name none."""
    assert entry.lists is not None
    named: defaultdict[str, list[Stated]] = defaultdict(list)
    findings: Rows = []
    for table in entry.lists.tables:
        uris = _files(root, table)
        if not uris:
            message = f"there is no {' or '.join(table.files)}"
            findings.append(note(root, "table_missing", message))
        for uri in uris:
            lines: Iterable[Line]
            if table.header:
                columns, lines, unit = list(table.header), read_entries(uri, table.header), "entry"
            else:
                (columns, lines), unit = read_lines(uri, entry.lists.encodings), "line"
            patterns = _usable(entry.lists, columns)
            keys = {column for one in patterns for column in pattern.columns(one)}
            require_columns(uri, columns, [*sorted(keys), *table.columns])
            used = keys | {*table.columns, *(flag for flag in entry.consent if flag in columns)}
            for line in lines:
                where = f"{unit} {line.number} of {PurePosixPath(uri).name}"
                try:
                    cells, notes = _cells(where, line, keys, used)
                    path = _path(patterns, cells, listing)
                except ItemError as error:
                    findings.append(note(where, error.kind, f"{where}: {error.message}"))
                else:
                    named[path].append(Stated(where, uri, table, cells))
                    findings += notes
    return dict(named), findings


def _usable(lists: Lists, columns: Collection[str]) -> list[str]:
    """The patterns whose columns a table has; the first one where it has those of none."""
    usable = [one for one in lists.videos if set(pattern.columns(one)) <= set(columns)]
    return usable or [lists.videos[0]]


def _path(patterns: Sequence[str], cells: Mapping[str, str], listing: Listing) -> str:
    """Where the video of a row is, or would be.

    Raises:
        ItemError: it names none.
    """
    paths: list[str] = []
    problems: list[ItemError] = []
    for one in patterns:
        try:
            paths.append(pattern.fill(one, cells))
        except ItemError as error:  # what is no number may be a name
            problems.append(error)
    if not paths:
        raise problems[0]
    known = (path for path in paths if path in listing.files or path in listing.refused)
    return next(known, paths[0])


def _files(root: str, table: VideoTable) -> list[str]:
    patterns = [storage.join(glob.escape(root), name) for name in table.files]
    uris = list(dict.fromkeys(uri for one in patterns for uri in storage.list_files(one)))
    if not uris and not table.optional:
        raise ConfigError(
            f"catalog.root: {root}",
            f"there is no {' or '.join(table.files)}",
            "check the path, or name the file under `lists.tables` of the catalog entry",
        )
    return uris


def _cells(
    where: str, line: Line, keys: Collection[str], used: Collection[str]
) -> tuple[dict[str, str], Rows]:
    """The cells of a row that are used, and the findings about those that cannot be.

    Raises:
        ItemError: it is no row, or one of the cells that name the video cannot be used.
    """
    if line.cells is None:
        raise ItemError("bad_row", f"it is no row: {shown(line.text)}")
    cells: dict[str, str] = {}
    findings: Rows = []
    for column in sorted(used):
        cell = line.cells[column]
        if reason := problem(cell):
            if column in keys:
                raise ItemError("bad_row", f"{column} {reason}")
            findings.append(note(where, "cell_unreadable", f"{where}: {column} {reason}"))
            cell = ""
        cells[column] = cell
    return cells, findings


def _videos_below(root: str, folders: Sequence[str]) -> Listing:
    """The files of the folders with the videos, by their paths in the archive."""
    found = Listing({}, {})
    for folder in folders:
        start = f"{folder}/" if folder else ""
        files, refused = files_below(storage.join(root, folder) if folder else root)
        found.files.update({f"{start}{path}": uri for path, uri in files.items()})
        found.refused.update({f"{start}{path}": why for path, why in refused.items()})
    return found


def _video(
    path: str,
    rows: Sequence[Stated],
    listing: Listing,
    entry: CatalogEntry,
    answer: Answer,
    wording: Wording,
) -> tuple[dict[str, Any] | None, Rows]:
    """The video at ``path``, None if it cannot be used, and the findings about it."""
    assert entry.lists is not None
    video_id = stable_id(path)
    firsts, findings = _firsts(path, rows)
    splits = sorted({split for row in rows if (split := _split(row, entry.lists, wording))})
    if reason := _left_out(path, splits, _denied(rows, entry.consent), listing):
        return None, [*findings, note(video_id, *reason)]
    facts: dict[tuple[str, str], tuple[str, Stated]] = {}
    for row in firsts:
        for key, cell in row.facts:
            known, earlier = facts.setdefault(key, (cell, row))
            if known != cell:
                what = " ".join(filter(None, key))
                message = f"{path}: {earlier.where} and {row.where} differ in the {what}"
                findings.append(note(video_id, "tables_differ", message))
    stated = wording.stated({name: cell for (name, _), (cell, _) in facts.items()})
    labels = None
    if "label" in stated:
        where = facts["label", ""][1].where
        labels, notes = _labels(video_id, where, stated["label"], entry, answer)
        if list_words(stated["label"]) is None:
            wording.label(stated["label"], labels)
        findings += notes
    participant = stated.get("participant_id")
    split = next(iter(splits), None)
    if entry.lists.shares:
        split = drawn_split(person(participant) if participant else path, entry.lists.shares)
    attributes = {column: cell for (name, column), (cell, _) in facts.items() if column}
    said = [Subtitle(stated["subtitle"])] if "subtitle" in stated else []
    video = video_row(
        video_id, listing.files[path], participant, split, labels, (), attributes, said
    )
    return video, findings


def _firsts(path: str, rows: Iterable[Stated]) -> tuple[list[Stated], Rows]:
    """The first row of each file about a video, and findings about its others."""
    firsts: dict[str, Stated] = {}
    findings: Rows = []
    for row in rows:
        first = firsts.setdefault(row.uri, row)
        if first is row:
            continue
        other = [column for column, cell in row.cells.items() if cell != first.cells[column]]
        message = f"{row.where} is about {path}, as {first.where} is"
        if other:
            message += f", and differs in {', '.join(other)}"
        kind = "duplicate_row" if other else "repeated_row"
        findings.append(note(row.where, kind, message))
    return list(firsts.values()), findings


def _split(row: Stated, lists: Lists, wording: Wording) -> str | None:
    """The split that a row states."""
    table = row.table
    word = row.cells[table.split] if table.split else table.all_in
    meant: str | None = wording.stated({"split": lists.splits.get(word or "", word)}).get("split")
    return meant


def _denied(rows: Sequence[Stated], consent: Mapping[str, str]) -> list[str]:
    """Why a video may not be used: each row that has a flag must give it, and one must have it."""
    denied: list[str] = []
    for flag, required in consent.items():
        stated = [row.cells for row in rows if flag in row.cells] or [{}]
        denied += [reason for cells in stated for reason in withheld({flag: required}, cells)]
    return list(dict.fromkeys(denied))


def _left_out(
    path: str, splits: Sequence[str], denied: Sequence[str], listing: Listing
) -> tuple[str, str] | None:
    """Why a video is not in the catalog, if so: the kind of the finding, and for people."""
    if len(splits) > 1:
        return "video_in_two_splits", f"{path} is in {', '.join(splits)}"
    if denied:
        return "consent_denied", f"{path}: {'; '.join(denied)}"
    # A refused folder takes all that is below it with it.
    for part in (path, *map(str, PurePosixPath(path).parents)):
        if part in listing.refused:
            kind, message = listing.refused[part]
            return kind, f"{path}: {message}"
    if path not in listing.files:
        return "missing_file", f"{path} is listed and not there"
    return None


def _labels(
    video_id: str, where: str, cell: str, entry: CatalogEntry, answer: Answer
) -> tuple[LabelSet | None, Rows]:
    """The labels in a cell, and the findings about words that are none."""
    if not answer.votes:  # who asks for text asks for no labels
        return None, []
    words = list_words(cell)
    dropped = [word for word in words or () if labels_meant([word], entry, answer) is None]
    if words is None:
        labels = labels_meant(cell, entry, answer)
    else:
        good = [word for word in words if word not in dropped]
        labels = None if dropped and not good else labels_meant(good, entry, answer)
    if labels is None:
        message = f"{where} has the label {shown(cell)}: {answer.advice(cell)}"
        return None, [note(video_id, "label_invalid", message)]
    return labels, [
        note(video_id, "word_invalid", f"{where} has {shown(word)} in its list of labels")
        for word in dict.fromkeys(dropped)
    ]
