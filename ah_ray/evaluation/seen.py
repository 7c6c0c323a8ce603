"""What members have seen against what they are asked and judged by. Pure functions over tables.

The catalog says which split a video is in today; what a member learned from does not change with
that. So a member states what it has seen (``schemas.SEEN``), and whoever trains, scores or
evaluates compares with that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ah_ray import schemas
from ah_ray.evaluation.leaks import LeakError
from ah_ray.participants import person

TRAINING, VALIDATION = "training", "validation"  # the roles of a video


def seen_rows(clips: Iterable[Mapping[str, Any]], role: str) -> list[dict[str, Any]]:
    """The videos of some training clips, each once (``schemas.SEEN``)."""
    names = [name for name in schemas.SEEN.names if name != "role"]
    videos = {clip["video_id"]: {name: clip[name] for name in names} for clip in clips}
    return [videos[video] | {"role": role} for video in sorted(videos)]


def known_videos(seen: pa.Table, videos: pa.Table, role: str) -> list[str]:
    """The videos that show a recording or somebody that a member has seen; one line for each.

    Args:
        seen: ``schemas.SEEN`` of the member.
        videos: ``schemas.VIDEOS``.
        role: in which role.
    """
    rows = [row for row in seen.to_pylist() if row["role"] == role]
    ids = {row["video_id"] for row in rows}
    contents = {row["content"] for row in rows} - {None}
    people = {person(row["participant_id"]) for row in rows if row["participant_id"] is not None}
    found = []
    for video in videos.select(["video_id", "uri", "content", "participant_id"]).to_pylist():
        if video["video_id"] in ids:
            found.append(f"{video['uri']} itself")
        elif video["content"] in contents:
            found.append(f"{video['uri']}: a copy of it")
        elif video["participant_id"] is not None and person(video["participant_id"]) in people:
            found.append(f"{video['uri']}: participant {video['participant_id']}")
    return sorted(found)


def require_unseen(seen: Mapping[str, pa.Table | None], videos: pa.Table) -> None:
    """Fail when a member was trained on people or recordings that it shall be judged by.

    Args:
        seen: what each member has seen, by its name; None where it does not say.
        videos: the labelled videos that are scored or evaluated (``schemas.VIDEOS``).

    Raises:
        LeakError: naming the member and the first few videos.
    """
    for name, table in sorted(seen.items()):
        known = known_videos(table, videos, TRAINING) if table is not None else []
        if known:
            shown = "\n  ".join(known[:10])
            more = f"\n  and {len(known) - 10} more" if len(known) > 10 else ""
            raise LeakError(
                f"member {name} was trained on {len(known)} of the {len(videos)} labelled videos "
                f"that it would be judged by:\n  {shown}{more}\n"
                f"  fix: restore the splits that it was trained with, or delete the member and "
                "train it again"
            )


def changed_videos(
    seen: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The videos of which a member has seen other clips than it would be given now, by video_id.

    Args:
        seen: rows of ``schemas.SEEN`` as the member states them.
        now: the same as a training would state them now.
    """
    then, today = (
        {(row["video_id"], row["role"]): row["made_from"] for row in rows} for rows in (seen, now)
    )
    changed = {key for key in then.keys() | today if then.get(key) != today.get(key)}
    return sorted({video for video, _ in changed})
