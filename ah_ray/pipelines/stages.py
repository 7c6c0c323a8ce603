"""The stages by name, as the command line and the jobs call them: a run config in, tables out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import storage
from ah_ray.catalog import CatalogEntry, load_entry
from ah_ray.cluster import connect
from ah_ray.config import BASELINE, ArchiveConfig, RunConfig
from ah_ray.engines.labels import write_labels
from ah_ray.engines.prior import Chances, base_rates, require_current_prior, write_prior
from ah_ray.engines.registry import find_engine, plan_passes
from ah_ray.ensemble import ensemble_folder, members_in, read_ensemble, require_voters, voting
from ah_ray.errors import ConfigError
from ah_ray.members import Member, is_complete, read_member, require_settings
from ah_ray.models.architecture import require_model
from ah_ray.pipelines.asking import require_same_asking
from ah_ray.pipelines.augment import augment, captioning, labels_card
from ah_ray.pipelines.catalog import catalog
from ah_ray.pipelines.evaluate import (
    METRICS_FILE,
    TRADE_OFF_FILE,
    accounted,
    counts,
    evaluate,
    labelled_in,
)
from ah_ray.pipelines.ledger import in_splits, require_prepared
from ah_ray.pipelines.manifest import Manifest, needed
from ah_ray.pipelines.plan import plan_archive, plan_augment, plan_run, print_prior, print_scoring
from ah_ray.pipelines.prepare import prepare
from ah_ray.pipelines.print_metrics import (
    print_combinations,
    print_counts,
    print_levels,
    print_metrics,
    print_statistics,
)
from ah_ray.pipelines.reduce import (
    current_answers,
    current_verdicts,
    noted_judgement,
    reduce,
    require_current,
)
from ah_ray.pipelines.report import report
from ah_ray.pipelines.results import print_found, voters
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.pipelines.seen import print_doubts, require_unseen
from ah_ray.pipelines.splits import require_named_splits, require_splits
from ah_ray.pipelines.train import train
from ah_ray.pipelines.tune import require_not_tuned_on, tune, tuned_judgement
from ah_ray.places import place
from ah_ray.preflight import require, wishes
from ah_ray.progress import console
from ah_ray.tasks import LABEL, load_task
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.policies import ReduceConfig

__all__ = [
    "STAGES",
    "augment_stage",
    "plan_archive",
    "plan_augment",
    "plan_run",
    "plan_score",
    "prepare_stage",
    "run_stages",
    "score_archive",
    "score_stage",
    "tune_stage",
]

Stage = Callable[[RunDirectory, RunConfig], None]


def catalog_stage(run: RunDirectory, config: RunConfig) -> None:
    """Read the archive."""
    answer = load_task(config.task).answer
    catalog(run, load_entry(config.catalog.entry), config.catalog.root, answer)


def prepare_stage(run: RunDirectory, config: RunConfig, limit: int | None = None) -> None:
    """Write the manifests that the run needs, with ``limit`` of so many videos."""
    require_named_splits(run, config)
    for purpose, splits in needed(config).items():
        prepare(run, Manifest.of(config, purpose, splits), limit)


def train_stage(run: RunDirectory, config: RunConfig) -> None:
    """Train the members."""
    require_named_splits(run, config)
    train(run, config)


def score_stage(
    run: RunDirectory, config: RunConfig, limit: int | None = None, labels: Member | None = None
) -> None:
    """Let every member answer every clip, and the prior if it is asked for.

    Args:
        run: the run directory.
        config: the members, and the splits that are scored.
        limit: only of the first so many videos, for a trial.
        labels: who tells members the labels; None where nobody may know them.

    Raises:
        ConfigError: also when a member was trained with other settings than the config has.
    """
    if labels is None:
        config.require_untold()
    require_named_splits(run, config)
    require_same_asking(run, config.score)
    require_prepared(run, SCORING, config.score.splits)
    members = _fitting_members(run, config, labels is not None)
    require_unseen(run, config, [one for one in members if one.name != LABEL])
    if config.score.prior is not None:
        rates = _base_rates(run, config, config.score.prior)
        card = require_voters(members)[0].card.model_copy(
            update={
                "name": BASELINE,
                "weights": "prior",
                "decoding": "answer",
                "reads": (),
                "trained": {"rate_of": config.score.prior},
            }
        )
        prior = run.path("baselines", card.name)
        members.append(write_prior(prior, card, rates, run.root))
    run.remember({"ensemble": "members", "voters": list(config.members)})
    score(run, members, config.score, config.limits, limit)


def _base_rates(run: RunDirectory, config: RunConfig, attribute: str) -> dict[str, Chances]:
    """``prior.base_rates`` of the options of the task.

    Raises:
        ConfigError: it has none.
    """
    options = load_task(config.task).answer.options
    if not options:
        problem = f"task {config.task} has no options of which there could be rates"
        raise ConfigError("score.prior", problem, "leave it out")
    return base_rates(run.videos().to_pylist(), config.train.splits, attribute, options)


def plan_score(run: RunDirectory, config: RunConfig, limit: int | None = None) -> None:
    """Print what ``score_stage`` would do.

    Raises:
        ConfigError: as it would.
    """
    print_scoring(run, _fitting_members(run, config), config.score, limit)
    print_prior(config.score)


def _fitting_members(run: RunDirectory, config: RunConfig, told: bool = False) -> list[Member]:
    if not told:
        config.require_untold()
    names = [*config.members, *([LABEL] if told else [])]
    members = read_ensemble(run.path("members"), names)
    for member in members:
        if member.name != LABEL:
            require_settings(member, config)
    return members


def reduce_stage(run: RunDirectory, config: RunConfig) -> None:
    """Reduce the answers to verdicts."""
    members = read_ensemble(run.path("members"), list(config.members))
    run.remember({"ensemble": "members", "voters": list(config.members)})
    reduce(run, members, tuned_judgement(run, config, members))


def tune_stage(
    run: RunDirectory, config: RunConfig, splits: Sequence[str] = (), metric: str | None = None
) -> None:
    """Fit the rules on the videos of ``splits``, by default of ``train.validation_splits``."""
    members = read_ensemble(run.path("members"), list(config.members))
    held_back = [one for one in config.train.validation_splits if one not in config.train.splits]
    tune(run, config, members, list(splits) or held_back, metric)


def evaluate_stage(run: RunDirectory, config: RunConfig) -> None:
    """Compare the verdicts with the labels, and beside them the prior if it is asked for."""
    require_named_splits(run, config)
    for file in (METRICS_FILE, TRADE_OFF_FILE):
        storage.remove(run.path(file))  # an evaluation that fails leaves no older one
    members = read_ensemble(run.path("members"), list(config.members))
    require_not_tuned_on(run, config)
    judgement = tuned_judgement(run, config, members)
    require_unseen(run, config, members)
    verdicts = run.verdicts()
    judged, wanted = voters(verdicts), [member.name for member in voting(members)]
    if len(verdicts) and judged != wanted:
        raise ConfigError(
            run.path("verdicts"),
            f"are those of {', '.join(judged)}, not of {', '.join(wanted)}",
            "run `ah-ray reduce` with the same --config and --members first",
        )
    accounted(run, config.score.splits)
    require_current(run, members, judgement)
    baseline = None
    if config.score.prior is not None:
        if not is_complete(run.path("baselines", BASELINE)):
            problem = f"{config.score.prior} was not asked for when the run was scored"
            raise ConfigError("score.prior", problem, "run `ah-ray score` with it, or leave it out")
        prior = read_member(run.path("baselines", BASELINE))
        rates = _base_rates(run, config, config.score.prior)
        counted = verdicts["video_id"].to_pylist()
        require_current_prior(prior, {video: rates[video] for video in counted})
        baseline = current_verdicts(run, [prior], judgement)
        require_answered(baseline, run.predictions_path(prior.name))
    labelled = labelled_in(run, config.score.splits)["video_id"].combine_chunks()
    clips = run.clips(SCORING, where=pc.field("video_id").isin(labelled))
    answers = current_answers(run, voting(members), clips)
    report = evaluate(run, config.score.splits, judgement, baseline, answers, config.evaluate)
    print_metrics(report)
    print_levels(report)
    print_statistics(report)
    print_combinations(report)
    print_doubts(run, config, members)
    print_counts(run, report["counts"])


def require_answered(baseline: pa.Table, predictions: str) -> None:
    """Fail when a baseline, which no stage reduces before, has not answered every clip.

    Args:
        baseline: ``schemas.VERDICTS``.
        predictions: the folder of its answers.

    Raises:
        ConfigError: answers are missing.
    """
    votes = baseline["members"].combine_chunks().flatten()
    if missing := pc.sum(pc.struct_field(votes, "clips_missing")).as_py():
        raise ConfigError(
            predictions,
            f"{missing} clips have no answer that is made from what there is now",
            "run `ah-ray score` again",
        )


def augment_stage(run: RunDirectory, config: RunConfig, limit: int | None = None) -> None:
    """Caption the clips of ``augment.splits``, and keep the captions that pass the filters.

    Args:
        run: the run directory.
        config: its members that write text are the captioners.
        limit: only of the first so many videos, for a trial.

    Raises:
        ConfigError: also when there is no such filter, or a split is evaluated.
    """
    config = captioning(config)
    catalog_stage(run, config)
    labels = _labels_told(run, config) if config.told else None
    known = pc.unique(run.videos()["split"]).to_pylist()
    require_splits(known, {"augment.splits": config.augment.splits})
    prepare_stage(run, config, limit)
    train_stage(run, config)
    score_stage(run, config, limit, labels)
    members = _fitting_members(run, config, labels is not None)
    augment(run, [one for one in members if one.name != LABEL], config.augment)


def _labels_told(run: RunDirectory, config: RunConfig) -> Member:
    """What the archive says of the videos that are captioned, as a member that others read."""
    videos = in_splits(run.videos(), config.augment.splits, unlabelled=True)
    rows = videos.filter(pc.is_valid(videos["labels"])).select(["video_id", "labels"]).to_pylist()
    labels = {row["video_id"]: frozenset(row["labels"]) for row in rows}
    return write_labels(run.path("members", LABEL), labels_card(config), labels, run.root)


STAGES: dict[str, Stage] = {
    "catalog": catalog_stage,
    "prepare": prepare_stage,
    "train": train_stage,
    "score": score_stage,
    "reduce": reduce_stage,
    "evaluate": evaluate_stage,
}


def run_stages(run: RunDirectory, config: RunConfig, limit: int | None = None) -> None:
    """All stages in order, with ``limit`` for the first so many videos; then what was found.

    Raises:
        ConfigError: also when the cluster can never grant what a stage will ask for.
    """
    config.require_untold()
    for name in config.members:
        require_model(config.model_of(name), config.media_of(name), "model")
    find_engine(config.score.engine)
    if not all(is_complete(run.path("members", name)) for name in config.tuned):
        connect()
        for wish in wishes(config):
            require(wish)
    catalog_stage(run, config)
    prepare_stage(run, config, limit)
    train_stage(run, config)
    score_stage(run, config, limit)
    reduce_stage(run, config)
    evaluate_stage(run, config)
    report(run, config.report)
    print_found(run)


def score_archive(
    run: RunDirectory,
    videos: str,
    ensemble: str,
    settings: ArchiveConfig,
    names: Sequence[str] | None = None,
    limit: int | None = None,
) -> None:
    """Judge the videos of an unlabelled archive with a trained ensemble.

    Args:
        run: the run directory to write.
        videos: a folder, a glob or a file, on any fsspec URI.
        ensemble: the folder of the members, or a run that has them; how to cut and what to ask is
            theirs.
        settings: resources; and where the run of the members does not say how it judges, what
            absent answers and ties count as.
        names: of the members that judge; by default all.
        limit: take only the first so many videos, for a trial.
    """
    if settings.score.prior is not None:
        raise ConfigError(
            "score.prior", "an unlabelled archive has no training videos", "leave it out"
        )
    folder = ensemble_folder(ensemble)
    members = read_ensemble(folder, names)
    require_same_asking(run, settings.score)
    plan_passes(members, settings.score)  # an engine that is not there is told now
    place(videos, "--videos")
    judgement = _archive_judgement(folder, members, settings.reduce)
    entry = CatalogEntry(title="unlabelled videos", reader="folder")
    catalog(run, entry, videos, judgement.answer)
    card, splits = members[0].card, settings.score.splits
    how = (card.segmentation, card.media, settings.prepare, settings.limits)
    prepare(run, Manifest(SCORING, splits, *how), limit)
    voting = [member.name for member in members]
    run.remember({"ensemble": run.inside(folder), "voters": voting})
    score(run, members, settings.score, settings.limits, limit)
    reduce(run, members, judgement)
    print_counts(run, counts(run, splits))
    report(run, settings.report)
    print_found(run)


def _archive_judgement(folder: str, members: Sequence[Member], policies: ReduceConfig) -> Judgement:
    """How an archive is judged: as the run of the members was, else as such answers usually are.

    Args:
        folder: of the members.
        members: they.
        policies: what absent answers and ties count as; what is stated there wins.
    """
    asked = require_voters(members)
    question = asked[0].card.question
    run = RunDirectory.at(folder.rstrip("/").rpartition("/")[0])
    noted = noted_judgement(run) if run.is_readable() else None  # of an older run: the members
    if noted is None or noted.answer != question.answer:
        noted = Judgement.usual(question.answer, policies)
    stated = {key: getattr(policies, key) for key in policies.model_fields_set}
    judgement = noted.model_copy(update={"policies": noted.policies.model_copy(update=stated)})
    rules = judgement.rules
    console.print(
        f"judged by: {rules.clips} over clips, {rules.members} over members", markup=False
    )
    # The weight of a member that is left out does not count.
    left_out = {*members_in(folder)} - {member.name for member in members}
    voters = left_out | {member.name for member in asked}
    return judgement.check(f"the question of {asked[0].name}", voters)
