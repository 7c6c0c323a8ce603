"""Dry runs: what scoring, or a whole run, would do. Nothing is started or written."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import storage
from ah_ray.captions.filters import made_filters
from ah_ray.catalog.listing import to_score
from ah_ray.config import ArchiveConfig, RunConfig
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.registry import engine_of, plan_passes
from ah_ray.ensemble import EngineGroup, engine_groups, ensemble_folder, read_ensemble, voting
from ah_ray.errors import ConfigError
from ah_ray.members import Member, card_of, is_complete, read_member, require_settings
from ah_ray.pipelines.asking import missing_batches
from ah_ray.pipelines.augment import NEAR_DUPLICATES, captioning, labels_card
from ah_ray.pipelines.batches import PLANNED, clips_in, of_first_videos, plan_batches
from ah_ray.pipelines.ledger import in_splits, prepared_videos
from ah_ray.pipelines.manifest import needed
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.places import place
from ah_ray.progress import results
from ah_ray.tasks import LABEL
from ah_ray.training.recipe import RecipeConfig


def print_scoring(
    run: RunDirectory, members: Sequence[Member], settings: ScoreConfig, limit: int | None = None
) -> None:
    """Print the passes of ``score``: who is in each, what is to do, and what it takes.

    Args:
        run: the run directory.
        members: the ensemble.
        settings: the engine and its resources.
        limit: as for ``score``.

    Raises:
        ConfigError: there is no such engine.
    """
    _print_passes(run, plan_passes(members, settings), settings, limit)


def print_prior(settings: ScoreConfig) -> None:
    """Print that base rates are to predict, if they are."""
    if settings.prior is not None:
        _print(f"score prior: base rates by {settings.prior}, no model")


def plan_archive(
    run: RunDirectory,
    videos: str,
    ensemble: str,
    settings: ArchiveConfig,
    names: Sequence[str] | None = None,
    limit: int | None = None,
) -> None:
    """Print what ``score_archive`` would do.

    Raises:
        ConfigError: there is no such ensemble, or nothing at ``videos`` is one.
    """
    members = read_ensemble(ensemble_folder(ensemble), names)
    passes = plan_passes(members, settings.score)
    found = len(to_score(storage.list_files(place(videos, "--videos"))))
    if not found:
        raise ConfigError(f"--videos {videos}", "has no video", "check the path")
    rule = members[0].card.segmentation
    _print(f"catalog: {found} videos at {videos}")
    cut = f"clips of {rule.clip_s:g} s, tails under {rule.min_tail_s:g} s: {rule.tail}"
    _print(f"prepare: {min(found, limit or found)} videos, less what was done before; {cut}")
    _print_passes(run, passes, settings.score, limit)
    _print(f"reduce: {', '.join(member.name for member in voting(members))}")


def plan_run(run: RunDirectory, config: RunConfig, limit: int | None = None) -> None:
    """Print what ``run_stages`` would do, as far as the tables that are there tell.

    Raises:
        ConfigError: a member was trained with other settings than the config has.
    """
    config.require_untold()
    _plan_answers(run, config, limit)
    print_prior(config.score)
    _print(f"reduce: {', '.join(config.voters())}")
    _print(f"evaluate: videos of {', '.join(config.score.splits)} with a label")


def plan_augment(run: RunDirectory, config: RunConfig, limit: int | None = None) -> None:
    """Print what ``augment_stage`` would do, as ``plan_run`` does.

    Raises:
        ConfigError: also when there is no such filter, or a split is evaluated.
    """
    config = captioning(config)
    _plan_answers(run, config, limit)
    filters = [name for name, _ in made_filters(config.augment.filters)]
    if config.augment.near_duplicates is not None:
        filters.append(NEAR_DUPLICATES)
    _print(
        f"augment: captions of {', '.join(config.augment.splits)} that pass "
        f"{', '.join(filters) or 'no filter'}"
    )


def _plan_answers(run: RunDirectory, config: RunConfig, limit: int | None) -> None:
    """Print what is done until every member has answered every clip."""
    read = storage.exists(run.path("videos"))
    known = f"{len(run.videos())} videos are known" if read else "not read yet"
    _print(f"catalog: {config.catalog.entry} at {config.catalog.root}: {known}")
    for purpose, splits in needed(config).items():
        _print(f"prepare {purpose}: {_to_prepare(run, purpose, splits, limit)}")
    members = [_member(run, config, name) for name in config.members]
    for member in members:
        _print(f"train {member.name}: {_training(run, config, member)}")
    if config.told:
        members.append(Member(run.path("members", LABEL), labels_card(config)))
    passes = (
        plan_passes(members, config.score)
        if all(is_complete(member.uri) for member in members)
        else engine_groups(members)
    )
    _print_passes(run, passes, config.score, limit)


def _print_passes(
    run: RunDirectory, passes: Sequence[EngineGroup], settings: ScoreConfig, limit: int | None
) -> None:
    """Print one paragraph per pass."""
    manifest = run.clips(SCORING, PLANNED)
    plan = of_first_videos(plan_batches(manifest, settings.batch_size), limit)
    clips = clips_in(plan)
    if not clips:
        _print("score: the clips of the videos are not known yet, prepare finds them")
    for number, group in enumerate(passes, 1):
        engine = settings.engine if engine_of(group, settings).needs_model else "none"
        _print(f"score, pass {number} of {len(passes)}: {group.checkpoint}, engine {engine}")
        for member in group.members:
            alone = EngineGroup(group.checkpoint, (member,))
            there = _is_there(member)  # who is not has answered nothing
            todo = missing_batches(run, alone, plan, settings, manifest) if there else plan
            left = (
                f": {clips_in(todo)} of {clips} clips to do, in {len(todo)} batches"
                if clips
                else ""
            )
            _print(f"  {member.name}{left}")
        actors = f"{settings.min_actors}"
        if settings.max_actors > settings.min_actors:
            actors += f" to {settings.max_actors}"
        _print(
            f"  engines: {actors}, each with {settings.cpus_per_actor:g} CPUs and "
            f"{settings.gpus_per_actor:g} GPUs, {settings.batch_size} clips a batch; "
            f"{settings.cpus_per_decoder:g} CPUs for each decoder"
        )


def _is_there(member: Member) -> bool:
    """Whether a member is finished, and all that it reads are, too."""
    folder = member.uri.rstrip("/").rpartition("/")[0]
    return is_complete(member.uri) and all(
        is_complete(uri) and _is_there(read_member(uri))
        for uri in (storage.join(folder, name) for name in member.card.reads)
    )


def _to_prepare(run: RunDirectory, purpose: str, splits: Sequence[str], limit: int | None) -> str:
    """How many videos of a manifest are to do."""
    if not storage.exists(run.path("videos")):
        return f"the videos of {', '.join(splits)}"
    videos = in_splits(run.videos(), splits, unlabelled=purpose == SCORING)
    videos = videos.sort_by("video_id").slice(0, limit)
    done = pa.array(prepared_videos(run, purpose), pa.string())
    todo = pc.sum(pc.invert(pc.is_in(videos["video_id"], done))).as_py() or 0
    return f"{todo} of {len(videos)} videos to do"


def _member(run: RunDirectory, config: RunConfig, name: str) -> Member:
    """A member as it is, or as it will be."""
    uri = run.path("members", name)
    if is_complete(uri):
        member = read_member(uri)
        require_settings(member, config)
        return member
    return Member(uri, card_of(config, name))


def _training(run: RunDirectory, config: RunConfig, member: Member) -> str:
    """What becomes of a member in the stage ``train``."""
    if is_complete(member.uri):
        return "is there"
    settings, train = config.members[member.name], config.train
    if settings.recipe is None:
        return f"not at all: {member.card.model.path} as it is"
    recipe = config.recipe(member.name)
    device = "GPUs" if train.use_gpu else "processes"
    return (
        f"{_learns(recipe)}, prompt "
        f"{settings.prompt}, on {train.nodes} x {train.processes_per_node} {device} and "
        f"{train.nodes} x {train.cpus_per_node:g} CPUs; `ah-ray train --dry-run` has the commands"
    )


def _print(line: str) -> None:
    results.print(line, markup=False)


def _learns(recipe: RecipeConfig) -> str:
    """How a member is trained, in a line."""
    if not recipe.stages:
        return f"{recipe.tuner} {recipe.algorithm}, {recipe.epochs:g} epochs"
    told = (
        f"{stage.name} ({', '.join(stage.trains)}{' by lora' if stage.lora else ''}; "
        f"{recipe.of_stage(stage).epochs:g} epochs)"
        for stage in recipe.stages
    )
    return f"in stages {', '.join(told)}"
