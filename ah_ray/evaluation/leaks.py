"""The leak check: nobody who was trained on may be tested on. Pure functions over the catalog."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import pyarrow as pa

from ah_ray.participants import person


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

    A leak of a content names the files that have it, and one of a participant all spellings that
    ``participants.person`` takes for the same.

    Args:
        videos: ``schemas.VIDEOS``; rows without a split belong to none.
    """
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for row in videos.select(["participant_id", "uri", "content", "split"]).to_pylist():
        if row["split"] is None:
            continue
        shared = [("file", row["uri"], row["uri"]), ("content", row["content"], row["uri"])]
        if row["participant_id"] is not None:
            shared.append(("participant", person(row["participant_id"]), row["participant_id"]))
        for kind, key, name in shared:
            if key is not None:
                names, splits = found[kind, key]
                names.add(name)
                splits.add(row["split"])
    return sorted(
        Leak(kind, " = ".join(sorted(names)), tuple(sorted(splits)))
        for (kind, _), (names, splits) in found.items()
        # A file has one content: what it leaks is said once.
        if len(splits) > 1 and (kind != "content" or len(names) > 1)
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
