"""What of a run is in scope, and what of it is prepared: questions to its tables alone.

Stages that only read tables ask here, and load neither ffmpeg nor Ray for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray.errors import ConfigError
from ah_ray.pipelines.run_directory import SCORING, RunDirectory


def in_splits(videos: pa.Table, splits: Sequence[str], unlabelled: bool) -> pa.Table:
    """The videos of some splits, and with ``unlabelled`` those without any."""
    chosen = pc.is_in(videos["split"], pa.array(list(splits), pa.string()))
    return videos.filter(pc.or_(chosen, pc.is_null(videos["split"])) if unlabelled else chosen)


def in_scope(run: RunDirectory, splits: Sequence[str], unlabelled: bool) -> pa.Table:
    """The videos that the run prepares: ``in_splits``, of which a trial takes the first few."""
    videos = in_splits(run.videos(), splits, unlabelled).sort_by("video_id")
    return videos.slice(0, run.settings().get("limit"))


def prepared_videos(run: RunDirectory, purpose: str) -> set[str]:
    """The videos that are in a manifest or were left out of it, as they are now."""
    return run.prepared(purpose) | run.left_out(purpose)


def require_prepared(run: RunDirectory, purpose: str, splits: Sequence[str]) -> None:
    """Fail when a manifest lacks videos: it was cut off, or the archive has changed since.

    Raises:
        ConfigError: naming some of the videos.
    """
    if run.made_from(purpose) is None:
        return  # somebody else's manifest
    scope = in_scope(run, splits, unlabelled=purpose == SCORING)["video_id"].to_pylist()
    if missing := sorted(set(scope) - prepared_videos(run, purpose)):
        raise ConfigError(
            run.clips_path(purpose),
            f"{len(missing)} of {len(scope)} videos are not in the manifest as they are now "
            f"({', '.join(missing[:5])}…)",
            "run `ah-ray prepare` first",
        )
