"""The embedded default: makes the synthetic archive and the tiny base models that a config names.

Only what the demo runs *on* is made here; what it runs is ``pipelines``, as for any archive.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ah_ray import storage
from ah_ray.checkpoints import local_checkpoint
from ah_ray.cluster import connect
from ah_ray.config import RunConfig, load_config
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig
from ah_ray.names import find
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.run_lock import holding
from ah_ray.preflight import require, train_wish
from ah_ray.progress import StageProgress, console
from ah_ray.shipped import find_file
from ah_ray.toy.archive import METADATA_FILE, ArchiveSpec, write_archive
from ah_ray.toy.bases import BASES, Base, Converted
from ah_ray.toy.emotions import GROUPS_FILE, EmotionsSpec, write_emotions
from ah_ray.toy.moods import MoodsSpec, write_moods
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
    folder, _, table = root.rpartition("/")
    _make(folder, table, spec.videos, partial(write_cues, spec=spec, table=table))


def make_emotions(root: str, spec: EmotionsSpec | None = None) -> None:
    """Write the archive of emotion words to the folder ``root``, unless it is there."""
    spec = spec or EmotionsSpec()
    _make(root, GROUPS_FILE, spec.videos, partial(write_emotions, spec=spec))


def make_moods(root: str, spec: MoodsSpec | None = None) -> None:
    """Write the archive of faces and things to the table ``root``, unless it is there."""
    spec = spec or MoodsSpec()
    folder, _, table = root.rpartition("/")
    _make(folder, table, spec.videos, partial(write_moods, spec=spec, table=table))


def _make(folder: str, last: str, videos: int, write: Callable[..., None]) -> None:
    """Let ``write`` make an archive, and put it to ``folder`` with the file ``last`` at last.

    Args:
        folder: where; it is complete when ``last`` is in it.
        last: the file's name.
        videos: how many there will be.
        write: to a local folder, with ``progress``.

    Raises:
        ConfigError: the folder holds something else, which would be deleted.
    """
    if storage.exists(storage.join(folder, last)):
        return
    with (
        tempfile.TemporaryDirectory(prefix="ah_ray_archive_") as scratch,
        StageProgress("synthetic archive", videos, "videos") as progress,
    ):
        write(Path(scratch), progress=lambda done, total: progress.advance_to(done))
        ours = {file.relative_to(scratch).as_posix() for file in Path(scratch).rglob("*")}
        there = {file.removeprefix(f"{folder}/") for file in storage.list_files(folder)}
        if others := sorted(there - ours):
            problem = f"{folder} holds {others[0]}, which is not of this archive"
            raise ConfigError("catalog.root", problem, "name a place in a folder of its own")
        storage.upload_folder(Path(scratch), folder, last=last)


ARCHIVES = {
    "synthetic.yaml": make_conflicts,
    "synthetic_cues.yaml": make_cues,
    "synthetic_emotions.yaml": make_emotions,
    "synthetic_moods.yaml": make_moods,
}


def make_bases(run: RunDirectory, config: RunConfig) -> None:
    """Train the tiny models that a config names, unless they are there.

    The name of a model's folder says which one of ``BASES`` it is. It is trained as a member is: by
    MS-Swift, launched by Ray Train, with our decoder.

    Raises:
        ConfigError: there is no such base.
    """
    members = {config.model_of(name).path.rstrip("/"): name for name in config.members}
    missing = {
        path: member
        for path, member in members.items()
        if not storage.exists(storage.join(path, _MARKER))
    }
    if not missing:
        return
    # Imported only when there is something to train: torch and its company take seconds.
    import transformers

    from ah_ray.pipelines.train import side_by_side

    connect()
    require(train_wish(config.train))
    transformers.utils.logging.disable_progress_bar()
    named = {path: find(path.rpartition("/")[2], BASES, "model.path") for path in missing}
    bases = {path: base for path, base in named.items() if isinstance(base, Base)}
    for goes_on in (False, True):  # from another base, which is there by then
        now = [path for path in bases if isinstance(bases[path].begin, str) == goes_on]
        # One after the other: threads share what draws the weights.
        jobs = [_base_job(run, config, path, bases[path], missing[path]) for path in now]
        side_by_side(
            lambda made: _train_base(config, *made),
            list(zip(now, jobs, strict=True)),
            config.train.parallel_members,
        )
    for path, base in named.items():
        if isinstance(base, Converted):
            _convert(path, base)


def _convert(path: str, base: Converted) -> None:
    from ah_ray.models.hybrid_conversion import convert

    folder, _, name = path.rpartition("/")
    console.print(f"[bold]base model[/] {name}: {base.what}")
    with tempfile.TemporaryDirectory(prefix="ah_ray_base_") as scratch:
        made = Path(scratch, name)
        convert(local_checkpoint(storage.join(folder, base.source)), made)
        storage.upload_folder(made, path, last=_MARKER)


def _base_job(run: RunDirectory, config: RunConfig, path: str, base: Base, member: str) -> SwiftJob:
    """Write what a base is trained from, on media as a ``member`` that is made of it gets them."""
    folder, _, name = path.rpartition("/")
    console.print(f"[bold]base model[/] {name}: {base.what}")
    inputs, media = run.path("train", "bases", name), config.media_of(member)
    begin = (
        storage.join(folder, base.begin)
        if isinstance(base.begin, str)
        else storage.join(inputs, "untrained")
    )
    rows = storage.join(inputs, "rows.jsonl")
    if not storage.exists(rows):
        _write_inputs(base, media, inputs)
    return SwiftJob(
        name=name,
        model=config.model_of(member).model_copy(update={"path": begin}),
        recipe=base.recipe,
        media=media,
        rows=rows,
        store=storage.join(inputs, "training"),
    )


def _write_inputs(base: Base, media: MediaConfig, folder: str) -> None:
    """Write random weights, unless there are better ones, clips, and at last the rows."""
    with tempfile.TemporaryDirectory(prefix="ah_ray_base_") as scratch:
        if not isinstance(base.begin, str):
            base.begin(Path(scratch, "untrained"))
        rows = "".join(json.dumps(row) + "\n" for row in base.rows(Path(scratch, "clips"), media))
        # The rows name the clips where every node finds them.
        Path(scratch, "rows.jsonl").write_text(rows.replace(scratch, folder))
        storage.upload_folder(Path(scratch), folder, last="rows.jsonl")


def _train_base(config: RunConfig, path: str, job: SwiftJob) -> None:
    from ah_ray.training.launch import fit

    # By one process: a tiny model gains nothing by more, and its steps stay as large.
    fit(job, config.train.model_copy(update={"nodes": 1, "processes_per_node": 1}))
    publish(complete_checkpoints(job.checkpoints)[-1], path, {}, marker=_MARKER)
    storage.remove(job.rows.rpartition("/")[0])


def make_captions(run: RunDirectory, config: RunConfig, file: str) -> None:
    """Caption the archive for the members that are tuned on captions, unless these are there.

    Args:
        run: the run directory.
        config: of the demo; where it names captions is the run directory of ``ah-ray augment``.
        file: with that config. What captions is the one beside it with ``_captions`` in its name,
            in which ``{run}`` stands for the run directory of the demo, too.
    """
    named = {source for name in config.members if (source := config.captions_of(name))}
    runs = {source.uri: source.file for source in named if source.file != source.uri}
    missing = sorted(uri for uri, captions in runs.items() if not storage.exists(captions))
    if not missing:
        return
    from ah_ray.pipelines.stages import augment_stage

    path = find_file(file) or Path(file)
    captioning = load_config(path.with_stem(f"{path.stem}_captions"), run.uri)
    make_bases(run, captioning)
    for uri in missing:
        captions = RunDirectory.at(uri)
        with holding(captions, "ah-ray demo"):
            augment_stage(captions, captioning)
