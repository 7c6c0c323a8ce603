"""Files and folders of this machine that are whole or not there, and its cache of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

TEMPORARY = ".ah_ray-tmp-"  # prefix of names that no reader may look at; no user's own
_LOCK = ".lock"  # suffix of what a process holds while it makes something of the cache


def cached_folder(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache; whole, or not there.

    One process of a machine makes it while the others wait. The lock goes with its process: one
    that is killed leaves the work to the next.

    Args:
        name: of the folder; stands for its content.
        make: writes it at the path that it is given, once per machine.
    """
    folder = cache_folder() / name
    if folder.exists():
        return folder
    _clear_leftovers(folder.parent)
    unfinished = folder.with_name(TEMPORARY + name)
    with _alone_with(unfinished):
        if not folder.exists():
            make(unfinished)
            os.replace(unfinished, folder)
    return folder


@cache  # once per process; what is asked for again is cleared when it is made
def _clear_leftovers(folder: Path) -> None:
    """Delete what processes that were killed have left of other folders of the cache."""
    for left in folder.glob(f"{TEMPORARY}*"):
        with suppress(Timeout), _alone_with(left.with_name(left.name.removesuffix(_LOCK)), 0):
            pass


@contextmanager
def _alone_with(unfinished: Path, timeout_s: float = -1) -> Iterator[None]:
    """Nobody else on this machine works on ``unfinished``, which is not there before or after.

    Raises:
        Timeout: somebody else does, for longer than ``timeout_s`` seconds (-1 waits for ever).
    """
    lock = unfinished.with_name(unfinished.name + _LOCK)
    with FileLock(lock, timeout=timeout_s):
        _delete(unfinished)
        try:
            yield
        finally:
            _delete(unfinished)
            lock.unlink(missing_ok=True)  # who waits for it sees that, and takes a new one


def _delete(path: Path) -> None:
    """Delete a local file or folder if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where downloads of this machine are kept."""
    default = Path(tempfile.gettempdir()) / "ah_ray_cache"
    folder = Path(os.environ.get("AH_RAY_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """An unused name beside ``path``, to be renamed to it; removed afterwards if it is not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}-{path.name}")
    try:
        yield temporary
    finally:
        _delete(temporary)
