"""`ah-ray`: the stages from a shell. `jobs/*.py` are the same commands for `ray job submit`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from ah_ray.config import ArchiveConfig, RunConfig, load_config
from ah_ray.errors import ConfigError, StageError
from ah_ray.evaluation.leaks import LeakError
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import console
from ah_ray.storage import StorageError
from ah_ray.yaml_objects import build, with_overrides

app = typer.Typer(
    help="Find ambivalence and hesitancy in video archives with ensembles of multimodal LLMs.\n\n"
    "A run goes through the stages catalog, prepare, train, score, reduce, evaluate. Each reads "
    "and writes tables of the run directory, and continues where an earlier call stopped.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

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
DEMO_CONFIG, DEMO_RUN = "jobs/demo.yaml", "runs/demo"


def _open(config: str, run: str, overrides: list[str]) -> tuple[RunDirectory, RunConfig]:
    directory = RunDirectory.at(run)
    return directory, load_config(config, directory.uri, overrides)


def _stage(name: str, config: str, run: str, overrides: list[str]) -> None:
    opened = _open(config, run, overrides)  # before the imports that take seconds
    from ah_ray.pipelines.stages import STAGES

    STAGES[name](*opened)


@app.command()
def catalog(
    run: Run,
    action: Annotated[
        Literal["check"] | None,
        typer.Argument(
            help="check: print every finding of the run by kind, the sizes of its splits, and what "
            "differs from the published sizes. Exits with 1 when a finding is an error."
        ),
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="The run config; `check` works without, too.")
    ] = None,
    set_: Set = [],  # noqa: B006
) -> None:
    """Read the archive: which videos there are, and everything that is odd about them.

    `catalog check --config C --run R` first reads it (again), compares it with the config, and
    looks into the videos of its splits for copies; without --config it prints what the run holds.
    """
    if action is None and config is not None:
        return _stage("catalog", config, run, set_)
    if config is None and (action is None or set_):
        raise ConfigError("catalog", "does not say which archive to read", "give --config")
    from ah_ray.catalog import load_entry
    from ah_ray.pipelines.catalog import check, read_and_look

    directory = RunDirectory.at(run)
    if config is not None:
        settings = _open(config, run, set_)[1]
        read_and_look(directory, load_entry(settings.catalog.entry), settings)
    raise typer.Exit(1 if check(directory) else 0)


@app.command()
def prepare(
    config: Config,
    run: Run,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many videos, for a trial.")
    ] = None,
    set_: Set = [],  # noqa: B006
) -> None:
    """Segment the videos into clips: files for training, a list of times for scoring."""
    opened = _open(config, run, set_)
    from ah_ray.pipelines.stages import prepare_stage

    prepare_stage(*opened, limit=limit)


@app.command()
def train(
    config: Config,
    run: Run,
    set_: Set = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what every node would run; start nothing.")
    ] = False,
) -> None:
    """Fine-tune the members of the ensemble that are not finished yet."""
    if not dry_run:
        return _stage("train", config, run, set_)
    opened = _open(config, run, set_)
    from ah_ray.pipelines import train as stage

    stage.dry_run(*opened)


@app.command()
def score(
    run: Run,
    config: Annotated[
        str | None, typer.Option("--config", help="Score the archive of this run config.")
    ] = None,
    videos: Annotated[
        str | None,
        typer.Option("--videos", help="Or score these: a folder, glob or file; local or a URI."),
    ] = None,
    ensemble: Annotated[
        str | None, typer.Option("--ensemble", help="With --videos: RUN/members of a training.")
    ] = None,
    set_: Set = [],  # noqa: B006
) -> None:
    """Let every member answer every clip; with --videos, also give the verdicts."""
    from ah_ray.pipelines.stages import score_archive

    if videos is None and config is not None:
        return _stage("score", config, run, set_)
    if videos is None or ensemble is None or config is not None:
        fix = "give either --config, or --videos and --ensemble"
        raise ConfigError("score", "does not say what to score", fix)
    settings = build(ArchiveConfig, with_overrides({}, set_), "--set")
    score_archive(RunDirectory.at(run), videos, ensemble, settings)


@app.command()
def reduce(config: Config, run: Run, set_: Set = []) -> None:  # noqa: B006
    """Turn clip answers into one verdict per video."""
    _stage("reduce", config, run, set_)


@app.command()
def evaluate(config: Config, run: Run, set_: Set = []) -> None:  # noqa: B006
    """Compare the verdicts with the labels; write metrics.json."""
    _stage("evaluate", config, run, set_)


@app.command("run")
def run_all(config: Config, run: Run, set_: Set = []) -> None:  # noqa: B006
    """All stages, one after the other."""
    opened = _open(config, run, set_)
    from ah_ray.pipelines.stages import run_stages

    run_stages(*opened)


@app.command()
def demo(config: Config = DEMO_CONFIG, run: Run = DEMO_RUN, set_: Set = []) -> None:  # noqa: B006
    """The main job on a synthetic archive with a tiny model, on any machine with two cores."""
    directory, settings = _open(config, run, set_)
    from ah_ray.pipelines.stages import run_stages
    from ah_ray.toy.demo import make_archive, make_base

    make_archive(settings.catalog.root)
    make_base(directory, settings)
    run_stages(directory, settings)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; a wrong setting ends it with one clear message and exit code 2.

    So does a storage that fails for good, with exit code 1; the command then goes on where it
    stopped when it is given again.
    """
    from ah_ray.training.process import SwiftError

    try:
        app(arguments)
    except (ConfigError, LeakError, StageError, StorageError, SwiftError) as error:
        console.print("[red]error[/]", end=" ")
        console.print(str(error), markup=False)
        if isinstance(error, StorageError):
            console.print("  fix: give the same command again later; it goes on where it stopped")
        sys.exit(2 if isinstance(error, ConfigError) else 1)


if __name__ == "__main__":
    main()
