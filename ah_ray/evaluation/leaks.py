"""The leak check: nobody who was trained on may be tested on. Pure functions over the catalog."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa


class LeakError(Exception):
    """Training and evaluation data share people or videos; results would mean nothing."""


class Leak(NamedTuple):
    """One participant, file or content that occurs in several splits."""

    kind: str
    item: str
    splits: tuple[str, ...]

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.kind} {self.item} is in {' and '.join(self.splits)}"


def find_leaks(videos: pa.Table, contents: Mapping[str, str] | None = None) -> list[Leak]:
    """Every participant, file and content that more than one split holds.

    Args:
        videos: ``schemas.VIDEOS``; rows without a split belong to none.
        contents: hashes of the files' contents by URI, from ``contents.contents_of``; a leak of a
            content names the files that have it.
    """
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    files: dict[str, set[str]] = defaultdict(set)
    for uri, content in (contents or {}).items():
        files[content].add(uri)
    copies = {uri: " = ".join(sorted(same)) for same in files.values() if len(same) > 1
              for uri in same}  # fmt: skip
    for row in videos.select(["participant_id", "uri", "split"]).to_pylist():
        if row["split"] is None:
            continue
        splits["file", row["uri"]].add(row["split"])
        if row["uri"] in copies:
            splits["content", copies[row["uri"]]].add(row["split"])
        if row["participant_id"] is not None:
            splits["participant", row["participant_id"]].add(row["split"])
    return sorted(
        Leak(kind, item, tuple(sorted(found)))
        for (kind, item), found in splits.items()
        if len(found) > 1
    )


def require_no_leaks(videos: pa.Table, contents: Mapping[str, str] | None = None) -> None:
    """Fail when ``find_leaks`` finds any.

    Raises:
        LeakError: naming the first few.
    """
    leaks = find_leaks(videos, contents)
    if leaks:
        shown = "\n  ".join(str(leak) for leak in leaks[:10])
        more = f"\n  and {len(leaks) - 10} more" if len(leaks) > 10 else ""
        raise LeakError(
            f"{len(leaks)} items are in more than one split:\n  {shown}{more}\n"
            "  fix: put each participant and recording into one split of the archive's split files"
        )
