"""Score: every member answers every clip of the manifest.

    read manifest -> plan batches -> drop stale, drop done -> decode -> engine pool -> write

One pass per engine group. The manifest is the ledger: the batches follow from it alone, and a
batch is done when every member of the group has a prediction for each of its clips. So a run that
was killed goes on with the same batches and ends with the same numbers to the last bit.
Predictions of other weights, of another question or of a file that has changed since are stale
(``lineage``) and made again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from ah_ray import lineage, schemas, storage, tables
from ah_ray.checkpoints import require_checkpoint
from ah_ray.cluster import connect, turn
from ah_ray.contents import require_content
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.registry import engine_of, plan_passes
from ah_ray.errors import ConfigError, ItemError
from ah_ray.findings import note
from ah_ray.media.config import LimitsConfig, MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.members import EngineGroup, Member, member_fingerprint
from ah_ray.pipelines.attempts import Attempts, quarantine
from ah_ray.pipelines.mass import note_mass
from ah_ray.pipelines.run_directory import SCORING, RunDirectory, answers_made_from
from ah_ray.pipelines.scorer import Row, Scorer, packed
from ah_ray.preflight import require, score_wish, telling_waits
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
    clips = run.clips(SCORING)
    plan = of_first_videos(plan_batches(clips, settings.batch_size), limit)
    planned = sum(len(clip_ids(batch)) for batch in plan)
    for group in passes:
        if plan and engine_of(group, settings).needs_model:
            require_checkpoint(group.checkpoint, f"{group.members[0].uri}: model.path")
    asked = asked_how(settings)
    made_from = {member.name: (member_fingerprint(member), asked) for member in members}
    to_do = [(group, missing_batches(run, group, plan, settings, clips)) for group in passes]
    if any(batches for _, batches in to_do):
        connect()
        require(score_wish(settings))
    run.remember({"asked": asked})
    stale = {name: drop_stale(run, name, made, clips) for name, made in made_from.items()}
    for group, batches in to_do:
        todo = sum(len(clip_ids(batch)) for batch in batches)
        name, told = f"score {group.name}", run.path("predictions")
        with StageProgress(name, todo, "clips", planned - todo, told) as progress:
            if dropped := sum(stale[member.name] for member in group.members):
                console.print(
                    f"  {dropped} predictions are stale (weights, question or video have changed "
                    "since) and dropped"
                )
            if batches:
                # An engine holds what it has until its pass ends. Two jobs that divide a cluster
                # into engines would leave no decoder any CPU, and wait for each other for ever.
                with turn("scoring"):
                    _run_pass(run, group, batches, made_from, settings, limits, progress)
    note_damage(run, clips)
    note_mass(run, [member.name for member in members])


def asked_how(settings: ScoreConfig) -> dict[str, Any]:
    """Of the settings those that decide what is answered (``lineage.asked_how``)."""
    return lineage.asked_how(
        settings.engine, settings.engine_args, settings.decoding, settings.max_new_tokens
    )


def require_same_asking(run: RunDirectory, settings: ScoreConfig) -> None:
    """Fail when a run has predictions of another engine or another way of decoding.

    Making them again may cost days, so that is not done because of one option.

    Raises:
        ConfigError: naming what differs.
    """
    asked, before = asked_how(settings), run.settings().get("asked", {})
    for key in asked.keys() & before.keys():
        if asked[key] != before[key] and storage.list_files(run.path("predictions")):
            raise ConfigError(
                f"score.{key}",
                f"is {asked[key]!r}, but the predictions of {run.uri} were made with "
                f"{before[key]!r}",
                f"restore the setting, give a new --run, or delete {run.path('predictions')}",
            )


def drop_stale(run: RunDirectory, member: str, made_from: tuple[str, Any], clips: pa.Table) -> int:
    """Drop a member's predictions that are not made from what is there now; how many those were.

    Args:
        run: the run directory.
        member: its name.
        made_from: its fingerprint, and how it is asked.
        clips: the manifest of scoring clips.
    """
    now = set(answers_made_from(*made_from, clips).values())
    path = run.predictions_path(member)
    return len(tables.drop_rows(path, schemas.PREDICTIONS, lambda rows: lineage.holds(rows, now)))


def _run_pass(
    run: RunDirectory,
    group: EngineGroup,
    batches: Sequence[Row],
    made_from: Mapping[str, tuple[str, Any]],
    settings: ScoreConfig,
    limits: LimitsConfig,
    progress: StageProgress,
) -> None:
    """Decode the clips of ``batches`` and let the members of ``group`` answer them."""
    # A row is a batch as it was planned, and a block holds one row.
    ray.data.DataContext.get_current().target_max_block_size = None
    attempts = Attempts()
    media = group.members[0].card.media if engine_of(group, settings).needs_model else None
    parts = (
        # One block per batch from the start: a step that splits blocks would reserve a CPU.
        ray.data.from_items(list(batches), override_num_blocks=len(batches))
        .map_batches(
            make_decode(media, settings, limits, attempts),
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
            compute=ray.data.ActorPoolStrategy(
                min_size=settings.min_actors, max_size=settings.max_actors
            ),
            num_cpus=settings.cpus_per_actor,
            num_gpus=settings.gpus_per_actor,
        )
    )
    wish = score_wish(settings)
    begins = [(wish.part, partial(attempts.began, "load"))]
    if media is not None and wish.beside is not None:
        begins.append((wish.beside, partial(attempts.began, "decode")))
    redone = 0
    with telling_waits(begins), attempts.listening():
        for part in parts.iter_batches(batch_size=None):
            kinds = " ".join(part["kinds"]).split()
            progress.advance(int(part["clips"].sum()), int(part["errors"].sum()), kinds)
            redone += int(part["redone"].sum())
    if redone:
        console.print(f"  {redone} clips were answered again: the engine's process had ended")


def note_damage(run: RunDirectory, clips: pa.Table) -> None:
    """Write a finding for each clip inside which a decoder met errors, and no others."""
    columns = pa.schema([schemas.PREDICTIONS.field(name) for name in ("clip_id", "damage")])
    found = tables.read_table(run.path("predictions"), columns, "member")
    found = found.filter(pc.greater(found["damage"], 0))
    damage = dict(zip(found["clip_id"].to_pylist(), found["damage"].to_pylist(), strict=True))
    damaged = clips.filter(pc.is_in(clips["clip_id"], pa.array(list(damage), pa.string())))
    rows = [
        note(
            clip["clip_id"],
            "damaged",
            f"{clip['source_uri']} from {clip['start_s']:.3f} to {clip['end_s']:.3f} s: "
            f"{damage[clip['clip_id']]} decoding errors",
        )
        for clip in damaged.to_pylist()
    ]
    path = storage.join(run.findings_path("score"), "part-0.parquet")
    if rows or storage.exists(path):
        tables.write_rows(rows, schemas.FINDINGS, path)


def missing_batches(
    run: RunDirectory,
    group: EngineGroup,
    plan: Sequence[Row],
    settings: ScoreConfig,
    clips: pa.Table,
) -> list[Row]:
    """The batches in which a member of ``group`` lacks an answer that holds.

    Args:
        run: the run directory.
        group: the members.
        plan: all batches.
        settings: how they are asked; with ``retry_errors``, an error row is no answer.
        clips: the manifest of scoring clips.
    """
    members = {member.name: member_fingerprint(member) for member in group.members}
    answers = run.answers(members, clips, asked_how(settings))
    if settings.retry_errors:
        answers = answers.filter(pc.not_equal(answers["status"], "error"))
    done = set.intersection(
        *(
            set(answers.filter(pc.equal(answers["member"], name))["clip_id"].to_pylist())
            for name in members
        )
    )
    return [batch for batch in plan if not done.issuperset(clip_ids(batch))]


def plan_batches(clips: pa.Table, batch_size: int) -> list[Row]:
    """The work: batches of at most ``batch_size`` clips, each of a few whole sources.

    Sources of one size stand together, so that a batch needs little padding. A source with more
    clips than a batch is spread over several. The plan depends on the manifest alone, not on what
    is done already.

    Args:
        clips: ``schemas.CLIPS``.
        batch_size: most clips per batch.

    Returns:
        Rows with a list ``sources`` of {video_id, source_uri, content, clips: [{clip_id, start_s,
        end_s}]}.
    """
    by_source: dict[tuple[str, str, str | None], list[Row]] = defaultdict(list)
    size_of: dict[tuple[str, str, str | None], str] = {}
    columns = ["clip_id", "video_id", "source_uri", "content", "start_s", "end_s", "bucket"]
    for clip in clips.select(columns).to_pylist():
        source = clip.pop("video_id"), clip.pop("source_uri"), clip.pop("content")
        size_of[source] = max(size_of.get(source, ""), clip.pop("bucket") or "")
        by_source[source].append(clip)
    batches: list[Row] = []
    free = 0
    for source in sorted(by_source, key=lambda source: (size_of[source], source[:2])):
        ordered = sorted(by_source[source], key=lambda clip: (clip["start_s"], clip["clip_id"]))
        for first in range(0, len(ordered), batch_size):
            piece = ordered[first : first + batch_size]
            if len(piece) > free:
                batches.append({"sources": []})
                free = batch_size
            facts = dict(zip(("video_id", "source_uri", "content"), source, strict=True))
            batches[-1]["sources"].append(facts | {"clips": piece})
            free -= len(piece)
    return batches


def of_first_videos(plan: Sequence[Row], limit: int | None) -> list[Row]:
    """The batches, each as it was planned, that hold the first ``limit`` videos by their ids."""
    videos = sorted({source["video_id"] for batch in plan for source in batch["sources"]})
    first = set(videos[:limit])
    return [
        batch for batch in plan if any(source["video_id"] in first for source in batch["sources"])
    ]


def clip_ids(batch: Row) -> list[str]:
    """The clips of one row of ``plan_batches``."""
    return [clip["clip_id"] for source in batch["sources"] for clip in source["clips"]]


def make_decode(
    media: MediaConfig | None, settings: ScoreConfig, limits: LimitsConfig, attempts: Attempts
) -> Callable[[pa.Table], pa.Table]:
    """A function that decodes the clips of one planned batch.

    Columns in: those of ``plan_batches``. Columns out: ``BATCH``; a clip that cannot be decoded has
    its error there and no media.

    Args:
        media: what the model sees of a clip; None leaves the files alone.
        settings: how long and how often decoding a source is tried.
        limits: what a source may cost.
        attempts: counts the tries, for a file that takes its decoder down.
    """

    def decode_batch(batch: pa.Table) -> pa.Table:
        sources = {
            f"decode {source['clips'][0]['clip_id']}": source
            for planned in batch.to_pylist()
            for source in planned["sources"]
        }
        if media is None:
            rows = [
                _decoded(clip["clip_id"], source, _NOTHING)
                for source in sources.values()
                for clip in source["clips"]
            ]
            return packed(rows)
        rows = []
        for (key,), died in quarantine(attempts.unfinished(list(sources)), settings.max_attempts):
            source = sources[key]
            ids = [clip["clip_id"] for clip in source["clips"]]
            if died:
                message = f"{source['source_uri']}: decoding died or hung {died} times"
                error = ItemError("decoder_died", message)
                rows += [_decoded(clip_id, source, error) for clip_id in ids]
                continue
            with attempts.trying([key], settings.batch_timeout_s):
                results = decode_source(source, media, limits)
            rows += [_decoded(ids[index], source, r) for index, r in results.items()]
        return packed(rows)

    return decode_batch


def decode_source(
    source: Row, media: MediaConfig, limits: LimitsConfig
) -> dict[int, DecodedClip | ItemError]:
    """The clips of one source by their place in it; whatever goes wrong stays with the source."""
    spans = [Span(clip["start_s"], clip["end_s"]) for clip in source["clips"]]
    results: dict[int, DecodedClip | ItemError] = {}
    try:
        for index, result in decode(source["source_uri"], spans, media, limits):
            results[index] = result
    except Exception as error:
        message = f"{source['source_uri']}: {type(error).__name__}: {error}"
        for index in range(len(spans)):
            results.setdefault(index, ItemError("decode_failed", message))
    if any(isinstance(result, DecodedClip) for result in results.values()):
        try:
            require_content(source["source_uri"], source["content"])
        except ItemError as error:  # it is not what the manifest speaks of
            return dict.fromkeys(results, error)
    return results


_NOTHING = DecodedClip(np.zeros((0, 0, 0, 3), np.uint8), 0.0, np.zeros(0, np.float32))


def _decoded(clip_id: str, source: Row, result: DecodedClip | ItemError) -> Row:
    """One row of ``DECODED``; its media are not copied until Arrow takes them."""
    row: Row = {"clip_id": clip_id, "video_id": source["video_id"], "content": source["content"]}
    if isinstance(result, ItemError):
        return row | {"error_kind": result.kind, "error": result.message}
    return row | {
        "frames": result.frames.reshape(-1).data,
        "shape": result.frames.shape,
        "fps": result.fps,
        "audio": result.audio.view(np.uint8).data,
        "damage": result.damage,
    }
