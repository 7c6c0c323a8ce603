"""How a command ends: what people are told, and the exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ah_ray.errors import ConfigError, StageError, Terminated
from ah_ray.evaluation.leaks import LeakError
from ah_ray.extras import extra_of
from ah_ray.progress import results
from ah_ray.storage_errors import StorageError, explained, fix_of


@contextmanager
def told() -> Iterator[None]:
    """Exit when what is done inside fails.

    With code 2 and one clear message for a wrong setting; with 1 for what else ends a stage, and
    what helps; with 130 after Ctrl-C and 143 after SIGTERM. Whatever was written stays.
    """
    from ah_ray.training.process import SwiftError

    try:
        yield
    except (ConfigError, LeakError, StageError, OSError, SwiftError) as error:
        fix = ""
        if isinstance(error, StorageError):
            fix = error.fix
        elif isinstance(error, OSError):
            if not explained(error):
                raise
            fix = fix_of(error)
        results.print("[red]error[/]", end=" ")
        results.print(str(error) + (f"\n  fix: {fix}" if fix else ""), markup=False)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except ModuleNotFoundError as error:
        if (advice := extra_of(error.name)) is None:
            raise
        results.print(f"[red]error[/] {error.name} is not installed\n  fix: {advice}")
        sys.exit(2)
    except SystemExit as end:
        if (code := _stopped(end)) is None:
            raise
        results.print("stopped; the same command goes on where it stopped")
        sys.exit(code)


def _stopped(end: SystemExit) -> int | None:
    """The exit code after Ctrl-C or SIGTERM, which Typer and Ray make an exit of; else None."""
    if end.code == signal.SIGTERM:  # Ray's own handler, while it starts
        return 128 + signal.SIGTERM
    error: BaseException | None = end
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
