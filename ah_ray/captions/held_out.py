"""Nobody who is evaluated gets into captions. Pure functions over tables."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ah_ray.evaluation.leaks import LeakError
from ah_ray.evaluation.seen import TRAINING, known_videos
from ah_ray.participants import person


def held_out(videos: pa.Table, splits: Sequence[str]) -> dict[str, str]:
    """The videos of some splits that show what another split holds; for each, what that is.

    Args:
        videos: ``schemas.VIDEOS``.
        splits: that are captioned; a video without a split is looked at like one of theirs.
    """
    rows = videos.select(["video_id", "uri", "content", "participant_id", "split"]).to_pylist()
    others = [row for row in rows if row["split"] is not None and row["split"] not in splits]
    contents = {row["content"]: row for row in others if row["content"] is not None}
    people = {
        person(row["participant_id"]): row for row in others if row["participant_id"] is not None
    }
    found = {}
    for row in rows:
        if row["split"] is not None and row["split"] not in splits:
            continue
        who = row["participant_id"] and person(row["participant_id"])
        if (same := contents.get(row["content"])) is not None:
            found[row["video_id"]] = f"a copy of {same['uri']}, which is in {same['split']}"
        elif (same := people.get(who)) is not None:
            found[row["video_id"]] = f"participant {row['participant_id']} is in {same['split']}"
    return found


def require_held_out(file: str, seen: pa.Table, judged: pa.Table) -> None:
    """Fail when captions are of recordings or people that their member would be judged by.

    Args:
        file: that has the captions.
        seen: what the member would have seen (``schemas.SEEN``).
        judged: the videos that are evaluated (``schemas.VIDEOS``).

    Raises:
        LeakError: naming the first few videos.
    """
    if known := known_videos(seen, judged, TRAINING):
        more = f"\n  and {len(known) - 10} more" if len(known) > 10 else ""
        shown = "\n  ".join(known[:10])
        raise LeakError(
            f"{file} has captions of {len(known)} of {len(judged)} videos that are evaluated, or "
            f"of people in them:\n  {shown}{more}\n  fix: caption other videos (`augment.splits`)"
        )
