"""Score: every member answers every clip of the manifest.

    read manifest -> plan batches -> drop stale, drop done -> decode -> engine pool -> write

One pass per engine group. The manifest is the ledger: the batches follow from it alone, and a
batch is done when every member of the group has a prediction for each of its clips. So a run that
was killed goes on with the same batches and ends with the same numbers to the last bit.
Predictions of other weights, of another question or of a file that has changed since are stale
(``lineage``) and made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import ray.data

from ah_ray.checkpoints import require_checkpoint
from ah_ray.cluster import connect, turn
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.registry import engine_of, plan_passes
from ah_ray.ensemble import EngineGroup
from ah_ray.media.config import LimitsConfig
from ah_ray.members import Member, asked, member_fingerprint
from ah_ray.pipelines.asking import asked_how, drop_stale, missing_batches
from ah_ray.pipelines.attempts import Attempts
from ah_ray.pipelines.batches import PLANNED, clips_in, of_first_videos, plan_batches
from ah_ray.pipelines.damage import note_damage
from ah_ray.pipelines.decoder import make_decode
from ah_ray.pipelines.feed import feed
from ah_ray.pipelines.mass import note_mass
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.scorer import BATCHES_AT_ONCE, Scorer
from ah_ray.preflight import alive_nodes, at_once, require, score_wish, telling_waits
from ah_ray.progress import StageProgress, console

_BATCHES_PER_DECODER = 1000


def score(
    run: RunDirectory,
    members: Sequence[Member],
    settings: ScoreConfig,
    limits: LimitsConfig = LimitsConfig(),
    limit: int | None = None,
) -> None:
    """Write the predictions that are missing or stale, one pass per engine group.

    Args:
        run: the run directory; its manifest of scoring clips is read.
        members: the ensemble.
        settings: the engine and its resources.
        limits: what decoding a source may cost.
        limit: only what the first so many videos need, for a trial.

    Raises:
        ConfigError: there is no manifest, no such engine or checkpoint, or the cluster can never
            grant the resources.
        StageError: the engine does not load.
        StorageError: predictions cannot be written; the next run goes on where this one stopped.
    """
    passes = plan_passes(members, settings)
    run.require("clips", "ah-ray prepare")
    clips = run.clips(SCORING, PLANNED)
    plan = of_first_videos(plan_batches(clips, settings.batch_size), limit)
    planned = clips_in(plan)
    for group in passes:
        if planned and engine_of(group, settings).needs_model:
            require_checkpoint(group.checkpoint, f"{group.members[0].uri}: model.path")
    how = asked_how(settings)
    made_from = {member.name: (member_fingerprint(member), how) for member in members}
    to_do = [(group, missing_batches(run, group, plan, settings, clips)) for group in passes]
    if any(len(batches) for _, batches in to_do):
        connect()
        require(score_wish(settings))
    run.remember({"asked": how})
    stale = {name: drop_stale(run, name, made, clips) for name, made in made_from.items()}
    for group, batches in to_do:
        todo = clips_in(batches)
        name, told = f"score {group.name}", run.path("predictions")
        with StageProgress(name, todo, "clips", planned - todo, told, run.note_cost) as progress:
            if dropped := sum(stale[member.name] for member in group.members):
                console.print(
                    f"  {dropped} predictions are stale (weights, question or video have changed "
                    "since) and dropped"
                )
            if todo:
                # An engine holds what it has until its pass ends. Two jobs that divide a cluster
                # into engines would leave no decoder any CPU, and wait for each other for ever.
                with turn("scoring"):
                    _run_pass(run, group, batches, made_from, settings, limits, progress)
    note_damage(run, clips)
    note_mass(run, [member.name for member in members])


def _run_pass(
    run: RunDirectory,
    group: EngineGroup,
    batches: pa.Table,
    made_from: Mapping[str, tuple[str, Any]],
    settings: ScoreConfig,
    limits: LimitsConfig,
    progress: StageProgress,
) -> None:
    """Decode the clips of ``batches`` and let the members of ``group`` answer them."""
    attempts = Attempts()
    group = EngineGroup(group.checkpoint, tuple(asked(one, settings) for one in group.members))
    media = group.members[0].card.media
    shown = media if media.kinds and engine_of(group, settings).needs_model else None
    parts = (
        feed(batches)
        .map_batches(
            make_decode(shown, settings, limits, attempts),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=settings.cpus_per_decoder,
            # What codecs leak goes with the process. Besides, Ray merges two steps with equal
            # arguments, and would decode inside of the engines' actors.
            max_calls=_BATCHES_PER_DECODER,
        )
        .map_batches(
            Scorer,
            fn_constructor_args=(group, settings, run, attempts, made_from),
            batch_size=1,
            batch_format="pyarrow",
            compute=_pool(settings, len(batches)),
            num_cpus=settings.cpus_per_actor,
            num_gpus=settings.gpus_per_actor,
        )
    )
    wish = score_wish(settings)
    begins = [(wish.part, partial(attempts.began, "load"))]
    if shown is not None and wish.beside is not None:
        begins.append((wish.beside, partial(attempts.began, "decode")))
    redone = 0
    with telling_waits(begins), attempts.listening():
        for part in parts.iter_batches(batch_size=None):
            kinds = " ".join(part["kinds"]).split()
            progress.advance(int(part["clips"].sum()), int(part["errors"].sum()), kinds)
            redone += int(part["redone"].sum())
    if redone:
        console.print(f"  {redone} clips were answered again: the engine's process had ended")


def _pool(settings: ScoreConfig, batches: int) -> ray.data.ActorPoolStrategy:
    """The engines. Those with GPUs begin with as many as there is room and work for.

    Ray Data would let a pool grow by one engine at a time, each when the one before has loaded. On
    CPUs that is as well: there the decoders must find room, too.
    """
    first = settings.min_actors
    if settings.gpus_per_actor:
        room = at_once(score_wish(settings), alive_nodes())
        first = max(first, min(room, batches, settings.max_actors))
    return ray.data.ActorPoolStrategy(
        min_size=settings.min_actors,
        max_size=settings.max_actors,
        initial_size=first,
        # One more waits at the engine, so that no engine waits for Ray Data to look.
        max_tasks_in_flight_per_actor=BATCHES_AT_ONCE + 1,
        max_concurrent_calls_per_actor=BATCHES_AT_ONCE,
        enable_true_multi_threading=True,
    )
