"""Progress of a stage: a bar on a terminal, a line a minute elsewhere, and metrics of Ray."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 60.0
_TOP_KINDS = 3

#: What a command does while it works; ``--quiet`` silences it.
console = Console(soft_wrap=True, highlight=False)
#: What a command was asked for: results and errors.
results = Console(soft_wrap=True, highlight=False)


class Cost(NamedTuple):
    """What one call of a stage has taken; the fields of ``schemas.COSTS``, but for when."""

    stage: str
    unit: str
    done: int
    errors: int
    seconds: float


class StageProgress:
    """Counts items of a stage as they finish.

    Args:
        stage: what people read, e.g. ``score v1``.
        total: how many items there are to do.
        unit: what an item is, e.g. ``clips``.
        done_before: items that an earlier run finished.
        table: where the errors are told one by one.
        note: takes what the stage has cost when it ends well and had anything to do.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        unit: str,
        done_before: int = 0,
        table: str | None = None,
        note: Callable[[Cost], None] | None = None,
    ) -> None:
        self._stage, self._total, self._unit = stage, total, unit
        self._note = note
        self._done = self._errors = 0
        self._before, self._table = done_before, table
        self._kinds: Counter[str] = Counter()
        self._start = self._said = time.monotonic()
        self._bar: Progress | None = None
        self._metrics: _Metrics | None = None

    def __enter__(self) -> StageProgress:
        kept = f", {self._before} were done before" if self._before else ""
        console.print(f"[bold]{self._stage}[/]: {self._total} {self._unit} to do{kept}")
        if console.is_terminal and self._total:
            self._bar = Progress(
                TextColumn("  "), BarColumn(), MofNCompleteColumn(), TextColumn(self._unit),
                TextColumn("{task.fields[rate]:.1f}/s"), TimeRemainingColumn(),
                TextColumn("{task.fields[errors]} errors"),
                console=console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task(self._stage, total=self._total, rate=0.0, errors=0)
            self._bar.start()
        return self

    def advance(self, done: int, errors: int = 0, kinds: Iterable[str] = ()) -> None:
        """Report that ``done`` more items are finished.

        Args:
            done: how many.
            errors: how many errors they ended with.
            kinds: of these errors, each as often as it was met.
        """
        self._done += done
        self._errors += errors
        self._kinds.update(kinds)
        now = time.monotonic()
        rate = self._done / (now - self._start) if now > self._start else 0.0
        left_s = (self._total - self._done) / rate if rate else 0.0
        if self._metrics is None:
            self._metrics = _Metrics(self._stage, self._unit)
        self._metrics.set(done=self._done, total=self._total, errors=self._errors, left_s=left_s)
        if self._bar is not None:
            self._bar.update(self._task, advance=done, rate=rate, errors=self._errors)
        elif now - self._said >= _LINE_EVERY_S:
            self._said = now
            console.print(
                f"  {self._done}/{self._total} {self._unit}, {rate:.1f}/s, "
                f"{left_s:.0f} s left, {self._errors} errors"
            )

    def advance_to(self, done: int) -> None:
        """Report that ``done`` items are finished in all."""
        self.advance(done - self._done)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._total and error is None:
            seconds = time.monotonic() - self._start
            rate = f" ({self._done / seconds:.1f}/s)" if seconds else ""
            console.print(
                f"  {self._done} {self._unit} in {seconds:.1f} s{rate}, {self._errors} with errors"
                f"{self._reasons()}",
                markup=False,
            )
            if self._note is not None:
                self._note(Cost(self._stage, self._unit, self._done, self._errors, seconds))

    def _reasons(self) -> str:
        """The most frequent kinds of errors, and where all of them are."""
        if not self._errors:
            return ""
        top = self._kinds.most_common(_TOP_KINDS)
        kinds = ", ".join(f"{count} {kind}" for kind, count in top)
        if len(self._kinds) > len(top):
            kinds += ", …"
        return (f": {kinds}" if kinds else "") + (f"; see {self._table}" if self._table else "")


class _Metrics:
    """The same numbers as gauges, which Ray serves to Prometheus (``ray_ah_ray_clips_done``)."""

    def __init__(self, stage: str, unit: str) -> None:
        from ray.util.metrics import Gauge  # seconds; only stages that get anything done need it

        self._gauges = {
            name: Gauge(f"ah_ray_{unit}_{name}", description, tag_keys=("stage",))
            for name, description in (
                ("done", "finished by this call"),
                ("total", "to be done by this call"),
                ("errors", "finished with an error"),
                ("left_s", "seconds until the rest is finished, at the rate so far"),
            )
        }
        self._tags = {"stage": stage}

    def set(self, **values: float) -> None:
        for name, value in values.items():
            self._gauges[name].set(value, tags=self._tags)


def printable(text: str) -> str:
    r"""``text`` with every character escaped that a terminal could take for a command.

    >>> printable("caf\u00e9\x1b[2J")
    'café\\x1b[2J'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
