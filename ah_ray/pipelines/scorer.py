"""The actor of a scoring pool: decoded clips in, predictions written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from ah_ray import lineage, schemas, storage, tables
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Answer, Clip
from ah_ray.engines.registry import load_engine
from ah_ray.errors import ItemError, StageError
from ah_ray.members import EngineGroup, Member
from ah_ray.pipelines.attempts import Attempts, quarantine
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.tasks import Task

Row = dict[str, Any]

# A decoded clip between a decoder and an engine. Bytes with a shape cross processes without a
# copy whatever their size; clips of one block may differ in size.
DECODED = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("content", pa.string()),
        ("frames", pa.large_binary()),
        ("shape", pa.list_(pa.int32())),
        ("fps", pa.float64()),
        ("audio", pa.large_binary()),
        ("damage", pa.int32()),
        ("error_kind", pa.string()),
        ("error", pa.string()),
    ]
)
# What a decoder hands over: one row for each planned batch, with its clips. Ray joins and splits
# blocks, but never a row.
BATCH = pa.schema([("clips", pa.list_(pa.struct(list(DECODED))))])


class Scorer:
    """One engine, and the predictions it writes: one part per member for each planned batch.

    An engine that takes its process down, or is ended because it hangs, is started again by Ray
    with the same batch. The batch is tried as a whole while the reason may lie outside; the last
    of ``max_attempts`` tries goes clip by clip, and a clip that does not survive even that gets
    an error row.
    """

    def __init__(
        self,
        group: EngineGroup,
        settings: ScoreConfig,
        run: RunDirectory,
        attempts: Attempts,
        made_from: Mapping[str, tuple[str, Any]],
    ) -> None:
        """Load the engine.

        Args:
            group: the members to ask.
            settings: the engine and its resources.
            run: the run directory.
            attempts: counts the tries.
            made_from: the fingerprint of each member and how it is asked, by its name.

        Raises:
            StageError: its process died or hung while loading, ``max_attempts`` times.
        """
        self.members = group.members
        self.task = group.members[0].card.task
        self.settings = settings
        self.run = run
        self.attempts = attempts
        self.made_from = made_from
        loading = [f"load {ray.get_runtime_context().get_actor_id()}"]
        with attempts.telling():
            if max(attempts.unfinished(loading).values()) >= settings.max_attempts:
                raise StageError(
                    f"the process of engine {settings.engine} died {settings.max_attempts} times "
                    f"while loading {group.checkpoint}; its last words are in the logs of Ray"
                )
            with attempts.trying(loading, settings.load_timeout_s):
                self.engine = load_engine(group, settings)

    def __call__(self, batch: pa.Table) -> dict[str, list[Any]]:
        """Answer a batch and write one part per member.

        Columns in: those of ``BATCH``, one row. Columns out, counts: ``clips``, ``errors``, and
        ``redone``, the clips that an engine had before and did not come back with; and ``kinds``
        of the errors, with blanks between them.
        """
        batch = unpacked(batch)
        rows = batch.drop_columns(["frames", "audio"]).to_pylist()
        clips = {
            row["clip_id"]: clip_at(batch, index)
            for index, row in enumerate(rows)
            if row["error_kind"] is None
        }
        tried = self.attempts.unfinished(list(clips))
        most = self.settings.max_attempts
        attempt = min(max(tried.values(), default=0) + 1, most)
        answers: dict[tuple[str, str], Answer | ItemError] = {}
        # Of a batch nothing may have been decoded, and an engine is not asked about nothing.
        for ids, died in quarantine(tried, most, together=most - 1):
            if died:
                message = f"the engine's process died {died} times on this clip"
                error = ItemError("engine_died", message)
                answers |= {(member.name, id_): error for member in self.members for id_ in ids}
            else:
                answers |= self._try({clip_id: clips[clip_id] for clip_id in ids})
        part = f"part-{schemas.stable_id(*sorted(row['clip_id'] for row in rows))}.parquet"
        kinds: list[str] = []
        for member in self.members:
            predictions = [
                prediction(row, answers.get((member.name, row["clip_id"])), self.task, attempt)
                | {"made_from": self._made_from(member, row)}
                for row in rows
            ]
            kinds += [row.get("error_kind") or row["status"]
                      for row in predictions if row["status"] != "ok"]  # fmt: skip
            path = storage.join(self.run.predictions_path(member.name), part)
            with self.attempts.telling():
                tables.write_rows(predictions, schemas.PREDICTIONS, path)
        redone = sum(tries > 0 for tries in tried.values())
        return {
            "clips": [len(rows)],
            "errors": [len(kinds)],
            "redone": [redone],
            "kinds": [" ".join(kinds)],
        }

    def _made_from(self, member: Member, row: Row) -> str:
        fingerprint, asked = self.made_from[member.name]
        return lineage.answer_made_from(fingerprint, asked, row["video_id"], row["content"])

    def _try(self, clips: dict[str, Clip]) -> dict[tuple[str, str], Answer | ItemError]:
        """Answers by member and clip; the engine may take the process down."""
        with self.attempts.trying(list(clips), self.settings.batch_timeout_s):
            answers = self._answer(self.members, list(clips.values()))
        return {
            (member.name, clip_id): answer
            for member, of_member in zip(self.members, answers, strict=True)
            for clip_id, answer in zip(clips, of_member, strict=True)
        }

    def _answer(
        self, members: Sequence[Member], clips: Sequence[Clip]
    ) -> Sequence[Sequence[Answer | ItemError]]:
        """Answers of the engine; a clip on which it fails gets the error, the others do not."""
        try:
            answers = [
                [checked(answer) for answer in of_member]
                for of_member in self.engine.answer(members, clips)
            ]
            shape = [len(of_member) for of_member in answers]
            if shape != [len(clips)] * len(members):
                raise ValueError(f"{shape} answers to {len(clips)} clips by {len(members)} members")
            return answers
        except Exception as error:
            if len(clips) > 1:
                alone = [self._answer(members, [clip]) for clip in clips]
                return [[answers[row][0] for answers in alone] for row in range(len(members))]
            if len(members) > 1:
                return [self._answer([member], clips)[0] for member in members]
            return [[ItemError("engine_failed", f"{type(error).__name__}: {error}")]]


def checked(answer: Any) -> Answer:
    """What an engine handed over, if it is an answer; an engine of one's own may do anything.

    Raises:
        TypeError: it is none.
        ValueError: its text or its numbers are none.
    """
    if not (isinstance(answer, Answer) and isinstance(answer.text, str)):
        raise TypeError(f"{answer!r} is no answer with a text")
    answer.text.encode()  # what has no UTF-8 cannot be written
    p_yes, mass = (None if number is None else float(number) for number in answer[1:])
    return Answer(answer.text, p_yes, mass)


def packed(rows: Sequence[Row]) -> pa.Table:
    """Decoded clips (rows of ``DECODED``) as the one row of a planned batch (``BATCH``)."""
    return pa.Table.from_pylist([{"clips": list(rows)}], schema=BATCH)


def unpacked(batch: pa.Table) -> pa.Table:
    """The clips of one row of ``BATCH`` as a table of ``DECODED``; media are not copied."""
    (clips,) = batch["clips"].chunks
    return pa.Table.from_struct_array(clips.flatten())


def clip_at(batch: pa.Table, index: int) -> Clip:
    """The clip in a row of ``DECODED``."""

    def array(name: str, kind: Any) -> Any:
        # Copied once, out of shared memory: arrays there cannot be written, which torch minds.
        return np.frombuffer(batch[name][index].as_buffer(), kind).copy()

    return Clip(
        video_id=batch["video_id"][index].as_py(),
        frames=array("frames", np.uint8).reshape(batch["shape"][index].as_py()),
        fps=batch["fps"][index].as_py(),
        audio=array("audio", np.float32),
    )


def prediction(row: Row, answer: Answer | ItemError | None, task: Task, attempt: int) -> Row:
    """One row of the predictions table.

    Args:
        row: the decoded clip, or its decoding error.
        answer: what the engine said, or its error; None when the clip never got there.
        task: says how a reply reads.
        attempt: which try of the clip this was.
    """
    result: Row = {key: row[key] for key in ("clip_id", "video_id", "damage")}
    result["attempts"] = attempt
    if answer is None:
        return result | {
            "status": "error",
            "error_kind": row["error_kind"],
            "error": row["error"],
        }
    if isinstance(answer, ItemError):
        return result | {"status": "error", "error_kind": answer.kind, "error": answer.message}
    if not all(number is None or math.isfinite(number) for number in (answer.p_yes, answer.mass)):
        # What is written then is whatever comes first in the vocabulary.
        message = f"the model's scores are no numbers: P(positive) is {answer.p_yes}"
        return result | {"status": "error", "error_kind": "not_finite", "error": message}
    label = task.parse(answer.text)
    return result | {
        "status": "unparseable" if label is None else "ok",
        "answer": label,
        "p_yes": answer.p_yes,
        "mass": answer.mass,
        "raw_text": answer.text,
    }
