"""What scoring does at a time: batches of clips, which follow from the manifest alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from ah_ray.schemas import Row


def plan_batches(clips: pa.Table, batch_size: int) -> list[Row]:
    """The work: batches of at most ``batch_size`` clips, each of a few whole sources.

    Sources of one size stand together, so that a batch needs little padding. A source with more
    clips than a batch is spread over several. The plan depends on the manifest alone, not on what
    is done already.

    Args:
        clips: ``schemas.CLIPS``.
        batch_size: most clips per batch.

    Returns:
        Rows with a list ``sources`` of {video_id, source_uri, content, clips: [{clip_id, start_s,
        end_s, subtitle}]}.
    """
    by_source: dict[tuple[str, str, str | None], list[Row]] = defaultdict(list)
    size_of: dict[tuple[str, str, str | None], str] = {}
    columns = ["clip_id", "start_s", "end_s", "subtitle"]
    for clip in clips.select([*columns, "video_id", "source_uri", "content", "bucket"]).to_pylist():
        source = clip.pop("video_id"), clip.pop("source_uri"), clip.pop("content")
        size_of[source] = max(size_of.get(source, ""), clip.pop("bucket") or "")
        by_source[source].append(clip)
    batches: list[Row] = []
    free = 0
    for source in sorted(by_source, key=lambda source: (size_of[source], source[:2])):
        ordered = sorted(by_source[source], key=lambda clip: (clip["start_s"], clip["clip_id"]))
        for first in range(0, len(ordered), batch_size):
            piece = ordered[first : first + batch_size]
            if len(piece) > free:
                batches.append({"sources": []})
                free = batch_size
            facts = dict(zip(("video_id", "source_uri", "content"), source, strict=True))
            batches[-1]["sources"].append(facts | {"clips": piece})
            free -= len(piece)
    return batches


def of_first_videos(plan: Sequence[Row], limit: int | None) -> list[Row]:
    """The batches, each as it was planned, that hold the first ``limit`` videos by their ids."""
    videos = sorted({source["video_id"] for batch in plan for source in batch["sources"]})
    first = set(videos[:limit])
    return [
        batch for batch in plan if any(source["video_id"] in first for source in batch["sources"])
    ]


def clip_ids(batch: Row) -> list[str]:
    """The clips of one row of ``plan_batches``."""
    return [clip["clip_id"] for source in batch["sources"] for clip in source["clips"]]
