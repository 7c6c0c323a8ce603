"""The rows of a small xlsx file, read without trusting it.

An xlsx file is a ZIP archive of XML parts. One that is too large, or declares a document type
(through which XML would expand entities and name other files), is refused. Formulas, styles and
further sheets are not looked at.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, TreeBuilder, XMLParser

from ah_ray.errors import ConfigError

_MOST_BYTES = 20_000_000  # of a part
_SHEET, _STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"


def read_rows(content: bytes, where: str) -> list[dict[str, str]]:
    """The rows of the first sheet by the names in its first row, without cells that are blank.

    Args:
        content: of the file.
        where: names it.

    Raises:
        ConfigError: it is no such file, or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sheet = _part(archive, _SHEET)
            shared = _STRINGS in archive.namelist()
            items = _part(archive, _STRINGS).iterfind("{*}si") if shared else ()
            strings = [_text(item) for item in items]
        lines = [dict(_cells(row, strings)) for row in sheet.iterfind("{*}sheetData/{*}row")]
    # RuntimeError: it is encrypted; NotImplementedError: compressed in an unknown way
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError,
            ElementTree.ParseError, KeyError, IndexError, ValueError) as error:  # fmt: skip
        problem = f"cannot be read as an xlsx file: {error}"
        raise ConfigError(where, problem, "fetch it again, or save it anew as xlsx") from None
    names = lines[0] if lines else {}
    return [
        {names[column]: text for column, text in line.items() if column in names}
        for line in lines[1:]
    ]


class _NoDocumentType(TreeBuilder):
    def doctype(self, *declared: Any) -> NoReturn:
        raise ValueError("it declares a document type")


def _part(archive: zipfile.ZipFile, name: str) -> Element:
    info = archive.getinfo(name)
    if info.file_size > _MOST_BYTES:  # no more than that is ever decompressed
        raise ValueError(f"{name} is {info.file_size:,} bytes")
    parser = XMLParser(target=_NoDocumentType())
    return ElementTree.fromstring(archive.read(info), parser)


def _cells(row: Element, strings: list[str]) -> Iterator[tuple[str, str]]:
    """The column of each cell that is not blank (A, B, ...), and its text."""
    for cell in row.iterfind("{*}c"):
        value = cell.findtext("{*}v", "")
        if cell.get("t") == "s":
            value = strings[int(value)]
        elif (inline := cell.find("{*}is")) is not None:
            value = _text(inline)
        if value.strip():
            yield re.sub(r"\d", "", cell.attrib["r"]), value.strip()


def _text(item: Element) -> str:
    """The text of a string, which may come in pieces of several fonts."""
    pieces = (*item.iterfind("{*}t"), *item.iterfind("{*}r/{*}t"))
    return "".join(piece.text or "" for piece in pieces)
