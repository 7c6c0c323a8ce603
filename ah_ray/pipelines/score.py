"""Score: every member answers every clip of the manifest.

    read manifest -> plan batches -> drop done -> decode -> engine pool -> write

One pass per engine group. The manifest is the ledger: the batches follow from it alone, and a
batch is done when every member of the group has a prediction for each of its clips. So a run that
was killed goes on with the same batches and ends with the same numbers to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from ah_ray import schemas, storage
from ah_ray.checkpoints import require_checkpoint
from ah_ray.cluster import connect
from ah_ray.config import LimitsConfig, MediaConfig, ScoreConfig
from ah_ray.engines import engine_of, plan_passes
from ah_ray.errors import ItemError
from ah_ray.findings import note
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.members import EngineGroup, Member
from ah_ray.pipelines.attempts import Attempts
from ah_ray.pipelines.mass import note_mass
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.scorer import DECODED, Row, Scorer
from ah_ray.progress import StageProgress, console

_BATCHES_PER_DECODER = 1000


def score(
    run: RunDirectory,
    members: Sequence[Member],
    settings: ScoreConfig,
    limits: LimitsConfig = LimitsConfig(),
) -> None:
    """Write the predictions that are missing, one pass per engine group.

    Args:
        run: the run directory; its manifest of scoring clips is read.
        members: the ensemble.
        settings: the engine and its resources.
        limits: what decoding a source may cost.

    Raises:
        ConfigError: there is no manifest, or no such engine or checkpoint.
        StageError: the engine does not load.
        StorageError: predictions cannot be written; the next run goes on where this one stopped.
    """
    passes = plan_passes(members, settings)
    run.require("clips", "ah-ray prepare")
    clips = run.clips(SCORING)
    plan = plan_batches(clips, settings.batch_size)
    to_do = [(group, missing_batches(run, group, plan, settings)) for group in passes]
    for group, batches in to_do:
        if batches and engine_of(group, settings).needs_model:
            require_checkpoint(group.checkpoint, f"{group.members[0].uri}: model.path")
    for group, batches in to_do:
        todo = sum(len(clip_ids(batch)) for batch in batches)
        with StageProgress(f"score {group.name}", todo, "clips", len(clips) - todo) as progress:
            if batches:
                _run_pass(run, group, batches, settings, limits, progress)
    note_damage(run, clips)
    note_mass(run, [member.name for member in members])


def _run_pass(
    run: RunDirectory,
    group: EngineGroup,
    batches: Sequence[Row],
    settings: ScoreConfig,
    limits: LimitsConfig,
    progress: StageProgress,
) -> None:
    """Decode the clips of ``batches`` and let the members of ``group`` answer them."""
    connect()
    # A block is a batch as it was planned: neither joined nor split on its way.
    ray.data.DataContext.get_current().target_max_block_size = None
    attempts = Attempts()
    media = group.members[0].card.media if engine_of(group, settings).needs_model else None
    parts = (
        # One block per batch from the start: a step that splits blocks would reserve a CPU.
        ray.data.from_items(list(batches), override_num_blocks=len(batches))
        .map_batches(
            make_decode(media, settings, limits, attempts),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=settings.cpus_per_decoder,
            # What codecs leak goes with the process. Besides, Ray merges two steps with equal
            # arguments, and would decode inside of the engines' actors.
            max_calls=_BATCHES_PER_DECODER,
        )
        .map_batches(
            Scorer,
            fn_constructor_args=(group, settings, run, attempts),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                min_size=settings.min_actors, max_size=settings.max_actors
            ),
            num_cpus=settings.cpus_per_actor,
            num_gpus=settings.gpus_per_actor,
        )
    )
    redone = 0
    with attempts.listening():
        for part in parts.iter_batches(batch_size=None):
            progress.advance(int(part["clips"].sum()), int(part["errors"].sum()))
            redone += int(part["redone"].sum())
    if redone:
        console.print(f"  {redone} clips were answered again: the engine's process had ended")


def note_damage(run: RunDirectory, clips: pa.Table) -> None:
    """Write a finding for each clip inside which a decoder met errors."""
    columns = pa.schema([schemas.PREDICTIONS.field(name) for name in ("clip_id", "damage")])
    found = storage.read_table(run.path("predictions"), columns, "member")
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
    if rows:
        path = storage.join(run.findings_path("score"), "part-0.parquet")
        storage.write_rows(rows, schemas.FINDINGS, path)


def missing_batches(
    run: RunDirectory, group: EngineGroup, plan: Sequence[Row], settings: ScoreConfig
) -> list[Row]:
    """The batches in which a member of ``group`` still lacks a clip."""
    done = set.intersection(
        *(scored_clips(run, member.name, settings.retry_errors) for member in group.members)
    )
    return [batch for batch in plan if not done.issuperset(clip_ids(batch))]


def scored_clips(run: RunDirectory, member: str, retry_errors: bool = False) -> set[str]:
    """The clips that have a prediction of ``member``; with ``retry_errors`` a usable one."""
    columns = pa.schema([schemas.PREDICTIONS.field(name) for name in ("clip_id", "status")])
    table = storage.read_table(run.predictions_path(member), columns)
    if retry_errors:
        table = table.filter(pc.not_equal(table["status"], "error"))
    return set(pc.unique(table["clip_id"]).to_pylist())


def plan_batches(clips: pa.Table, batch_size: int) -> list[Row]:
    """The work: batches of at most ``batch_size`` clips, each of a few whole sources.

    Sources of one size stand together, so that a batch needs little padding. A source with more
    clips than a batch is spread over several. The plan depends on the manifest alone, not on what
    is done already.

    Args:
        clips: ``schemas.CLIPS``.
        batch_size: most clips per batch.

    Returns:
        Rows with a list ``sources`` of {video_id, source_uri, clips: [{clip_id, start_s, end_s}]}.
    """
    by_source: dict[tuple[str, str], list[Row]] = defaultdict(list)
    size_of: dict[tuple[str, str], str] = {}
    columns = ["clip_id", "video_id", "source_uri", "start_s", "end_s", "bucket"]
    for clip in clips.select(columns).to_pylist():
        source = clip.pop("video_id"), clip.pop("source_uri")
        size_of[source] = max(size_of.get(source, ""), clip.pop("bucket") or "")
        by_source[source].append(clip)
    batches: list[Row] = []
    free = 0
    for source in sorted(by_source, key=lambda source: (size_of[source], source)):
        ordered = sorted(by_source[source], key=lambda clip: (clip["start_s"], clip["clip_id"]))
        for first in range(0, len(ordered), batch_size):
            piece = ordered[first : first + batch_size]
            if len(piece) > free:
                batches.append({"sources": []})
                free = batch_size
            video_id, uri = source
            batches[-1]["sources"].append({"video_id": video_id, "source_uri": uri, "clips": piece})
            free -= len(piece)
    return batches


def clip_ids(batch: Row) -> list[str]:
    """The clips of one row of ``plan_batches``."""
    return [clip["clip_id"] for source in batch["sources"] for clip in source["clips"]]


def make_decode(
    media: MediaConfig | None, settings: ScoreConfig, limits: LimitsConfig, attempts: Attempts
) -> Callable[[pa.Table], pa.Table]:
    """A function that decodes the clips of one planned batch.

    Columns in: those of ``plan_batches``. Columns out: ``DECODED``, one row per clip; a clip that
    cannot be decoded has its error there and no media.

    Args:
        media: what the model sees of a clip; None leaves the files alone.
        settings: how long and how often decoding a source is tried.
        limits: what a source may cost.
        attempts: counts the tries, for a file that takes its decoder down.
    """

    def decode_batch(batch: pa.Table) -> pa.Table:
        sources = [source for planned in batch.to_pylist() for source in planned["sources"]]
        keys = [f"decode {source['clips'][0]['clip_id']}" for source in sources]
        if media is None:
            rows = [
                _decoded(clip["clip_id"], source["video_id"], _NOTHING)
                for source in sources
                for clip in source["clips"]
            ]
            return pa.Table.from_pylist(rows, schema=DECODED)
        rows = []
        for source, key, tried in zip(sources, keys, attempts.unfinished(keys), strict=True):
            ids = [clip["clip_id"] for clip in source["clips"]]
            if tried >= settings.max_attempts:
                message = f"{source['source_uri']}: decoding died or hung {tried} times"
                died = ItemError("decoder_died", message)
                rows += [_decoded(clip_id, source["video_id"], died) for clip_id in ids]
                continue
            with attempts.trying([key], settings.batch_timeout_s):
                results = _decode_source(source, media, limits)
            rows += [_decoded(ids[index], source["video_id"], r) for index, r in results.items()]
        return pa.Table.from_pylist(rows, schema=DECODED)

    return decode_batch


def _decode_source(
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
    return results


_NOTHING = DecodedClip(np.zeros((0, 0, 0, 3), np.uint8), 0.0, np.zeros(0, np.float32))


def _decoded(clip_id: str, video_id: str, result: DecodedClip | ItemError) -> Row:
    """One row of ``DECODED``; its media are not copied until Arrow takes them."""
    row: Row = {"clip_id": clip_id, "video_id": video_id}
    if isinstance(result, ItemError):
        return row | {"error_kind": result.kind, "error": result.message}
    return row | {
        "frames": result.frames.reshape(-1).data,
        "shape": result.frames.shape,
        "fps": result.fps,
        "audio": result.audio.view(np.uint8).data,
        "damage": result.damage,
    }
