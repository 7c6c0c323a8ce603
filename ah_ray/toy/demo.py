"""The embedded default: makes the synthetic archive and the tiny base model that a config names.

Only what the demo runs *on* is made here; what it runs is ``pipelines``, as for any archive.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ah_ray import storage
from ah_ray.cluster import connect
from ah_ray.config import RunConfig
from ah_ray.names import find
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.preflight import require, train_wish
from ah_ray.progress import StageProgress, console
from ah_ray.toy.archive import METADATA_FILE, ArchiveSpec, write_archive
from ah_ray.toy.base import CUE_CLIPS, RECIPE, cue_rows, write_cue_clips
from ah_ray.toy.emotions import GROUPS_FILE, EmotionsSpec, write_emotions
from ah_ray.toy.single_cues import CuesSpec, write_cues
from ah_ray.training.checkpoints import complete_checkpoints, publish
from ah_ray.training.swift import SwiftJob

_MARKER = "config.json"  # of a checkpoint folder; written last


def make_archive(entry: str, root: str) -> None:
    """Write the synthetic archive that a catalog entry describes, unless it is there.

    Args:
        entry: the file of the entry; its name says which archive it is.
        root: where (``catalog.root``).

    Raises:
        ConfigError: it is not one of ours.
    """
    make = find(Path(entry).name, ARCHIVES, "catalog.entry")
    make(root)


def make_conflicts(root: str, spec: ArchiveSpec | None = None) -> None:
    """Write the archive of conflicting cues to the folder ``root``, unless it is there."""
    spec = spec or ArchiveSpec()
    if storage.exists(storage.join(root, METADATA_FILE)):
        return
    with (
        tempfile.TemporaryDirectory(prefix="ah_ray_archive_") as scratch,
        StageProgress("synthetic archive", spec.videos, "videos") as progress,
    ):
        local = storage.local_path(root)
        folder = local or Path(scratch, "archive")
        write_archive(folder, spec, progress=lambda done, total: progress.advance_to(done))
        if local is None:
            storage.upload_folder(folder, root, last=METADATA_FILE)


def make_cues(root: str, spec: CuesSpec | None = None) -> None:
    """Write the archive of single cues to the table ``root``, unless it is there."""
    spec = spec or CuesSpec()
    if storage.exists(root):
        return
    folder, _, table = root.rpartition("/")
    with (
        tempfile.TemporaryDirectory(prefix="ah_ray_archive_") as scratch,
        StageProgress("synthetic archive", spec.videos, "videos") as progress,
    ):
        show = lambda done, total: progress.advance_to(done)  # noqa: E731
        write_cues(Path(scratch), spec, table, progress=show)
        storage.upload_folder(Path(scratch), folder, last=table)


def make_emotions(root: str, spec: EmotionsSpec | None = None) -> None:
    """Write the archive of emotion words to the folder ``root``, unless it is there."""
    spec = spec or EmotionsSpec()
    if storage.exists(storage.join(root, GROUPS_FILE)):
        return
    with (
        tempfile.TemporaryDirectory(prefix="ah_ray_archive_") as scratch,
        StageProgress("synthetic archive", spec.videos, "videos") as progress,
    ):
        show = lambda done, total: progress.advance_to(done)  # noqa: E731
        write_emotions(Path(scratch), spec, progress=show)
        storage.upload_folder(Path(scratch), root, last=GROUPS_FILE)


ARCHIVES = {
    "synthetic.yaml": make_conflicts,
    "synthetic_cues.yaml": make_cues,
    "synthetic_emotions.yaml": make_emotions,
}


def make_base(run: RunDirectory, config: RunConfig) -> None:
    """Train the tiny model on single cues, to ``config.model.path``, unless it is there.

    It is trained as a member is: by MS-Swift, launched by Ray Train, with our decoder.
    """
    base = config.model.path
    if storage.exists(storage.join(base, _MARKER)):
        return
    # Imported only when there is something to train: torch and its company take seconds.
    import transformers

    from ah_ray.toy.model import write_tiny_checkpoint
    from ah_ray.training.launch import fit

    connect()
    require(train_wish(config.train))
    transformers.utils.logging.disable_progress_bar()
    console.print("[bold]base model[/]: a tiny Qwen3-Omni learns to name single cues")
    inputs = run.path("train", "base")
    with tempfile.TemporaryDirectory(prefix="ah_ray_base_") as scratch:
        write_tiny_checkpoint(Path(scratch, "untrained"))
        clips = write_cue_clips(Path(scratch, "clips"), CUE_CLIPS, seed=0)
        rows = "".join(json.dumps(row) + "\n" for row in cue_rows(clips))
        # The rows name the clips where every node finds them.
        Path(scratch, "rows.jsonl").write_text(rows.replace(scratch, inputs))
        storage.upload_folder(Path(scratch), inputs, last="rows.jsonl")
    job = SwiftJob(
        name="base",
        model=config.model.model_copy(update={"path": storage.join(inputs, "untrained")}),
        recipe=RECIPE,
        media=config.media,
        rows=storage.join(inputs, "rows.jsonl"),
        store=storage.join(inputs, "training"),
    )
    # By one process: a tiny model gains nothing by more, and its steps stay as large.
    fit(job, config.train.model_copy(update={"nodes": 1, "processes_per_node": 1}))
    publish(complete_checkpoints(job.checkpoints)[-1], base, {}, marker=_MARKER)
    storage.remove(job.store)
