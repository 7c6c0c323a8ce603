"""The checkpoints of one training: which are complete, which stay, and which becomes the member.

They lie in one folder (any fsspec URI) as ``checkpoint-STEP``. A checkpoint without its marker is
still being written, or was cut off; nobody reads it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ah_ray import local_files, storage

MARKER = "complete.json"  # written last: what ``Checkpoint`` holds, but for the place

# What only a trainer reads, and an empty form for a README. Some of it is pickle, which does not
# belong into a folder people share.
_OF_THE_TRAINER = re.compile(
    r"(optimizer\.(pt|bin)|scheduler\.pt|scaler\.pt|rng_state.*\.pth|training_args\.bin|latest"
    r"|trainer_state\.json|zero_to_\w+\.py|args\.json|README\.md|global_step\d+/.*"
    r"|iter_\d+/.*|latest_checkpointed_iteration\.txt"  # Megatron's
    r"|uploaded-\w+-\d+)|" + re.escape(MARKER)
)

# What one rank alone writes, and reads again: its random numbers, and its share of DeepSpeed ZeRO.
_OF_A_RANK = re.compile(
    r"rng_state_(\d+)\.pth|global_step\d+/(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_\d+_\w+_states\.pt"
)


class Checkpoint(NamedTuple):
    """A complete checkpoint.

    Attributes:
        uri: its folder.
        step: after how many optimizer steps it was taken.
        epoch: the same in passes over the training clips.
        loss: on the training clips since the last report; None when none was made.
        eval_loss: mean over the validation clips; None without such.
        steps: how many the whole training has; None when that was not noted.
    """

    uri: str
    step: int
    epoch: float
    loss: float | None
    eval_loss: float | None
    steps: int | None = None

    @property
    def is_last(self) -> bool:
        """Whether the training has nothing left to do after it."""
        return self.steps is not None and self.step >= self.steps


def complete_checkpoints(store: str) -> list[Checkpoint]:
    """The complete checkpoints in the folder ``store``, in order of steps."""
    found = []
    for file in storage.list_files(f"{store}/checkpoint-*/{MARKER}"):
        with suppress(FileNotFoundError):  # a training under way has deleted it since
            values = json.loads(storage.read_bytes(file))
            found.append(Checkpoint(uri=file.rsplit("/", 1)[0], **values))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def mark_complete(checkpoint: Checkpoint) -> None:
    """Declare that every file of a checkpoint is in its folder."""
    values = checkpoint._asdict()
    uri = values.pop("uri")
    storage.write_bytes(storage.join(uri, MARKER), json.dumps(values).encode())


def best(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The one with the lowest validation loss, the earlier of equals; without losses the last."""
    known = [c for c in checkpoints if c.eval_loss is not None]
    return min(known, key=lambda c: (c.eval_loss, c.step)) if known else checkpoints[-1]


def superseded(checkpoints: Sequence[Checkpoint], limit: int) -> list[Checkpoint]:
    """Those that may go: all but the ``limit`` newest and the best."""
    ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.step)
    keep = {*ordered[-limit:], best(ordered)} if ordered else set()
    return [checkpoint for checkpoint in ordered if checkpoint not in keep]


def delete(checkpoint: Checkpoint) -> None:
    """Delete a checkpoint, its marker first: what is left of it by a crash is not complete."""
    storage.remove(storage.join(checkpoint.uri, MARKER))
    storage.remove(checkpoint.uri)


def delete_incomplete(store: str) -> None:
    """Delete what trainings that were cut off have left behind."""
    whole = {checkpoint.step for checkpoint in complete_checkpoints(store)}
    files = storage.list_files(store)
    steps = {int(m[1]) for file in files if (m := re.search(r"/checkpoint-(\d+)/", file))}
    for step in steps - whole:
        storage.remove(storage.join(store, f"checkpoint-{step}"))


def upload(folder: Path, uri: str) -> None:
    """Copy the files of one node's part of a checkpoint to its folder."""
    filesystem, path = storage.filesystem_of(uri)
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        target = f"{path}/{file.relative_to(folder).as_posix()}"
        filesystem.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        filesystem.put_file(str(file), target)


def needed_by(ranks: Collection[int], name: str) -> bool:
    """Whether any of these ranks reads a file of a checkpoint to go on from it.

    Each reads what no rank or it itself has written. That holds while there are as many ranks as
    when it was written: with others DeepSpeed refuses to go on.

    Args:
        ranks: by their numbers in the whole training.
        name: of the file, in the checkpoint's folder.
    """
    match = _OF_A_RANK.fullmatch(name)
    return match is None or int(match[1] or match[2]) in ranks


def uploaded_note(uri: str, attempt: str, node: int) -> str:
    """The file that says that a node has copied its part of the checkpoint ``uri``.

    Args:
        uri: the checkpoint's folder.
        attempt: which start of the training wrote it, in letters and figures.
        node: its number.
    """
    return storage.join(uri, f"uploaded-{attempt}-{node}")


def publish(checkpoint: Checkpoint, uri: str, files: Mapping[str, bytes], marker: str) -> None:
    """Make the model in a checkpoint the content of ``uri``; it appears at once or not at all.

    Nothing is copied through this machine: a local checkpoint is linked, one in an object store
    copied there, with ``marker`` last.

    Args:
        checkpoint: stays as it is.
        uri: the folder to make, on the same filesystem as the checkpoint.
        files: further files by name.
        marker: the file without which ``uri`` counts as absent.
    """
    names = sorted(
        name
        for file in storage.list_files(checkpoint.uri)
        if not _OF_THE_TRAINER.fullmatch(name := file.removeprefix(f"{checkpoint.uri}/"))
    )
    storage.remove(uri)
    source, target = storage.local_path(checkpoint.uri), storage.local_path(uri)
    if source is None or target is None:
        filesystem, path = storage.filesystem_of(uri)
        origin = storage.filesystem_of(checkpoint.uri)[1]
        for name in sorted(set(names) - set(files) - {marker}):
            filesystem.cp_file(f"{origin}/{name}", f"{path}/{name}")  # ``copy`` reads patterns
        for name in sorted(files, key=lambda name: name == marker):
            storage.write_bytes(storage.join(uri, name), files[name])
        if marker not in files:
            filesystem.cp_file(f"{origin}/{marker}", f"{path}/{marker}")
        return
    # Beside the checkpoint and not beside the members: there, a folder is a member.
    with local_files.temporary_sibling(source) as staged:
        staged.mkdir(parents=True)
        mode = _mode_of_new_files(staged)
        for name in names:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            _link(source / name, staged / name)
            if (staged / name).stat().st_mode & 0o777 != mode:
                (staged / name).chmod(mode)  # safetensors makes files that nobody else can read
        for name, data in files.items():
            (staged / name).unlink(missing_ok=True)  # never write through a link
            (staged / name).write_bytes(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged, target)


def _mode_of_new_files(folder: Path) -> int:
    """The permissions that a file gets here: to ask for the umask is to change it, for all."""
    probe = folder / ".mode"
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    return mode


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a filesystem without hard links
        shutil.copyfile(source, target)
