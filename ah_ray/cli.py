"""`ah-ray`: the stages from a shell. `jobs/*.py` are the same commands for `ray job submit`."""

from __future__ import annotations

import signal
import threading
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Annotated, Literal

import typer

from ah_ray.cli_looking import looking
from ah_ray.cli_options import Config, DryRun, Limit, Members, Quiet, Run, Set
from ah_ray.config import ArchiveConfig, RunConfig, load_config
from ah_ray.endings import told
from ah_ray.errors import ConfigError, terminate
from ah_ray.pipelines.opening import open_run
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.run_lock import holding
from ah_ray.places import place
from ah_ray.progress import console, results
from ah_ray.shipped import find_file
from ah_ray.words.ask import GroupsConfig
from ah_ray.words.judging import JudgeConfig
from ah_ray.yaml_objects import Model, build, read_yaml, with_overrides

app = typer.Typer(
    help="Find ambivalence and hesitancy in video archives with ensembles of multimodal LLMs.\n\n"
    "A run goes through the stages catalog, prepare, train, score, reduce, evaluate. Each reads "
    "and writes tables of the run directory, and continues where an earlier call stopped.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

WHEELS_FILE = "wheels.json"
DEMO_CONFIG, DEMO_RUN = "jobs/demo.yaml", "runs/demo"


def _print_version(asked: bool) -> None:
    if asked:
        results.print(f"ah-ray {version('ah-ray')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def _open(
    config: str, run: str, overrides: list[str], members: str | None = None
) -> tuple[RunDirectory, RunConfig]:
    directory = open_run(run)
    return directory, load_config(config, directory.uri, overrides, _names(members))


def _names(members: str | None) -> list[str] | None:
    """The names in ``--members``; None without it."""
    if members is None:
        return None
    names = [name for part in members.split(",") if (name := part.strip())]
    if not names:
        raise ConfigError("--members", "names nobody", "--members v1,v3")
    return names


def _stage(
    name: str, config: str, run: str, overrides: list[str], members: str | None = None
) -> None:
    opened = _open(config, run, overrides, members)  # before the imports that take seconds
    from ah_ray.pipelines.stages import STAGES

    with holding(opened[0], f"ah-ray {name}"):
        STAGES[name](*opened)


def _writing(run: RunDirectory, command: str, dry: bool) -> AbstractContextManager[None]:
    """The run to oneself; a dry run, which writes nothing, needs no lock."""
    return nullcontext() if dry else holding(run, command)


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
    quiet: Quiet = False,
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

    directory = open_run(run)
    console.quiet = False  # what follows was asked for
    if config is not None:
        settings = _open(config, run, set_)[1]
        with holding(directory, "ah-ray catalog check"):
            read_and_look(directory, load_entry(settings.catalog.entry), settings)
    raise typer.Exit(1 if check(directory) else 0)


@app.command()
def prepare(
    config: Config,
    run: Run,
    limit: Limit = None,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Segment the videos into clips: files for training, a list of times for scoring."""
    opened = _open(config, run, set_)
    from ah_ray.pipelines.stages import prepare_stage

    with holding(opened[0], "ah-ray prepare"):
        prepare_stage(*opened, limit=limit)


@app.command()
def train(
    config: Config,
    run: Run,
    set_: Set = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what every node would run; start nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune the members of the ensemble that are not finished yet."""
    if not dry_run:
        return _stage("train", config, run, set_)
    opened = _open(config, run, set_)
    from ah_ray.pipelines.train_dry_run import dry_run as plan_training

    console.quiet = False  # what follows was asked for
    plan_training(*opened)


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
        str | None,
        typer.Option("--ensemble", help="With --videos: the run whose members judge them."),
    ] = None,
    members: Members = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Let every member answer every clip; with --videos, also give the verdicts."""
    if (videos is None) == (config is None) or (videos is None) != (ensemble is None):
        fix = "give either --config, or --videos and --ensemble"
        raise ConfigError("score", "does not say what to score", fix)
    if config is not None:
        opened = _open(config, run, set_, members)
        from ah_ray.pipelines.stages import plan_score, score_stage

        with _writing(opened[0], "ah-ray score", dry_run):
            return (plan_score if dry_run else score_stage)(*opened, limit=limit)
    directory, settings = open_run(run), build(ArchiveConfig, with_overrides({}, set_), "--set")
    from ah_ray.pipelines.stages import plan_archive, score_archive

    judge = plan_archive if dry_run else score_archive
    with _writing(directory, "ah-ray score", dry_run):
        judge(directory, str(videos), str(ensemble), settings, _names(members), limit)


@app.command()
def reduce(
    config: Config,
    run: Run,
    members: Members = None,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Turn clip answers into one verdict per video."""
    _stage("reduce", config, run, set_, members)


@app.command()
def tune(
    config: Config,
    run: Run,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Of this one; by default train.validation_splits."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="macro_f1, accuracy, or of words overlap.")
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop what was found; judge as is stated.")
    ] = False,
    members: Members = None,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Fit thresholds and weights of the rules on validation videos; `reduce` goes by them then."""
    opened = _open(config, run, set_, members)
    from ah_ray.pipelines.stages import tune_stage
    from ah_ray.pipelines.tune import forget as forget_tuned

    with holding(opened[0], "ah-ray tune"):
        if forget:
            forget_tuned(opened[0])
        else:
            tune_stage(*opened, splits=[split] if split else [], metric=metric)


@app.command()
def evaluate(
    config: Config,
    run: Run,
    members: Members = None,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Compare the verdicts with the labels; write metrics.json."""
    _stage("evaluate", config, run, set_, members)


@app.command()
def augment(
    config: Config,
    run: Run,
    members: Members = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Let members caption the clips, and keep the captions that are worth training on."""
    opened = _open(config, run, set_, members)
    from ah_ray.pipelines.stages import augment_stage, plan_augment

    with _writing(opened[0], "ah-ray augment", dry_run):
        (plan_augment if dry_run else augment_stage)(*opened, limit=limit)


def _settings(kind: type[Model], config: str, overrides: list[str]) -> Model:
    """What a file of its own and the command line set for a command that asks about a run."""
    values = read_yaml(find_file(config) or config)
    return build(kind, with_overrides(values, overrides), config)


@app.command()
def groups(
    of: Annotated[str, typer.Option("--of", help="The run whose words are grouped.")],
    config: Annotated[
        str, typer.Option("--config", help="Who groups them, a YAML file like jobs/groups.yaml.")
    ],
    run: Run,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Ask a text model which words of a video mean the same; write groups.json for a metric."""
    directory, asked = open_run(run), open_run(of)
    settings = _settings(GroupsConfig, config, set_)
    from ah_ray.pipelines.word_groups import group_words

    with holding(directory, "ah-ray groups"):
        group_words(directory, asked, settings)


@app.command()
def judge(
    of: Annotated[str, typer.Option("--of", help="The run whose explanations are judged.")],
    config: Annotated[
        str, typer.Option("--config", help="Who judges them, a YAML file like jobs/judge.yaml.")
    ],
    run: Run,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Ask a text model how good explanations are; write judged.json for a metric."""
    directory, asked = open_run(run), open_run(of)
    settings = _settings(JudgeConfig, config, set_)
    from ah_ray.pipelines.judge import judge as judge_explanations

    with holding(directory, "ah-ray judge"):
        judge_explanations(directory, asked, settings)


@app.command("run")
def run_all(
    config: Config,
    run: Run,
    members: Members = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """All stages, one after the other."""
    opened = _open(config, run, set_, members)
    from ah_ray.pipelines.stages import plan_run, run_stages

    with _writing(opened[0], "ah-ray run", dry_run):
        (plan_run if dry_run else run_stages)(*opened, limit=limit)


app.add_typer(looking)


@app.command()
def demo(
    config: Config = DEMO_CONFIG,
    run: Run = DEMO_RUN,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """A job on a synthetic archive with tiny models, on any machine with two cores."""
    directory, settings = _open(config, run, set_)
    from ah_ray.pipelines.stages import run_stages
    from ah_ray.toy.demo import make_archive, make_bases, make_captions

    with holding(directory, "ah-ray demo"):
        make_archive(settings.catalog.entry, settings.catalog.root)
        make_bases(directory, settings)
        make_captions(directory, settings, config)
        run_stages(directory, settings)


@app.command("convert")
def convert_model(
    source: Annotated[str, typer.Argument(help="A Qwen2.5-VL: a folder or a hub id.")],
    to: Annotated[str, typer.Option("--to", help="The folder to make, on this machine.")],
) -> None:
    """Make a model with two experts and a gate of a Qwen2.5-VL; it answers as before.

    Members that are tuned of it have `architecture: qwen2_5_vl_hybrid`.
    """
    from pathlib import Path

    from ah_ray.checkpoints import local_checkpoint, require_checkpoint

    require_checkpoint(source, "SOURCE")
    from ah_ray.models.hybrid_conversion import convert

    convert(local_checkpoint(source), Path(place(to, "--to")))
    results.print(f"{to}: set model.path to it, and model.architecture to qwen2_5_vl_hybrid")


wheels = typer.Typer(
    help="Emotion wheels, by which sets of words are compared.", no_args_is_help=True
)
app.add_typer(wheels, name="wheels", short_help=wheels.info.help)


@wheels.command("import")
def import_published(
    folder: Annotated[
        str, typer.Argument(help="With wheel1.xlsx to wheel5.xlsx, synonym.xlsx and format.csv.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="The file to write.")] = WHEELS_FILE,
) -> None:
    """Turn your copy of the published emotion wheels into the one file that a metric names."""
    folder, output = place(folder, "FOLDER"), place(output, "--output")
    from ah_ray.evaluation.wheel_import import import_wheels

    results.print(import_wheels(folder, output), markup=False)


for _command in (command for one in (app, looking, wheels) for command in one.registered_commands):
    # In full: the list of commands would cut it to the width of the terminal.
    _command.short_help = (_command.callback.__doc__ or "").partition("\n\n")[0]


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit when it fails; ``endings.told`` says with which code."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
    try:
        with told():
            app(arguments)
    finally:
        console.quiet = False  # asked for by one command, not by the next of this process


if __name__ == "__main__":
    main()
