"""MS-Swift loads this file (``--external_plugins``): what happens inside a training of Megatron.

The counterpart of ``swift_callback``; it has never been run in a training (``megatron_trainer``).
Runs are on a disk that all nodes see, so that nothing is copied.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch.distributed
from swift.megatron.callbacks import MegatronCallback, megatron_callbacks_map

from ah_ray import storage
from ah_ray.training.adapters import name_adapted
from ah_ray.training.checkpoints import (
    Checkpoint,
    complete_checkpoints,
    delete,
    mark_complete,
    superseded,
)
from ah_ray.training.same_tokens import require_first_row
from ah_ray.training.swift import CALLBACK, CALLBACK_VARIABLE, MEMBER_VARIABLE


class Callback(MegatronCallback):  # type: ignore[misc]
    """Called by the trainer, in every rank."""

    def __init__(self, trainer: Any) -> None:
        super().__init__(trainer)
        self._settings: dict[str, Any] = json.loads(os.environ[CALLBACK_VARIABLE])
        self._loss: float | None = None

    def on_train_begin(self) -> None:
        """Fail unless every row has its part in a step, in the tokens of scoring."""
        expected = self._settings["steps"]
        if self.args.train_iters != expected:
            raise RuntimeError(
                f"{self._settings['rows']} makes {expected} optimizer steps, MS-Swift would make "
                f"{self.args.train_iters}"
            )
        if (card := os.environ.get(MEMBER_VARIABLE)) and _rank() == 0:
            of = self._settings
            require_first_row(of["rows"], self.trainer.template, of["model"], card)

    def on_log(self, logs: dict[str, Any]) -> None:
        """Remember the loss, which the ranks with the last layers know."""
        if "loss" in logs:
            self._loss = float(logs["loss"])

    def on_save(self, output_dir: str) -> None:
        """Complete a checkpoint: its files are there when the trainer calls this, in every rank."""
        loss = _told_by_the_last(self._loss)
        if _rank() == 0:
            step, steps = self.state.iteration, self.args.train_iters
            if self.args.tuner_type == "lora":
                name_adapted(Path(output_dir))
            mark_complete(
                Checkpoint(
                    uri=storage.join(self._settings["store"], Path(output_dir).name),
                    step=step,
                    epoch=round(step / steps * self.args.num_train_epochs, 4),
                    loss=loss,
                    eval_loss=None,
                    steps=steps,
                )
            )
            done = complete_checkpoints(self._settings["store"])
            for old in superseded(done, self._settings["save_total_limit"]):
                delete(old)
        _wait_for_all()


def _rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _told_by_the_last(value: float | None) -> float | None:
    """What the last rank says, in all ranks."""
    said = [value]
    if torch.distributed.is_initialized():
        last = torch.distributed.get_world_size() - 1
        torch.distributed.broadcast_object_list(said, src=last)
    return said[0]


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


megatron_callbacks_map[CALLBACK] = Callback
