"""Validate: the participants of the validation splits say which checkpoint becomes the member.

Their videos are a run of their own, in the folder ``validation`` of the run: its training clips
(with labels) give the loss while a member trains, its scoring clips (blind, as at test time) give
the video-level metrics of the finished checkpoints, by the engine that will score the archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow.compute as pc

from ah_ray import storage
from ah_ray.config import ENSEMBLE, RunConfig
from ah_ray.evaluation.judged import Metrics
from ah_ray.members import MEMBER_FILE, MemberCard, read_member, write_card
from ah_ray.pipelines.evaluate import video_level
from ah_ray.pipelines.ledger import in_splits
from ah_ray.pipelines.manifest import Manifest
from ah_ray.pipelines.prepare import prepare
from ah_ray.pipelines.reduce import current_verdicts
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.training.checkpoints import Checkpoint, best, publish


class Candidate(NamedTuple):
    """A checkpoint and what it does on the validation participants' videos."""

    checkpoint: Checkpoint
    metrics: Metrics


def validation_run(run: RunDirectory, config: RunConfig) -> RunDirectory | None:
    """The run of the validation participants; None when the archive has none. Writes nothing."""
    videos = in_splits(run.videos(), _splits(config), unlabelled=False)
    return run.within("validation") if len(videos) else None


def _splits(config: RunConfig) -> list[str]:
    return [s for s in config.train.validation_splits if s not in config.train.splits]


def prepare_validation(run: RunDirectory, validation: RunDirectory, config: RunConfig) -> None:
    """Cut the validation participants' videos, unless that is done."""
    splits = _splits(config)
    videos = in_splits(run.videos(), splits, unlabelled=False)
    validation.write_videos(videos.filter(pc.is_valid(videos["labels"])))
    for purpose in (TRAINING, SCORING):
        prepare(validation, Manifest.of(config, purpose, splits))


def choose(
    validation: RunDirectory, card: MemberCard, store: str, checkpoints: Sequence[Checkpoint],
    config: RunConfig,
) -> list[Candidate]:  # fmt: skip
    """The candidates for a member, the best one first.

    Args:
        validation: the run of the validation participants.
        card: of the member.
        store: the folder of its training; tells its candidates from those of other trainings.
        checkpoints: the complete ones, in order of steps.
        config: the engine and its resources; the recipe says by what to choose.
    """
    recipe = config.recipe(card.name)
    tried = [best(checkpoints)] if recipe.best_by == "loss" else list(checkpoints)
    candidates = [
        Candidate(checkpoint, _video_metrics(validation, card, store, checkpoint, config))
        for checkpoint in tried
    ]
    return sorted(candidates, key=lambda candidate: better_first(candidate, recipe.best_by))


def better_first(candidate: Candidate, best_by: str) -> tuple[float, float, int]:
    """Sorts the best candidate first: by a metric, then by loss, then the earlier.

    Args:
        candidate: a checkpoint with its metrics.
        best_by: the metric; of those of the task, or ``loss``.
    """
    checkpoint, metrics = candidate
    metric, loss = metrics.get(best_by), checkpoint.eval_loss
    return -(metric or 0.0), loss if loss is not None else 0.0, checkpoint.step


def _video_metrics(
    validation: RunDirectory, card: MemberCard, store: str, checkpoint: Checkpoint,
    config: RunConfig,
) -> Metrics:  # fmt: skip
    """Score the validation videos with a checkpoint as if it were a member of an ensemble."""
    training = store.rsplit("/", 1)[-1]
    card = card.model_copy(update={"name": f"{card.name}-{training}-step{checkpoint.step}"})
    uri = validation.path("members", card.name)
    files = {MEMBER_FILE: write_card(card, uri, validation.root)}
    publish(checkpoint, uri, files, MEMBER_FILE)
    member = read_member(uri)
    score(validation, [member], config.score, config.limits)
    judgement = config.judgement()
    verdicts = current_verdicts(validation, [member], judgement)
    storage.remove(uri)
    levels = video_level(validation.videos(), verdicts, judgement)
    # An ensemble of one need not reach what several must agree on. It has metrics even where no
    # video could be scored.
    return levels.get(card.name, levels[ENSEMBLE])
