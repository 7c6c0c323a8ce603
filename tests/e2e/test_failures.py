"""Processes that die while a job runs: nothing is lost, nothing is tried for ever."""

import json
import shutil
import sys
import time
from pathlib import Path

import psutil

from tests.e2e.helpers import ah_ray, kill_when


def test_killed_while_training_leaves_no_half_member_and_no_process(
    copy_of_demo: Path, same_inputs: list[str]
) -> None:
    shutil.rmtree(copy_of_demo / "members" / "v1")
    shutil.rmtree(copy_of_demo / "train")
    arguments = ["train", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo), *same_inputs]
    arguments += ["--set", "recipes.lora.epochs=0.2"]
    progress = copy_of_demo / "train" / "ray" / "v1.progress.json"
    command = [sys.executable, "-m", "ah_ray.cli", *arguments]
    kill_when(command, progress.exists, with_workers=False)
    assert not (copy_of_demo / "members" / "v1" / "member.yaml").exists()
    deadline = time.monotonic() + 60
    while swift_processes():
        assert time.monotonic() < deadline, "swift outlives the job that started it"
        time.sleep(0.5)
    done = ah_ray(*arguments)
    assert "1 members to do, 2 were trained before" in done.stdout
    member = copy_of_demo / "members" / "v1"
    assert (member / "member.yaml").exists()
    # The adapter is on the language model alone.
    config = json.loads((member / "adapter_config.json").read_text())
    assert all("model.layers" in name for name in config["target_modules"])


def swift_processes() -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if "swift.cli.main" in (process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
