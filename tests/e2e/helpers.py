"""Running the command line as a person does, and reading what it wrote."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from ah_ray import schemas, tables

ROOT = Path(__file__).parents[2]


def ah_ray(*arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does, from the repository's folder."""
    done = subprocess.run(
        [sys.executable, "-m", "ah_ray.cli", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )
    assert not check or done.returncode == 0, done.stdout[-5000:]
    return done


def kill_when(
    command: list[str],
    ready: Callable[[], bool],
    with_workers: bool = True,
    timeout_s: float = 900,
    how: signal.Signals = signal.SIGKILL,
) -> None:
    """Start ``command`` and kill it as soon as ``ready``.

    With its workers it goes as when a machine loses power; without them, Ray has to notice.
    """
    child = psutil.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    deadline = time.monotonic() + timeout_s
    try:
        while not ready():
            assert child.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline, "never got to the point where it should be killed"
            time.sleep(0.02)
    finally:
        doomed = [child]
        with contextlib.suppress(psutil.NoSuchProcess):  # it may just have ended by itself
            doomed += child.children(recursive=True) if with_workers else []
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)
        psutil.wait_procs(doomed, timeout=30)


def rows(path: Path, schema: pa.Schema, partition: str | None = None) -> list[dict[str, Any]]:
    """A table's rows in an order that does not depend on files."""
    table = tables.read_table(str(path), schema, partition)
    return sorted(table.to_pylist(), key=lambda row: json.dumps(row, sort_keys=True, default=str))


def result_rows(run: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table that scoring and reducing write."""
    return {
        "predictions": rows(run / "predictions", schemas.PREDICTIONS, "member"),
        "verdicts": rows(run / "verdicts", schemas.VERDICTS),
    }
