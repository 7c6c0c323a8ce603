"""The commands of `ah-ray` that look at a run: what it has found, for people and other tools."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer
from rich.markup import escape

from ah_ray.cli_options import Quiet, Run
from ah_ray.pipelines.opening import open_run
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.run_lock import holding
from ah_ray.places import place
from ah_ray.progress import results

looking = typer.Typer()


def _warn_of_stale(run: RunDirectory) -> None:
    from ah_ray.pipelines.status import stale_verdicts

    if stale := stale_verdicts(run):
        results.print(
            f"[yellow]warning[/] {stale} verdicts are not made from the answers that there are "
            f"now: see `ah-ray status --run {escape(run.uri)}`, then `ah-ray score` and "
            "`ah-ray reduce`"
        )


@looking.command("status")
def show_status(run: Run) -> None:
    """Print what of a run is done, stale, to do and lost, stage by stage, and who works on it."""
    directory = open_run(run)
    from ah_ray.pipelines.status import print_status

    print_status(directory)


@looking.command("results")
def show_results(
    run: Run,
    top: Annotated[int, typer.Option(min=1, help="How many videos to show.")] = 10,
) -> None:
    """Print what a run has found: the strongest videos with their evidence, and all findings."""
    directory = open_run(run)
    from ah_ray.pipelines.results import print_found

    print_found(directory, top)
    _warn_of_stale(directory)


@looking.command("export")
def export_run(
    form: Annotated[
        Literal["csv", "jsonl", "elan"],
        typer.Argument(help="Flat tables, or annotations for ELAN, one file per video."),
    ],
    run: Run,
    to: Annotated[
        str | None, typer.Option("--to", help="The folder; by default export/ in the run.")
    ] = None,
) -> None:
    """Write the verdicts and answers of a run for other tools: R, SPSS, spreadsheets, ELAN."""
    directory = open_run(run)
    from ah_ray.pipelines.export import export

    export(directory, form, directory.path("export", form) if to is None else place(to, "--to"))
    _warn_of_stale(directory)


@looking.command("suggest")
def suggest_videos(
    run: Run,
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 50,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write them to this CSV file, too.")
    ] = None,
) -> None:
    """Say which videos without a label are worth annotating next, and why."""
    directory = open_run(run)
    from ah_ray.pipelines.suggest import suggest

    suggest(directory, n, None if output is None else place(output, "--output"))
    _warn_of_stale(directory)


@looking.command("compare")
def compare_runs(
    runs: Annotated[list[str], typer.Argument(help="Evaluated runs on the same videos.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write all of it to this JSON file.")
    ] = None,
) -> None:
    """Put the ensembles of several runs side by side, and test the first against each other one."""
    from ah_ray import storage
    from ah_ray.pipelines.compare import compare
    from ah_ray.pipelines.print_metrics import print_comparison

    directories = [open_run(run) for run in runs]
    found = compare(directories)
    print_comparison(found)
    for directory in directories:
        _warn_of_stale(directory)
    if output is not None:
        storage.write_bytes(place(output, "--output"), json.dumps(found, indent=2).encode())


@looking.command("report")
def write_report(
    run: Run,
    thumbnails: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of how many videos the page holds pictures, the strongest first. By default as "
            "many as last time; at first none.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write report.html: a page for people, with all that a run has found, in one file."""
    directory = open_run(run)
    from ah_ray.pipelines.report import noted_settings, report
    from ah_ray.pipelines.status import stale_verdicts

    settings = noted_settings(directory)
    if thumbnails is not None:
        settings = settings.model_copy(update={"thumbnails": thumbnails})
    with holding(directory, "ah-ray report"):
        report(directory, settings, stale_verdicts(directory))
