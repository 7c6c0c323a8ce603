"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from ah_ray.progress import console

Config = Annotated[
    str, typer.Option("--config", help="The run config, a YAML file like jobs/paper.yaml.")
]
Run = Annotated[
    str, typer.Option("--run", help="The run directory: a local path or a URI such as s3://b/run.")
]
Set = Annotated[
    list[str],
    typer.Option("--set", help="Override one key of the config: score.batch_size=8. Repeatable."),
]
Members = Annotated[
    str | None,
    typer.Option("--members", help="Only these members, such as v1,v3. By default all there are."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first so many videos, for a trial.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done; start and write nothing.")
]


def _be_quiet(quiet: bool) -> None:
    console.quiet = quiet


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_be_quiet, help="Print results and errors alone."),
]
