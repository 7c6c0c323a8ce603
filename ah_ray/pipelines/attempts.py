"""Work that may take its process down: counted outside of it, stopped when it hangs.

Ray starts a process that died again with the same work, without limit. Who asks `Attempts` first
knows how often the work was begun and did not come back, and goes on by the rule of `quarantine`.
What stops a stage for good is told to the driver on the same way, as Ray wraps it beyond
recognition.
"""

from __future__ import annotations

import faulthandler
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ah_ray.errors import ConfigError, StageError
from ah_ray.storage_errors import StorageError


class Next(NamedTuple):
    """What is next of a batch: keys to try at once, or one that is given up.

    Attributes:
        keys: what to try.
        died: how often the process died on the key that is given up; 0 where there are tries left.
    """

    keys: list[str]
    died: int


def quarantine(tries: Mapping[str, int], most: int, together: int = 0) -> list[Next]:
    """How to go on with work that may have taken its process down.

    First all keys at once: what a process dies of may lie outside of them. When that did not help,
    one by one, so that what is deadly dies alone; and what is deadly is given up in the end.

    Args:
        tries: how often each key was begun and did not come back (``Attempts.unfinished``).
        most: a key that did not come back so often is given up.
        together: how many of these tries go with the other keys.
    """
    if tries and max(tries.values()) < together:
        return [Next(list(tries), 0)]
    return [Next([key], died if died >= most else 0) for key, died in tries.items()]


class Attempts:
    """Unfinished tries by key; a handle that workers on any node can hold."""

    def __init__(self) -> None:
        # Beside the driver, so that it does not go with a worker node.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._counter: Any = _Counter.options(  # type: ignore[attr-defined]
            scheduling_strategy=here
        ).remote()

    def unfinished(self, keys: Sequence[str]) -> dict[str, int]:
        """How many tries of each key were begun and did not come back."""
        tries: dict[str, int] = ray.get(self._counter.unfinished.remote(keys))
        return tries

    def began(self, kind: str = "") -> bool:
        """Whether any key was ever tried; with ``kind`` any that has it as its first word."""
        began: bool = ray.get(self._counter.began.remote(kind))
        return began

    @contextmanager
    def trying(self, keys: Sequence[str], timeout_s: float, whole: bool = True) -> Iterator[None]:
        """A try at ``keys``; ends the process when it takes longer than ``timeout_s`` seconds.

        The try has come back when the block is left, whether or not by an exception; but not by one
        that ends the process (``sys.exit``).

        Args:
            keys: what is tried.
            timeout_s: how long that may take.
            whole: with the block the work is done, and earlier tries are forgotten; else there is
                more to do, and they are not.
        """
        ray.get(self._counter.start.remote(keys))
        came_back = False
        try:
            with _deadlines.within(timeout_s):
                yield
            came_back = True
        except Exception:
            came_back = True
            raise
        finally:
            if came_back:
                ray.get(self._counter.finish.remote(keys, whole))

    @contextmanager
    def telling(self) -> Iterator[None]:
        """In a worker: leave word of the error that ends the stage."""
        try:
            yield
        except Exception as error:
            known = isinstance(error, ConfigError | StageError | StorageError)
            told = error if known else StageError(f"{type(error).__name__}: {error}")
            ray.get(self._counter.tell.remote(told))
            raise

    @contextmanager
    def listening(self) -> Iterator[None]:
        """In the driver: raise what a worker has told, in place of Ray's account of it.

        Raises:
            ConfigError: a setting proved to be wrong.
            StorageError: a storage failed for good.
            StageError: anything else that a worker cannot turn into rows.
        """
        try:
            yield
        except ray.exceptions.RayError:
            told = ray.get(self._counter.told.remote())
            if told is None:
                raise
            raise told from None


class _Deadlines:
    """Ends the process when a block takes too long; blocks of several threads may be under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[float] = []

    @contextmanager
    def within(self, timeout_s: float) -> Iterator[None]:
        """A block that may take ``timeout_s`` seconds."""
        end = time.monotonic() + timeout_s
        with self._lock:
            self._ends.append(end)
            self._watch()
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)
                self._watch()

    def _watch(self) -> None:
        if not self._ends:
            faulthandler.cancel_dump_traceback_later()
            return
        # A thread of C: it works while a block holds the interpreter, and leaves a traceback.
        left = max(1e-3, min(self._ends) - time.monotonic())
        faulthandler.dump_traceback_later(left, exit=True, file=2)


_deadlines = _Deadlines()


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class _Counter:
    def __init__(self) -> None:
        self._tries: dict[str, int] = defaultdict(int)
        self._told: Exception | None = None
        self._kinds: set[str] = set()

    def start(self, keys: Sequence[str]) -> None:
        self._kinds.update(key.split(" ")[0] for key in keys)
        for key in keys:
            self._tries[key] += 1

    def finish(self, keys: Sequence[str], whole: bool) -> None:
        for key in keys:
            self._tries[key] = 0 if whole else self._tries[key] - 1
            if not self._tries[key]:
                del self._tries[key]

    def unfinished(self, keys: Sequence[str]) -> dict[str, int]:
        return {key: self._tries.get(key, 0) for key in keys}

    def began(self, kind: str) -> bool:
        return kind in self._kinds if kind else bool(self._kinds)

    def tell(self, error: Exception) -> None:
        self._told = self._told or error

    def told(self) -> Exception | None:
        return self._told
