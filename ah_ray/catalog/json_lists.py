"""JSON files that are one list of lists, a video each, as EmoSet has them: CSV without a header."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ah_ray import storage
from ah_ray.catalog.csv_lines import Line
from ah_ray.errors import ConfigError


def entries(content: bytes, file: str, fix: str) -> list[Any]:
    """What is in a list, whatever it is.

    Args:
        content: of the file.
        file: its name, for people.
        fix: what helps if it holds no list.

    Raises:
        ConfigError: it holds none.
    """
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(file, f"is no JSON: {error}", fix) from error
    if not isinstance(found, list):
        raise ConfigError(file, "is no list", fix)
    return found


def read_entries(uri: str, header: Sequence[str]) -> Iterator[Line]:
    """The entries of a file, by their places in it from 1.

    Args:
        uri: the file.
        header: what the parts of an entry are called, in their order.

    Raises:
        ConfigError: it is no list.
    """
    fix = "bring it back as it was published; a file with `header` is a JSON list of lists"
    for number, entry in enumerate(entries(storage.read_bytes(uri), uri, fix), 1):
        cells = [_cell(part) for part in entry] if isinstance(entry, list) else []
        texts = [cell for cell in cells if cell is not None]
        if len(texts) == len(cells) == len(header):
            yield Line(number, dict(zip(header, texts, strict=True)))
        else:
            yield Line(number, None, json.dumps(entry))


def _cell(part: object) -> str | None:
    """A part of an entry as the text that a CSV file would have; None where none would do."""
    if part is None:
        return ""
    if isinstance(part, str):
        return part.strip()
    return str(part) if isinstance(part, int | float) else None
