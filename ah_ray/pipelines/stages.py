"""The stages by name, as the command line and the jobs call them: a run config in, tables out."""

from __future__ import annotations

from collections.abc import Callable

from ah_ray.catalog import CatalogEntry, load_entry
from ah_ray.checkpoints import require_checkpoint
from ah_ray.cluster import connect
from ah_ray.config import ArchiveConfig, RunConfig
from ah_ray.engines.prior import base_rates, write_prior
from ah_ray.errors import ConfigError
from ah_ray.members import is_complete, read_ensemble, require_settings
from ah_ray.pipelines.catalog import catalog
from ah_ray.pipelines.evaluate import counts, evaluate, print_counts, print_metrics
from ah_ray.pipelines.prepare import Manifest, prepare
from ah_ray.pipelines.reduce import make_verdicts, reduce
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.pipelines.train import train
from ah_ray.preflight import require, wishes
from ah_ray.tasks import load_task

PRIOR = "prior"  # the name under which base rates predict

Stage = Callable[[RunDirectory, RunConfig], None]


def catalog_stage(run: RunDirectory, config: RunConfig) -> None:
    """Read the archive."""
    catalog(run, load_entry(config.catalog.entry), config.catalog.root)


def prepare_stage(run: RunDirectory, config: RunConfig, limit: int | None = None) -> None:
    """Write the manifests of training and of scoring clips, with ``limit`` of so many videos."""
    for segmentation, splits in ((TRAINING, config.train.splits), (SCORING, config.score.splits)):
        prepare(run, Manifest.of(config, segmentation, splits), limit)


def train_stage(run: RunDirectory, config: RunConfig) -> None:
    """Train the members."""
    train(run, config)


def score_stage(run: RunDirectory, config: RunConfig) -> None:
    """Let every member answer every clip, and the prior if it is asked for.

    Raises:
        ConfigError: also when a member was trained with other settings than the config has.
    """
    members = read_ensemble(run.path("members"), list(config.members))
    for member in members:
        require_settings(member, config)
    if config.score.prior is not None:
        rates = base_rates(run.videos().to_pylist(), config.train.splits, config.score.prior)
        first = members[0].card
        card = first.model_copy(
            update={"name": PRIOR, "weights": "prior", "trained": {"rate_of": config.score.prior}}
        )
        members.append(write_prior(run.path("baselines", card.name), card, rates))
    score(run, members, config.score, config.limits)


def reduce_stage(run: RunDirectory, config: RunConfig) -> None:
    """Reduce the answers to verdicts."""
    members = read_ensemble(run.path("members"), list(config.members))
    reduce(run, [member.name for member in members], load_task(config.task), config.reduce)


def evaluate_stage(run: RunDirectory, config: RunConfig) -> None:
    """Compare the verdicts with the labels, and beside them the prior if it is asked for."""
    baseline = None
    if config.score.prior is not None:
        task, names = load_task(config.task), [PRIOR]
        tables = (run.videos(), run.clips(SCORING), run.predictions())
        baseline = make_verdicts(*tables, names, task, config.reduce)
    report = evaluate(run, config.score.splits, baseline)
    print_metrics(report)
    print_counts(run, report["counts"])


STAGES: dict[str, Stage] = {
    "catalog": catalog_stage,
    "prepare": prepare_stage,
    "train": train_stage,
    "score": score_stage,
    "reduce": reduce_stage,
    "evaluate": evaluate_stage,
}


def run_stages(run: RunDirectory, config: RunConfig) -> None:
    """All stages in order.

    Raises:
        ConfigError: also when the cluster can never grant what a stage will ask for.
    """
    require_checkpoint(config.model.path, "model.path")
    if not all(is_complete(run.path("members", name)) for name in config.members):
        connect()
        for wish in wishes(config):
            require(wish)
    for stage in STAGES.values():
        stage(run, config)


def score_archive(run: RunDirectory, videos: str, ensemble: str, settings: ArchiveConfig) -> None:
    """Judge the videos of an unlabelled archive with a trained ensemble.

    Args:
        run: the run directory to write.
        videos: a folder, a glob or a file, on any fsspec URI.
        ensemble: the folder of the members; how to cut and what to ask is theirs.
        settings: resources, and what absent answers and ties count as.
    """
    if settings.score.prior is not None:
        raise ConfigError(
            "score.prior", "an unlabelled archive has no training videos", "leave it out"
        )
    members = read_ensemble(ensemble)
    catalog(run, CatalogEntry(title="unlabelled videos", reader="folder"), videos)
    card, splits = members[0].card, settings.score.splits
    how = (card.segmentation, card.media, settings.prepare, settings.limits)
    prepare(run, Manifest(SCORING, splits, *how))
    score(run, members, settings.score, settings.limits)
    reduce(run, [member.name for member in members], card.task, settings.reduce)
    print_counts(run, counts(run, splits))
