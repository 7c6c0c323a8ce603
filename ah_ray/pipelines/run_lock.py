"""One command at a time works on a run directory: a second one says who does, and ends.

The lock is a small file in the run directory, on any storage. Its holder writes it again every few
seconds, so a lock that does not change any more was left behind by a command that was killed, and
is taken over; at once when that command ran on this machine and its process is gone.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import console
from ah_ray.storage_errors import StorageError

LOCK_FILE = "lock.json"
_BEAT_S = 10.0  # how often a holder says that it is there
_DEAD_S = 45.0  # a lock that stays the same for so long is nobody's
_LOOK_S = 1.0


@contextmanager
def holding(
    run: RunDirectory, command: str, beat_s: float = _BEAT_S, dead_s: float = _DEAD_S
) -> Iterator[None]:
    """Keep a run directory to oneself.

    Args:
        run: the run directory.
        command: what people know the holder by, such as ``ah-ray score``.
        beat_s: how often the lock is renewed, in seconds.
        dead_s: after how long without that it is taken over, in seconds.

    Raises:
        ConfigError: another command works on the run; it is named.
    """
    uri = run.path(LOCK_FILE)
    mine = {
        "id": uuid.uuid4().hex,
        "command": command,
        "machine": platform.node(),
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "space": _process_space(),
        "started": _start_of(os.getpid()),
    }
    existed = storage.exists(run.uri)
    while not storage.create_bytes(uri, _text(mine, 0)):
        _wait_until_free(run, uri, dead_s)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(uri, mine, beat_s, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        if _holder(uri).get("id") == mine["id"]:
            storage.remove(uri)
        folder = storage.local_path(run.uri)
        if folder is not None and not existed:
            with suppress(OSError):  # a command that was refused leaves nothing behind
                folder.rmdir()


def holder_of(run: RunDirectory) -> str:
    """Who works on a run, in words; empty when nobody does."""
    holder = _holder(run.path(LOCK_FILE))
    return "" if not holder or _is_gone(holder) else _in_words(holder)


def _in_words(holder: dict[str, Any]) -> str:
    return (
        f"`{holder.get('command')}` on {holder.get('machine')} "
        f"(process {holder.get('process')}) since {holder.get('since')}"
    )


def _wait_until_free(run: RunDirectory, uri: str, dead_s: float) -> None:
    """Return when the lock is gone or was found to be nobody's.

    Raises:
        ConfigError: its holder is at work.
    """
    first, said = _holder(uri), False
    deadline = time.monotonic() + dead_s
    while (now := _read(uri)) is not None:
        gone = _is_gone(now)
        # A lock that could not be read was being written when we looked.
        if gone is False or (first.get("id") and now != first):
            raise ConfigError(
                run.uri,
                f"is in use by {_in_words(now)}",
                "wait until it ends, or give another --run",
            )
        if gone or time.monotonic() > deadline:
            _take_away(uri, now, dead_s)
            return
        if not said:
            console.print(
                f"  waiting to see whether {now.get('machine', 'somebody')} still works on the run"
            )
            said = True
        first = first or now
        time.sleep(_LOOK_S)


def _take_away(uri: str, dead: dict[str, Any], dead_s: float) -> None:
    """Remove a lock that is nobody's, unless another one stands in its place by now.

    Of several who found the same lock one removes it: the others might remove the lock of the
    one who was faster.
    """
    claim = f"{uri}.{dead.get('id', 'unreadable')}"
    deadline = time.monotonic() + dead_s
    while not storage.create_bytes(claim, b""):
        if _holder(uri).get("id") != dead.get("id"):
            return
        if time.monotonic() > deadline:  # who claimed it was killed in between
            storage.remove(claim)
        time.sleep(_LOOK_S / 10)
    try:
        if _holder(uri).get("id") == dead.get("id"):
            storage.remove(uri)
    finally:
        storage.remove(claim)


def _holder(uri: str) -> dict[str, Any]:
    """What a lock says; empty when there is none, or it cannot be read."""
    return _read(uri) or {}


def _read(uri: str) -> dict[str, Any] | None:
    """What a lock says; empty when it cannot be read, None when there is none."""
    try:
        return dict(json.loads(storage.read_bytes(uri)))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError):
        return {}


def _is_gone(holder: dict[str, Any]) -> bool | None:
    """Whether the process of a holder is gone; None when it cannot be seen from here."""
    if holder.get("space") != _process_space():
        return None
    return _start_of(int(holder["process"])) != holder.get("started")


def _process_space() -> str:
    """Names where process numbers mean the same: this machine since its start, or a container."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    return f"{platform.node()} {uuid.uuid4().hex}"  # not Linux: never sure


def _start_of(process: int) -> str | None:
    """When a process was started, as Linux counts it; None when there is none."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _beat(uri: str, mine: dict[str, Any], beat_s: float, ended: threading.Event) -> None:
    """Renew the lock until ``ended``, or until somebody else has it."""
    beats = 0
    while not ended.wait(beat_s):
        beats += 1
        with suppress(StorageError):  # the next beat may come through
            if _holder(uri).get("id") != mine["id"]:
                return
            storage.write_bytes(uri, _text(mine, beats))


def _text(mine: dict[str, Any], beats: int) -> bytes:
    return (json.dumps(mine | {"beats": beats}, indent=1) + "\n").encode()
