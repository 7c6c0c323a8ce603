"""What people write into a table, and what they mean by it. Pure functions.

What can mean but one thing is read so, and counted; what comes near the name of a column is an
error, for as an attribute it would switch checks off without a word.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ah_ray.errors import ConfigError
from ah_ray.findings import note, shown

COLUMNS = ("uri", "video_id", "participant_id", "split", "label", "intervals")
#: Other words for columns; as such words have other meanings, too, they stay attributes.
_SYNONYMS = {
    "uri": ("file", "filename", "filepath", "path", "url", "video", "videopath", "videofile"),
    "video_id": ("id", "clipid"),
    "participant_id": ("person", "personid", "speaker", "speakerid", "subject", "subjectid",
                       "patient", "patientid", "user", "userid"),
    "split": ("fold", "partition", "set", "subset"),
    "label": ("class", "target", "groundtruth", "annotation", "y"),
    "intervals": ("segments", "spans", "times", "timestamps"),
}  # fmt: skip
_COLUMN_OF = {word: column for column, words in _SYNONYMS.items() for word in words}
_NEAR = 0.8  # of difflib's ratio: one pair of letters exchanged in a word of five
_NULLS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null", "none"})
_SPLITS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}


def require_unique(where: str, names: Sequence[object]) -> None:
    """Fail when a table that is called ``where`` has two columns of one name.

    Raises:
        ConfigError: it does; a reader would keep the last, or none.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(where, f"has {count} columns {shown(name)}", "rename all but one")


def check_columns(where: str, names: Sequence[object]) -> list[dict[str, str]]:
    """Findings about the columns of a table that is called ``where``.

    Raises:
        ConfigError: one has nearly the name of one that is not there.
    """
    findings = []
    for name in names:
        if name in COLUMNS:
            continue
        word = _simple(str(name))
        meant = _COLUMN_OF.get(word)
        if meant is None:
            near = difflib.get_close_matches(word, [_simple(c) for c in COLUMNS], 1, _NEAR)
            meant = next((c for c in COLUMNS if near == [_simple(c)]), None)
            # Beside the column itself a similar word is another thing, another spelling is not.
            if meant and (meant not in names or word == _simple(meant)):
                fix = f"did you mean {meant}? Rename it, or call it something else"
                raise ConfigError(where, f"has a column {shown(name)} that is not known", fix)
        elif meant not in names and meant != "uri":  # without uri nothing can be read
            message = f"column {shown(name)}: if it is the {meant}, rename it {meant}"
            findings.append(note(where, "column_unused", message))
    return findings


def uri_column(names: Iterable[object]) -> str:
    """Which of the columns is probably meant to be ``uri``, as a fix."""
    likely = [name for name in names if _COLUMN_OF.get(_simple(str(name))) == "uri"]
    if likely:
        return f"rename the column {shown(likely[0])} to uri"
    return f"rename one of its columns: {', '.join(map(str, names)) or 'none'}"


def separator(header: str) -> str:
    """Between the cells of a CSV file: a comma, unless another separator makes a column uri."""
    for mark in (",", ";", "\t", "|"):
        if "uri" in [name.strip().strip('"') for name in header.split(mark)]:
            return mark
    return ","


@dataclass
class Wording:
    """Cells as they are meant, and how often something else was written.

    Attributes:
        where: the table.
        options: of the task's answer; one of them may be a word for nothing elsewhere.
    """

    where: str
    options: Sequence[str] = ()
    _read: Counter[tuple[str, str]] = field(default_factory=Counter)

    def stated(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The cells of a row that say something, words for splits as they are meant."""
        cells = {name: value for name, value in row.items() if _is_stated(value)}
        for name in COLUMNS[1:]:
            if isinstance(value := cells.get(name), str):
                word = value.strip().casefold()
                if word in _NULLS and not (name == "label" and self._is_option(word)):
                    self._note("null_words", f"{shown(value)} in the column {name}")
                    del cells[name]
                elif name == "split":
                    cells[name] = self._split(value, word)
        return cells

    def label(self, value: object, labels: Collection[str] | None) -> None:
        """Count a label that was read in another word than the task's."""
        one = isinstance(value, str) and labels is not None and len(labels) == 1
        if one and labels and str(value).strip() not in {"0", "1", *labels}:
            self._note("label_words", f"the label {shown(value)} is {', '.join(sorted(labels))}")

    def findings(self, splits: Collection[str]) -> list[dict[str, str]]:
        """What was read in other words, one finding for each; and splits that look alike."""
        found = [
            note(self.where, kind, f"{message}: {count} rows")
            for (kind, message), count in sorted(self._read.items())
        ]
        spellings: dict[str, list[str]] = {}
        for split in sorted(splits):
            spellings.setdefault(_simple(split) or split, []).append(split)
        for alike in spellings.values():
            if len(alike) > 1:
                message = f"splits {' = '.join(map(shown, alike))}: write one of them"
                found.append(note(self.where, "split_spellings", message))
        return found

    def _is_option(self, word: str) -> bool:
        return word in {option.casefold() for option in self.options}

    def _split(self, value: str, word: str) -> str:
        meant = _SPLITS.get(word, word)
        if meant not in ("train", "val", "test"):
            meant = value.strip()
        if meant != value:
            self._note("split_spelling", f"the split {shown(value)} is {meant}")
        return meant

    def _note(self, kind: str, message: str) -> None:
        self._read[kind, message] += 1


def _is_stated(value: object) -> bool:
    """Whether a cell says something: not null, not blank, not NaN (a null in pandas)."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value == value


def _simple(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
