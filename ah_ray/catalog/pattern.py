"""Where a video is, by what a table calls it: ``Raw/{video_id}/{clip_id:04d}.mp4``. Pure functions.

A part in braces is a column; ``:04d`` stands for a number with so many digits, zeros before it, and
``:path`` for one that may hold a whole path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from ah_ray.errors import ItemError
from ah_ray.findings import shown

_FIELD = re.compile(r"\{([^{}:]+)(?::(?:0([1-9])d|(path)))?\}")
_NUMBER = re.compile(r"(\d{1,9})(?:\.0+)?", re.ASCII)  # 7.0 is what a spreadsheet makes of 7


def check_pattern(pattern: str) -> str:
    """The pattern.

    Raises:
        ValueError: it names no column, has other braces, or leaves the archive.
    """
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{pattern!r} is no path inside the archive")
    if not columns(pattern) or re.search("[{}]", _FIELD.sub("", pattern)):
        forms = "folder/{column}.mp4, {column:04d} or {column:path}"
        raise ValueError(f"{pattern!r} is not of the form {forms}")
    return pattern


def columns(pattern: str) -> list[str]:
    """The columns that a pattern names, each once."""
    return list(dict.fromkeys(match[1] for match in _FIELD.finditer(pattern)))


def folders(patterns: Sequence[str]) -> list[str]:
    """The folders that all videos are below; an empty one is the archive's own.

    >>> folders(["Raw/{video_id}/{clip_id}.mp4", "Raw/{name}.mp4", "more/{name}.mp4"])
    ['Raw', 'more']
    """
    found = []
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts[:-1]
        named = next((i for i, part in enumerate(parts) if "{" in part), len(parts))
        found.append("/".join(parts[:named]))
    above = {folder: f"{folder}/" if folder else "" for folder in found}
    return sorted(
        folder
        for folder in above
        if not any(folder.startswith(start) for other, start in above.items() if other != folder)
    )


def fill(pattern: str, cells: Mapping[str, str]) -> str:
    """The path of the video that a line with ``cells`` names, relative to the archive.

    >>> fill("Raw/{video_id}/{clip_id:04d}.mp4", {"video_id": "v1", "clip_id": "1"})
    'Raw/v1/0001.mp4'

    Raises:
        ItemError: ``bad_row``, a name is empty or no number; ``unsafe_key``, it has parts, or
            is a path that leads out of the archive.
    """

    def part(match: re.Match[str]) -> str:
        column, digits, value = match[1], match[2], cells[match[1]]
        path = PurePosixPath(value)
        if not value:
            raise ItemError("bad_row", f"{column} is empty")
        if match[3]:
            if path.is_absolute() or ".." in path.parts or "\\" in value:
                message = f"{column} is {shown(value)}, which is no path inside the archive"
                raise ItemError("unsafe_key", message)
            return str(path)
        if re.search(r"[/\\]", value) or value in (".", ".."):
            raise ItemError("unsafe_key", f"{column} is {shown(value)}, a path and no name")
        if digits is None:
            return value
        if (number := _NUMBER.fullmatch(value)) is None:
            raise ItemError("bad_row", f"{column} is {shown(value)} and no number")
        return number[1].lstrip("0").zfill(int(digits))

    return _FIELD.sub(part, pattern)
