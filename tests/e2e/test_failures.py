"""Processes that die while a job runs: nothing is lost, nothing is tried for ever."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.e2e.helpers import ah_ray, kill_when


def test_killed_while_training_goes_on_from_the_last_checkpoint(copy_of_demo: Path) -> None:
    shutil.rmtree(copy_of_demo / "members" / "v1")
    shutil.rmtree(copy_of_demo / "train", ignore_errors=True)
    arguments = ["train", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo)]
    arguments += ["--set", "recipes.lora.epochs=0.3", "--set", "train.validation_splits=[]"]
    arguments += ["--set", "recipes.lora.save_every_steps=4"]
    command = [sys.executable, "-m", "ah_ray.cli", *arguments]
    markers = copy_of_demo / "train"

    def newest_step() -> int:
        complete = markers.glob("v1/*/checkpoints/checkpoint-*/complete.json")
        return max((json.loads(path.read_text())["step"] for path in complete), default=0)

    # Told to stop, as by a batch system; then killed.
    for how in (signal.SIGTERM, signal.SIGKILL):
        before = newest_step()
        kill_when(command, lambda: newest_step() > before, with_workers=False, how=how)  # noqa: B023
        assert not (copy_of_demo / "members" / "v1").exists()
        deadline = time.monotonic() + 60
        while processes_of(copy_of_demo):
            assert time.monotonic() < deadline, "a part of swift outlives the job that started it"
            time.sleep(0.5)
    done = ah_ray(*arguments)
    assert "1 members to do, 2 were trained before" in done.stdout
    assert "v1: goes on from step " in done.stdout
    member = copy_of_demo / "members" / "v1"
    card = yaml.safe_load((member / "member.yaml").read_text())
    assert card["trained"]["rows"] == card["trained"]["clips"]
    assert card["trained"]["checkpoint"]["epoch"] == pytest.approx(0.3, abs=0.01)
    # The adapter is on the language model alone.
    config = json.loads((member / "adapter_config.json").read_text())
    assert all("model.layers" in name for name in config["target_modules"])
    assert not list(markers.glob("v1/*/checkpoints"))


def processes_of(run: Path) -> list[int]:
    """The processes of a training: they have their output folder among their arguments."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if any(part.startswith(f"{run}/train") for part in process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
