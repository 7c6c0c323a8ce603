"""CSV files as strangers write them: lines that can be read, and those that cannot, each by number.

What is broken costs itself alone: a line with too many cells, a quotation mark that nobody closes,
a cell with bytes that are no text. Nothing is repaired.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.findings import shown

LONGEST = 100_000  # characters of a cell: some 60 pages

_ESCAPED = re.compile("[\ud800-\udfff]")  # what ``surrogateescape`` makes of a byte, or JSON writes

csv.field_size_limit(2**31 - 1)  # longer ones are for ``problem`` to tell


class Line(NamedTuple):
    """A line below the header, or several with one cell over all of them.

    Attributes:
        number: of its first line in the file, from 1.
        cells: by column, without blanks around them; None when it is none.
        text: as it stands there, when it has no cells.
    """

    number: int
    cells: dict[str, str] | None
    text: str = ""


def read_lines(uri: str, encodings: Sequence[str]) -> tuple[list[str], Iterator[Line]]:
    """The columns of a CSV file with commas, and its lines; empty ones are passed over.

    Args:
        uri: the file.
        encodings: that it may be in; used is the one in which the fewest bytes are no text, of
            equals the first.
    """
    records = _records(_decoded(storage.read_bytes(uri), encodings))
    _, header = next(records, (0, []))
    names = [name.strip() for name in header] if isinstance(header, list) else [header]
    return names, _lines(names, records)


def require_columns(uri: str, names: Sequence[str], needed: Collection[str]) -> None:
    """Fail unless a table has each column that is needed, once.

    Raises:
        ConfigError: it has not, with the nearest one.
    """
    counts = Counter(names)
    for name in needed:
        if counts[name] == 1:
            continue
        if counts[name]:
            message = f"has {counts[name]} columns {shown(name)}"
            raise ConfigError(uri, message, "rename all but one")
        folded = {column.casefold(): column for column in names}
        near = difflib.get_close_matches(name.casefold(), folded, 1)
        hint = f"did you mean {shown(folded[near[0]])}? " if near else ""
        raise ConfigError(
            uri,
            f"has no column {name!r}; its first line has {shown(names)}",
            f"{hint}Correct that line, or the name under `lists` of the catalog entry",
        )


def _lines(names: Sequence[str], records: Iterator[tuple[int, list[str] | str]]) -> Iterator[Line]:
    for number, record in records:
        if not record:
            continue
        if isinstance(record, str) or len(record) != len(names):
            yield Line(number, None, record if isinstance(record, str) else ",".join(record))
        else:
            cells = (cell.strip() for cell in record)
            yield Line(number, dict(zip(names, cells, strict=True)))


def problem(cell: str) -> str | None:
    """Why a cell cannot be used, if so."""
    if len(cell) > LONGEST:
        return f"has {len(cell):,} characters, more than {LONGEST:,}"
    if "\0" in cell:
        return "has a zero byte"
    return "has bytes that are no text" if _escaped(cell) else None


def _decoded(data: bytes, encodings: Sequence[str]) -> str:
    """The text of a file; bytes that are none stand there as halves of characters."""
    names = ["utf-8-sig" if name == "utf-8" else name for name in encodings]
    return min((data.decode(name, "surrogateescape") for name in names), key=_escaped)


def _escaped(text: str) -> int:
    """How many bytes of a text were none."""
    return 0 if text.isascii() else len(_ESCAPED.findall(text))


def _records(text: str) -> Iterator[tuple[int, list[str] | str]]:
    """The number of each record's first line, and its cells, or that line when its quotes are off.

    Lines end with a line feed, a carriage return, or both.
    """
    lines = io.StringIO(text, newline=None).readlines()
    start = 0
    while start < len(lines):
        reader = csv.reader(lines[at] for at in range(start, len(lines)))
        first = start
        for record in reader:
            end = start + reader.line_num
            several = end - first > 1
            if (several or end == len(lines)) and not _closed(lines[first:end], several):
                yield first + 1, lines[first].rstrip("\n")
                break
            yield first + 1, record
            first = end
        start = first + 1


def _closed(lines: Sequence[str], several: bool) -> bool:
    """Whether the quotation marks of a record are those of its cells.

    A mark that nobody closes reaches to the next one, which opens a cell of another record and has
    text after it, or to the end of the file.
    """
    try:
        return len(list(csv.reader([*lines, "\n"], strict=several))) == 2
    except csv.Error:
        return False
