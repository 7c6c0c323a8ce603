"""The leak check: nobody who was trained on may be tested on. Pure functions over the catalog."""

from __future__ import annotations

from collections import defaultdict
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


def find_leaks(videos: pa.Table) -> list[Leak]:
    """Every participant, file and content that more than one split holds.

    A leak of a content names the files that have it.

    Args:
        videos: ``schemas.VIDEOS``; rows without a split belong to none.
    """
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    files: dict[str | None, set[str]] = defaultdict(set)
    columns = ["participant_id", "uri", "content", "split"]
    rows = [row for row in videos.select(columns).to_pylist() if row["split"] is not None]
    for row in rows:
        files[row["content"]].add(row["uri"])
    files.pop(None, None)
    copies = {uri: " = ".join(sorted(same)) for same in files.values() if len(same) > 1
              for uri in same}  # fmt: skip
    for row in rows:
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


def require_no_leaks(videos: pa.Table) -> None:
    """Fail when ``find_leaks`` finds any.

    Raises:
        LeakError: naming the first few.
    """
    leaks = find_leaks(videos)
    if leaks:
        shown = "\n  ".join(str(leak) for leak in leaks[:10])
        more = f"\n  and {len(leaks) - 10} more" if len(leaks) > 10 else ""
        raise LeakError(
            f"{len(leaks)} items are in more than one split:\n  {shown}{more}\n"
            "  fix: put each participant and recording into one split of the archive's split files"
        )
