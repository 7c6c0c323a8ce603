"""Score: every member answers every clip of the manifest.

    read manifest -> plan batches -> drop done -> decode -> engine pool -> write

One pass per engine group. The manifest is the ledger: the batches follow from it alone, and a
batch is done when every member of the group has a prediction for each of its clips. So a run that
was killed goes on with the same batches and ends with the same numbers to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from ah_ray import schemas, storage
from ah_ray.checkpoints import require_checkpoint
from ah_ray.cluster import connect
from ah_ray.config import MediaConfig, ScoreConfig
from ah_ray.engines import Answer, find_engine, load_engine
from ah_ray.errors import ItemError
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.members import EngineGroup, Member, engine_groups
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import StageProgress
from ah_ray.tasks import Task, load_task

Row = dict[str, Any]

# A decoded clip between a decoder and an engine. Bytes with a shape cross processes without a
# copy whatever their size; clips of one block may differ in size.
DECODED = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("frames", pa.binary()),
        ("shape", pa.list_(pa.int32())),
        ("fps", pa.float64()),
        ("audio", pa.binary()),
        ("error_kind", pa.string()),
        ("error", pa.string()),
    ]
)


def score(run: RunDirectory, members: Sequence[Member], settings: ScoreConfig) -> None:
    """Write the predictions that are missing, one pass per engine group.

    Args:
        run: the run directory; its manifest of scoring clips is read.
        members: the ensemble.
        settings: the engine and its resources.

    Raises:
        ConfigError: there is no manifest, or no such engine or checkpoint.
    """
    find_engine(settings.engine)
    run.require("clips", "ah-ray prepare")
    clips = run.clips(SCORING)
    for group in engine_groups(members):
        done = set.intersection(*(scored_clips(run, member.name) for member in group.members))
        batches = [
            batch
            for batch in plan_batches(clips, settings.batch_size)
            if not done.issuperset(clip_ids(batch))
        ]
        todo = sum(len(clip_ids(batch)) for batch in batches)
        with StageProgress(f"score {group.name}", todo, "clips", len(clips) - todo) as progress:
            if not batches:
                continue
            require_checkpoint(group.checkpoint, f"{group.members[0].uri}: model.path")
            connect()
            attempts = Attempts.remote()  # type: ignore[attr-defined]
            parts = (
                ray.data.from_items(batches)
                .repartition(target_num_rows_per_block=1)
                .map_batches(
                    make_decode(group.members[0].card.media),
                    batch_size=None,
                    batch_format="pyarrow",
                    num_cpus=settings.cpus_per_decoder,
                )
                .map_batches(
                    Scorer,
                    fn_constructor_args=(group, settings, run, attempts),
                    batch_size=None,  # a block is a batch as it was planned
                    batch_format="pyarrow",
                    concurrency=settings.actors,
                    num_cpus=settings.cpus_per_actor,
                    num_gpus=settings.gpus_per_actor,
                )
            )
            for part in parts.iter_batches(batch_size=None):
                progress.advance(int(part["clips"].sum()), int(part["errors"].sum()))


def scored_clips(run: RunDirectory, member: str) -> set[str]:
    """The clips that have a prediction of ``member``."""
    return storage.ids_in(run.predictions_path(member), schemas.PREDICTIONS, "clip_id")


def plan_batches(clips: pa.Table, batch_size: int) -> list[Row]:
    """The work: batches of at most ``batch_size`` clips, each of a few whole sources.

    A source with more clips than that is spread over several batches. The plan depends on the
    manifest alone, not on what is done already.

    Args:
        clips: ``schemas.CLIPS``.
        batch_size: most clips per batch.

    Returns:
        Rows with a list ``sources`` of {video_id, source_uri, clips: [{clip_id, start_s, end_s}]}.
    """
    by_source: dict[tuple[str, str], list[Row]] = defaultdict(list)
    columns = ["clip_id", "video_id", "source_uri", "start_s", "end_s"]
    for clip in clips.select(columns).to_pylist():
        by_source[clip.pop("video_id"), clip.pop("source_uri")].append(clip)
    batches: list[Row] = []
    free = 0
    for (video_id, uri), found in sorted(by_source.items()):
        ordered = sorted(found, key=lambda clip: (clip["start_s"], clip["clip_id"]))
        for first in range(0, len(ordered), batch_size):
            piece = ordered[first : first + batch_size]
            if len(piece) > free:
                batches.append({"sources": []})
                free = batch_size
            batches[-1]["sources"].append({"video_id": video_id, "source_uri": uri, "clips": piece})
            free -= len(piece)
    return batches


def clip_ids(batch: Row) -> list[str]:
    """The clips of one row of ``plan_batches``."""
    return [clip["clip_id"] for source in batch["sources"] for clip in source["clips"]]


def make_decode(media: MediaConfig) -> Callable[[pa.Table], pa.Table]:
    """A function that decodes the clips of one planned batch.

    Columns in: those of ``plan_batches``. Columns out: ``DECODED``, one row per clip; a clip that
    cannot be decoded has its error there and no media.
    """

    def decode_batch(batch: pa.Table) -> pa.Table:
        rows: list[Row] = []
        for planned in batch.to_pylist():
            for source in planned["sources"]:
                spans = [Span(clip["start_s"], clip["end_s"]) for clip in source["clips"]]
                for index, result in decode(source["source_uri"], spans, media):
                    clip_id = source["clips"][index]["clip_id"]
                    rows.append(_decoded(clip_id, source["video_id"], result))
        return pa.Table.from_pylist(rows, schema=DECODED)

    return decode_batch


def _decoded(clip_id: str, video_id: str, result: DecodedClip | ItemError) -> Row:
    """One row of ``DECODED``."""
    row: Row = {"clip_id": clip_id, "video_id": video_id}
    if isinstance(result, ItemError):
        return row | {"error_kind": result.kind, "error": result.message}
    return row | {
        "frames": result.frames.tobytes(),
        "shape": result.frames.shape,
        "fps": result.fps,
        "audio": result.audio.tobytes(),
    }


@ray.remote(num_cpus=0)
class Attempts:
    """Counts unfinished tries of each clip; lives outside the engines, which may die."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = defaultdict(int)

    def start(self, clip_ids: Sequence[str]) -> None:
        """The clips are about to be given to an engine."""
        for clip_id in clip_ids:
            self._tries[clip_id] += 1

    def finish(self, clip_ids: Sequence[str]) -> None:
        """The engine has survived them."""
        for clip_id in clip_ids:
            self._tries.pop(clip_id, None)

    def unfinished(self, clip_ids: Sequence[str]) -> list[int]:
        """How many tries of each clip were started and did not come back."""
        return [self._tries.get(clip_id, 0) for clip_id in clip_ids]


class Scorer:
    """A pool actor: one engine, and the predictions it writes.

    When the engine takes its process down, Ray starts the actor again with the same batch. From
    then on the batch goes clip by clip, so that only the guilty clip is left unfinished; after
    ``max_attempts`` tries it gets an error row and no more tries.
    """

    def __init__(
        self, group: EngineGroup, settings: ScoreConfig, run: RunDirectory, attempts: Any
    ) -> None:
        self.members = group.members
        self.task = load_task(group.members[0].card.task)
        self.engine = load_engine(group, settings)
        self.max_attempts = settings.max_attempts
        self.run = run
        self.attempts = attempts

    def __call__(self, batch: pa.Table) -> dict[str, list[int]]:
        """Answer a batch and write one part per member.

        Columns in: ``DECODED``. Columns out: ``clips`` and ``errors``, counts.
        """
        rows = batch.to_pylist()
        tries = ray.get(self.attempts.unfinished.remote([row["clip_id"] for row in rows]))
        if not any(tries):
            return {"clips": [len(rows)], "errors": [self._score(rows, attempt=1)]}
        errors = 0
        for row, tried in zip(rows, tries, strict=True):
            if tried >= self.max_attempts:
                message = f"the engine's process died {tried} times on this clip"
                row |= {"error_kind": "engine_died", "error": message}
            errors += self._score([row], attempt=min(tried + 1, self.max_attempts))
        return {"clips": [len(rows)], "errors": [errors]}

    def _score(self, rows: Sequence[Row], attempt: int) -> int:
        """Write the predictions of every member for ``rows``; how many are not usable."""
        clip_ids = [row["clip_id"] for row in rows if row["error_kind"] is None]
        clips = [clip_of(row) for row in rows if row["error_kind"] is None]
        ray.get(self.attempts.start.remote(clip_ids))
        part = f"part-{schemas.stable_id(*sorted(row['clip_id'] for row in rows))}.parquet"
        errors = 0
        for member in self.members:
            answers = dict(zip(clip_ids, self._answer(member, clips), strict=True))
            predictions = [
                prediction(row, answers.get(row["clip_id"]), self.task, attempt) for row in rows
            ]
            errors += sum(row["status"] != "ok" for row in predictions)
            path = storage.join(self.run.predictions_path(member.name), part)
            storage.write_rows(predictions, schemas.PREDICTIONS, path)
        ray.get(self.attempts.finish.remote(clip_ids))
        return errors

    def _answer(self, member: Member, clips: Sequence[DecodedClip]) -> list[Answer | ItemError]:
        """Answers of the engine; a clip on which it fails gets the error, the others do not."""
        try:
            return list(self.engine.answer(member, clips))
        except Exception as error:
            if len(clips) > 1:
                return [answer for clip in clips for answer in self._answer(member, [clip])]
            return [ItemError("engine_failed", f"{type(error).__name__}: {error}")]


def clip_of(row: Row) -> DecodedClip:
    """The clip in a row of ``DECODED``."""
    return DecodedClip(
        frames=np.frombuffer(row["frames"], np.uint8).reshape(row["shape"]).copy(),
        fps=row["fps"],
        audio=np.frombuffer(row["audio"], np.float32).copy(),
    )


def prediction(row: Row, answer: Answer | ItemError | None, task: Task, attempt: int) -> Row:
    """One row of the predictions table.

    Args:
        row: the decoded clip, or its decoding error.
        answer: what the engine said, or its error; None when the clip never got there.
        task: says how a reply reads.
        attempt: which try of the clip this was.
    """
    result: Row = {"clip_id": row["clip_id"], "video_id": row["video_id"], "attempts": attempt}
    if answer is None:
        return result | {
            "status": "error",
            "error_kind": row["error_kind"],
            "error": row["error"],
        }
    if isinstance(answer, ItemError):
        return result | {"status": "error", "error_kind": answer.kind, "error": answer.message}
    label = task.parse(answer.text)
    return result | {
        "status": "unparseable" if label is None else "ok",
        "answer": label,
        "p_yes": answer.p_yes,
        "raw_text": answer.text,
    }
