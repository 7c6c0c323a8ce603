"""MS-Swift loads this file (``--external_plugins``): what happens inside a training.

It checks that every row is there and in the tokens that scoring will ask in, completes each
checkpoint, and reports the speed.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch.distributed
from swift.callbacks import TrainerCallback, callbacks_map

from ah_ray import storage
from ah_ray.members import Member, MemberCard
from ah_ray.models.architecture import find_architecture
from ah_ray.training.checkpoints import (
    Checkpoint,
    complete_checkpoints,
    delete,
    mark_complete,
    superseded,
    upload,
)
from ah_ray.training.same_tokens import require_same_tokens
from ah_ray.training.swift import CALLBACK, CALLBACK_VARIABLE, MEMBER_VARIABLE


class Callback(TrainerCallback):  # type: ignore[misc]
    """Called by the trainer, in every rank."""

    def __init__(self, args: Any, trainer: Any) -> None:
        super().__init__(args, trainer)
        self._settings: dict[str, Any] = json.loads(os.environ[CALLBACK_VARIABLE])
        self._store: str = self._settings["store"]
        self._spoke: tuple[float, int] | None = None

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
            with Path(self._settings["rows"]).open("rb") as file:
                row = json.loads(file.readline())
            member = Member(self._settings["model"], MemberCard.model_validate_json(card))
            theirs = self.trainer.template.encode(row)["input_ids"]
            architecture = find_architecture(member.card.model.architecture)
            require_same_tokens(theirs, row, architecture.load_processor(member.uri), member)
        self._spoke = (time.monotonic(), state.num_input_tokens_seen)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Free the disk of a checkpoint that was brought here to go on from."""
        resumed = self._settings["resume"]
        if resumed and storage.local_path(self._store) is None and args.local_process_index == 0:
            shutil.rmtree(resumed, ignore_errors=True)
            self._settings["resume"] = None

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Add tokens per second, over all ranks and since the last report."""
        if "loss" in logs and self._spoke is not None:
            now, tokens = time.monotonic(), state.num_input_tokens_seen
            then, before = self._spoke
            logs["tokens_per_s"] = round((tokens - before) / max(now - then, 1e-9), 1)
            self._spoke = (now, tokens)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Complete a checkpoint: all ranks' files in the store, then the marker.

        The trainer waits, so that a node never holds two checkpoints of a large model.
        """
        name = f"checkpoint-{state.global_step}"
        local = Path(args.output_dir, name)
        _wait_for_all()
        if storage.local_path(self._store) is None:
            if args.local_process_index == 0:
                upload(local, storage.join(self._store, name))
                shutil.rmtree(local)
            _wait_for_all()
        if args.process_index == 0:
            mark_complete(
                Checkpoint(
                    uri=storage.join(self._store, name),
                    step=state.global_step,
                    epoch=round(state.epoch, 4),
                    loss=_newest(state.log_history, "loss"),
                    eval_loss=_newest(state.log_history, "eval_loss"),
                    steps=state.max_steps,
                )
            )
            done = complete_checkpoints(self._store)
            for checkpoint in superseded(done, self._settings["save_total_limit"]):
                delete(checkpoint)


def _newest(history: list[dict[str, Any]], key: str) -> float | None:
    return next((float(record[key]) for record in reversed(history) if key in record), None)


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


callbacks_map[CALLBACK] = Callback
