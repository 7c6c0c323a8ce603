"""``swift`` as a child process: it reports while it runs, and dies with whoever started it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_SUPERVISOR = Path(__file__).with_name("supervisor.py")

STEP = "global_step/max_steps"  # the key by which MS-Swift's records have their step
_STEP_OF_MEGATRON = "iteration"  # the same in those of Megatron's trainer

_PROGRAMS = {"swift": "swift.cli.main", "megatron": "swift.cli._megatron.main"}

# Ray binds a worker to its device and threads with these; torchrun and MS-Swift set their own.
_RAY_SETS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


class SwiftError(RuntimeError):
    """`swift` failed; the message ends with the last lines it wrote."""


def run_swift(
    command: Sequence[str],
    extra_environment: Mapping[str, str],
    log: Path,
    records: Path,
    on_progress: Callable[[Mapping[str, object]], None],
) -> None:
    """Run a ``swift`` or ``megatron`` command to its end; all its processes die with this one.

    Args:
        command: from ``swift.command``.
        extra_environment: from ``swift.environment``.
        log: the file that gets what it prints.
        records: the ``logging.jsonl`` that it appends to; what is there before is not reported.
        on_progress: called with each record that names its step.

    Raises:
        SwiftError: it exited with an error.
    """
    seen = records.stat().st_size if records.exists() else 0
    inherited = {k: v for k, v in os.environ.items() if k not in _RAY_SETS}
    # The program of the environment that runs this, whatever the PATH; -P keeps the modules beside
    # the supervisor from hiding others of their names.
    program = [sys.executable, "-m", _PROGRAMS[command[0]], *command[1:]]
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-P", str(_SUPERVISOR), *program],
            env=inherited | dict(extra_environment),
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert child.stdin is not None
    try:
        while True:
            ended = child.poll() is not None
            seen = _report(records, seen, on_progress)
            if ended:
                break
            _wait(child)
    finally:
        child.stdin.close()
        child.wait()
    if child.returncode:
        raise SwiftError(f"swift exited with {child.returncode}:\n{last_lines(log)}")


def _report(records: Path, seen: int, on_progress: Callable[[Mapping[str, object]], None]) -> int:
    """Report the records after byte ``seen``; the byte up to which they are whole."""
    if not records.exists():
        return seen
    with records.open("rb") as file:
        file.seek(seen)
        # What follows the last newline is a record that is still being written.
        whole, newline, _ = file.read().rpartition(b"\n")
    for line in whole.splitlines():
        record = json.loads(line)
        if _STEP_OF_MEGATRON in record:
            record[STEP] = record.pop(_STEP_OF_MEGATRON)
        if STEP in record:
            on_progress(record)
    return seen + len(whole) + len(newline)


def last_lines(log: Path, count: int = 40) -> str:
    """The end of a log, without progress bars; torchrun's own words alone are 25 lines."""
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    return "\n".join(deque((line for line in lines if "it/s]" not in line), maxlen=count))


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return
