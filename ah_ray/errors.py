"""The two errors of the system: a wrong configuration stops a run, a bad item becomes a row."""

from __future__ import annotations

import signal
from typing import NoReturn


class ConfigError(Exception):
    """A setting or input that makes a run impossible; raised before any work starts.

    Args:
        where: the file and the key (or the option) that is wrong.
        problem: what is wrong with it.
        fix: what the reader can do about it.
    """

    def __init__(self, where: str, problem: str, fix: str) -> None:
        super().__init__(f"{where}: {problem}\n  fix: {fix}")
        self.where = where
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str, str]]:
        """Pickle with all arguments, so that the error survives the way between processes."""
        return type(self), (self.where, self.problem, self.fix)


class ItemError(Exception):
    """One item (a video, a clip) that cannot be processed; it becomes a row and the job goes on.

    Args:
        kind: a short stable name that tables and reports group by, e.g. ``unreadable``.
        message: one line for people.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def __reduce__(self) -> tuple[type[ItemError], tuple[str, str]]:
        """Pickle with both arguments, so that the error survives the way between processes."""
        return type(self), (self.kind, self.message)


class Terminated(KeyboardInterrupt):
    """The process was told to end (SIGTERM); what works on Ctrl-C works on this."""


def terminate(*_: object) -> NoReturn:
    """The handler of SIGTERM.

    Raises:
        Terminated: always.
    """
    # Ray's C++ part, while it starts, calls this after it has set a clock that aborts the process.
    signal.alarm(0)
    raise Terminated


class StageError(Exception):
    """A stage that cannot go on; what it has written stays, and the next run continues there."""
