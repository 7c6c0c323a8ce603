"""The published emotion wheels of MER2025: from a user's copy of the files to one file of ours.

They are for research and not ours to ship. A copy is a folder with ``wheel1.xlsx`` to
``wheel5.xlsx`` (columns ``level1``, ``level2``, ``level3``; a blank cell repeats the one above),
``synonym.xlsx`` (``word_run1``, ``synonym_run1``, ... of several runs, which are merged) and
``format.csv`` (``name``, ``format``: a word and its inflected forms).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.evaluation.xlsx import read_rows
from ah_ray.words.groups import hash_of
from ah_ray.words.wheel import LEVELS, Wheels
from ah_ray.yaml_objects import build

_LEVELS = ("level1", "level2", "level3")


def import_wheels(folder: str, target: str) -> str:
    """Write the files in ``folder`` as one JSON file, ``target``; equal files give equal bytes.

    Returns:
        What is in it, for people, and the hash by which scores name it.

    Raises:
        ConfigError: a file is missing or is not as published.
    """

    def rows_of(name: str, columns: Sequence[str]) -> list[dict[str, str]]:
        uri = storage.join(folder, name)
        try:
            content = storage.read_bytes(uri)
        except FileNotFoundError:
            fix = "name a folder with wheel1.xlsx to wheel5.xlsx, synonym.xlsx and format.csv"
            raise ConfigError(uri, "is not there", fix) from None
        rows = read_rows(content, uri) if name.endswith(".xlsx") else _read_csv(content, uri)
        if missing := sorted(set(columns) - (rows[0].keys() if rows else set())):
            problem = f"has no {', '.join(missing)} in its first row"
            raise ConfigError(uri, problem, "fetch the published file again")
        return rows

    names = [f"wheel{number}" for number in range(1, 6)]
    values = {
        "wheels": {name: _wheel(rows_of(f"{name}.xlsx", _LEVELS)) for name in names},
        "synonyms": _synonyms(rows_of("synonym.xlsx", ("word_run1", "synonym_run1"))),
        "forms": _listed(
            (row["name"], row["format"]) for row in rows_of("format.csv", ("name", "format"))
        ),
    }
    wheels = build(Wheels, values, folder)
    written = (wheels.model_dump_json(indent=1) + "\n").encode()
    storage.write_bytes(target, written)
    words = {word for of_level in wheels.classes.values() for word in of_level[LEVELS[0]]}
    return (
        f"{target}: {len(wheels.wheels)} wheels, {len(words):,} words that have a class in one\n"
        f"hash {hash_of(written)}, which every score by it names"
    )


def _read_csv(content: bytes, where: str) -> list[dict[str, str]]:
    try:
        return list(
            csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), restval="")
        )
    except (UnicodeDecodeError, csv.Error) as error:
        problem = f"cannot be read as CSV: {error}"
        raise ConfigError(where, problem, "fetch the published file again") from None


def _wheel(rows: Iterable[dict[str, str]]) -> dict[str, dict[str, list[str]]]:
    wheel: dict[str, dict[str, list[str]]] = {}
    above: dict[str, str] = {}
    for row in rows:
        above |= {level: row[level].lower() for level in _LEVELS if level in row}
        first, second, third = (above[level] for level in _LEVELS)
        wheel.setdefault(first, {}).setdefault(second, []).append(third)
    return wheel


def _synonyms(rows: Iterable[dict[str, str]]) -> dict[str, list[str]]:
    """The synonyms of each word, those of all runs together."""
    return _listed(
        (word, row.get(f"synonym_{run}", ""))
        for row in rows
        for column, word in row.items()
        if (run := column.removeprefix("word_")) != column
    )


def _listed(cells: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Words and the lists in their cells, such as ``['a', 'b']``, ``[a, b]`` or ``a, b``."""
    found: dict[str, dict[str, None]] = {}
    for word, cell in cells:
        parts = re.split(r"['\",]", cell.strip().removeprefix("[").removesuffix("]"))
        words = (part.strip().lower() for part in parts)
        found.setdefault(word.strip().lower(), {}).update(dict.fromkeys(filter(None, words)))
    return {word: list(others) for word, others in found.items()}
