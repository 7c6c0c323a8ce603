"""MS-Swift loads this file (``--external_plugins``): what happens inside a training.

It checks that every row is there and in the tokens that scoring will ask in, completes each
checkpoint, and reports the speed.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch.distributed
from swift.callbacks import TrainerCallback, callbacks_map

from ah_ray import storage
from ah_ray.training.checkpoints import (
    Checkpoint,
    complete_checkpoints,
    delete,
    mark_complete,
    superseded,
    upload,
    uploaded_note,
)
from ah_ray.training.same_tokens import require_first_row
from ah_ray.training.swift import CALLBACK, CALLBACK_VARIABLE, MEMBER_VARIABLE

_LOOKS_EVERY_S = 1.0  # for what other nodes have copied


class Callback(TrainerCallback):  # type: ignore[misc]
    """Called by the trainer, in every rank."""

    def __init__(self, args: Any, trainer: Any) -> None:
        super().__init__(args, trainer)
        self._settings: dict[str, Any] = json.loads(os.environ[CALLBACK_VARIABLE])
        self._store: str = self._settings["store"]
        self._spoke: tuple[float, int] | None = None
        self._uploading: Future[None] | None = None
        self._attempt = ""

    def on_init_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Come before the callbacks that write what ``on_log`` adds."""
        handler = self.trainer.callback_handler
        handler.callbacks = [self, *(other for other in handler.callbacks if other is not self)]

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Fail unless the data sets have all rows of their files, in the tokens of scoring."""
        for name, dataset in (
            ("rows", self.trainer.train_dataset),
            ("validation", self.trainer.eval_dataset),
        ):
            if path := self._settings[name]:
                written = Path(path).read_bytes().count(b"\n")
                rows = len(getattr(dataset, "dataset", dataset))
                if rows != written:
                    raise RuntimeError(f"{path} has {written} rows, MS-Swift took {rows}")
        if (card := os.environ.get(MEMBER_VARIABLE)) and args.process_index == 0:
            of = self._settings
            require_first_row(of["rows"], self.trainer.template, of["model"], card)
        self._attempt = _told_by_the_first(uuid.uuid4().hex)
        self._spoke = (time.monotonic(), state.num_input_tokens_seen)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Make room on the disk: for the checkpoint to come, and of one that was brought here."""
        if self._saves_after(args, state.global_step):
            self._finish_upload()
        resumed = self._settings["resume"]
        if resumed and storage.local_path(self._store) is None and args.local_process_index == 0:
            shutil.rmtree(resumed, ignore_errors=True)
            self._settings["resume"] = None

    def _saves_after(self, args: Any, step: int) -> bool:
        return args.save_strategy != "steps" or step % int(args.save_steps) == 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Add tokens per second, over all ranks and since the last report."""
        if "loss" in logs and self._spoke is not None:
            now, tokens = time.monotonic(), state.num_input_tokens_seen
            then, before = self._spoke
            logs["tokens_per_s"] = round((tokens - before) / max(now - then, 1e-9), 1)
            self._spoke = (now, tokens)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Complete a checkpoint: all ranks' files in the store, then the marker.

        To an object store it is copied while the training goes on. A node never holds more than
        the one that is copied and the one that is written: see ``on_step_end``.
        """
        name = f"checkpoint-{state.global_step}"
        local = Path(args.output_dir, name)
        checkpoint = Checkpoint(
            uri=storage.join(self._store, name),
            step=state.global_step,
            epoch=round(state.epoch, 4),
            loss=_newest(state.log_history, "loss"),
            eval_loss=_newest(state.log_history, "eval_loss"),
            steps=state.max_steps,
        )
        _wait_for_all()
        if storage.local_path(self._store) is not None:
            if args.process_index == 0:
                self._complete(checkpoint)
        elif args.local_process_index == 0:
            self._finish_upload()
            self._uploading = _in_background(self._upload, local, checkpoint)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait for the last checkpoint."""
        self._finish_upload()
        _wait_for_all()

    def _finish_upload(self) -> None:
        """Wait for the checkpoint that is being copied, and fail as its copying failed."""
        if self._uploading is not None:
            self._uploading.result()
            self._uploading = None

    def _upload(self, local: Path, checkpoint: Checkpoint) -> None:
        """Copy this node's files; the first node completes the checkpoint when all have theirs."""
        node, nodes = _node_and_nodes()
        # Named after the attempt: one that was cut off at the same step may have left some.
        notes = [uploaded_note(checkpoint.uri, self._attempt, other) for other in range(nodes)]
        upload(local, checkpoint.uri)
        shutil.rmtree(local)
        storage.write_bytes(notes[node], b"")
        if node == 0:
            while not all(map(storage.exists, notes)):
                time.sleep(_LOOKS_EVERY_S)  # should one never come, the training ends before
            self._complete(checkpoint)

    def _complete(self, checkpoint: Checkpoint) -> None:
        mark_complete(checkpoint)
        done = complete_checkpoints(self._store)
        for old in superseded(done, self._settings["save_total_limit"]):
            delete(old)


def _in_background(work: Callable[..., None], *arguments: Any) -> Future[None]:
    """Run in a thread that does not keep a process alive that is told to end."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work(*arguments)
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _node_and_nodes() -> tuple[int, int]:
    """This node's number, and how many train, as torchrun says."""
    told = {key: int(os.environ.get(key, 1)) for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    return int(os.environ.get("GROUP_RANK", 0)), told["WORLD_SIZE"] // told["LOCAL_WORLD_SIZE"]


def _told_by_the_first(value: str) -> str:
    """What the first rank says, in all ranks."""
    said = [value]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(said, src=0)
    return said[0]


def _newest(history: list[dict[str, Any]], key: str) -> float | None:
    return next((float(record[key]) for record in reversed(history) if key in record), None)


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


callbacks_map[CALLBACK] = Callback
