"""Prepare: videos in, clip manifest out.

    read videos -> drop stale, drop done -> probe, segment, cut -> write manifest and findings

Each video is one unit of work: its clips and findings are written together, so that a video
either is in the manifest whole or will be done by the next run. What was made from a video that the
archive has changed since (its file, its label, its split) is stale (``lineage``) and done again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from ah_ray.cluster import connect
from ah_ray.findings import note
from ah_ray.pipelines.attempts import Attempts, quarantine
from ah_ray.pipelines.ledger import in_scope, prepared_videos
from ah_ray.pipelines.manifest import (
    Counts,
    Manifest,
    Outcome,
    annotated_lengths,
    claim,
    drop_stale,
    make_write,
)
from ah_ray.pipelines.prepare_video import make_prepare_video
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.preflight import prepare_wish, require, telling_waits
from ah_ray.progress import StageProgress, console

# A video that a worker did not survive so often is left out; all but the first time it was alone.
_MAX_TRIES = 3


def prepare(run: RunDirectory, manifest: Manifest, limit: int | None = None) -> None:
    """Write the clips of the videos that are not in the manifest yet.

    Args:
        run: the run directory; its videos table is read.
        manifest: what to write.
        limit: take only the first so many videos, for a trial.

    Raises:
        ConfigError: the run was made with other settings, there is nothing to balance negatives
            by, or the cluster can never grant the resources.
        StorageError: the manifest cannot be written; the next run goes on where this one stopped.
    """
    lengths = annotated_lengths(run.videos(), manifest)
    claim(run, manifest, lengths)
    run.remember({"limit": limit})
    stale = drop_stale(run, manifest.purpose)
    videos = in_scope(run, manifest.splits, unlabelled=manifest.purpose == SCORING)
    todo = _drop_done(videos, prepared_videos(run, manifest.purpose))
    before = len(videos) - len(todo)
    wish = prepare_wish(manifest.settings)
    if len(todo):  # Ray's first words come before there is a bar
        connect()
        require(wish)
    name, told = f"prepare {manifest.purpose}", run.path("findings")
    with StageProgress(name, len(todo), "videos", before, told, run.note_cost) as progress:
        if stale:
            console.print(f"  {stale} videos have changed since: what was made of them is dropped")
        if not len(todo):
            return
        attempts = Attempts()
        parts = (
            ray.data.from_arrow(todo)
            .repartition(target_num_rows_per_block=_part_size(len(todo), manifest.writes_files))
            .map_batches(
                guarded(run, manifest, lengths, attempts),
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=manifest.settings.cpus_per_video,
            )
        )
        with telling_waits([(wish.part, attempts.began)]), attempts.listening():
            for part in parts.iter_batches(batch_size=None):
                kinds = " ".join(part["kinds"]).split()
                progress.advance(int(part["videos"].sum()), int(part["errors"].sum()), kinds)


def _drop_done(videos: pa.Table, done: Set[str]) -> pa.Table:
    """The videos that are not done."""
    return videos.filter(pc.invert(pc.is_in(videos["video_id"], pa.array(done, pa.string()))))


def _part_size(videos: int, writes_files: bool) -> int:
    """How many videos are done and written together.

    Few, so that a crash costs little and all CPUs have work, but not so few that a large archive
    becomes a heap of tiny tables.
    """
    return 8 if writes_files else min(max(videos // 64, 8), 256)


def guarded(
    run: RunDirectory, manifest: Manifest, lengths: Sequence[float], attempts: Attempts
) -> Callable[[pa.Table], Counts]:
    """``make_prepare_videos`` for batches with videos that may take their worker down.

    Ray starts such a batch again, and would do so for ever. From the second time on its videos go
    one by one (``quarantine``), each written when it is done, and a deadly one is left out.
    """
    prepare_videos = make_prepare_videos(run, manifest, lengths)
    write = make_write(run, manifest, lengths)
    # Time limits end what is slow; this one ends what does not even notice that.
    hang_s = 2 * manifest.limits.timeout_s

    def prepare_batch(batch: pa.Table) -> Counts:
        ids = batch["video_id"].to_pylist()
        counts: Counts = {"videos": [len(ids)], "errors": [0], "kinds": [""]}
        tries = attempts.unfinished(ids)
        begun = {video_id: tried for video_id, tried in tries.items() if tried}
        # The others of a batch that was begun before came back alone, and are written.
        for some, died in quarantine(begun or tries, _MAX_TRIES, together=1):
            videos = batch.take([ids.index(video_id) for video_id in some])
            if died:
                message = f"{videos['uri'][0]}: the worker's process died {died} times on it"
                found = write(videos, [Outcome([], [note(some[0], "worker_died", message)])])
            else:
                with attempts.trying(some, hang_s * len(some)):
                    found = prepare_videos(videos)
            counts |= {name: [counts[name][0] + found[name][0]] for name in ("errors", "kinds")}
        return counts

    def told(batch: pa.Table) -> Counts:
        with attempts.telling():
            return prepare_batch(batch)

    return told


def make_prepare_videos(
    run: RunDirectory, manifest: Manifest, lengths: Sequence[float]
) -> Callable[[pa.Table], Counts]:
    """A function that prepares a batch of videos and writes it as one part of the manifest.

    Columns in: those of ``schemas.VIDEOS``. Columns out: ``videos`` and ``errors``, counts, and the
    errors' ``kinds``. The function raises ``StorageError`` when the part cannot be written.
    """
    prepare_video = make_prepare_video(run, manifest, lengths)
    write = make_write(run, manifest, lengths)
    return lambda batch: write(batch, [prepare_video(video) for video in batch.to_pylist()])
