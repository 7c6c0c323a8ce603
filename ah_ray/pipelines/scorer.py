"""The actor of a scoring pool: decoded clips in, predictions written."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from ah_ray import lineage, schemas, storage, tables
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item, Replies, Reply, begun
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup
from ah_ray.errors import ItemError, StageError
from ah_ray.members import Member
from ah_ray.pipelines.attempts import Attempts, quarantine
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.texts import texts_of
from ah_ray.schemas import Row
from ah_ray.tasks import SUBTITLE
from ah_ray.tasks.answers import Answer, Reading

# A decoded clip between a decoder and an engine. Bytes with a shape cross processes without a
# copy whatever their size; clips of one block may differ in size.
DECODED = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("content", pa.string()),
        ("subtitle", pa.string()),
        ("frames", pa.large_binary()),
        ("shape", pa.list_(pa.int32())),
        ("fps", pa.float64()),
        ("audio", pa.large_binary()),
        ("damage", pa.int32()),
        ("error_kind", pa.string()),
        ("error", pa.string()),
    ]
)
#: Batches that an engine is busy with: one is answered, one got ready, read or written meanwhile.
BATCHES_AT_ONCE = 2

# What a decoder hands over: one row for each planned batch, with its clips. Ray joins and splits
# blocks, but never a row.
BATCH = pa.schema([("clips", pa.list_(pa.struct(list(DECODED))))])


class Scorer:
    """One engine, and the predictions it writes: one part per member for each planned batch.

    An engine that takes its process down, or is ended because it hangs, is started again by Ray
    with the same batch. The batch is tried as a whole while the reason may lie outside; the last
    of ``max_attempts`` tries goes clip by clip, and a clip that does not survive even that gets
    an error row.

    It is called from ``BATCHES_AT_ONCE`` threads, so that a model does not wait while clips are
    read and prompts rendered. The model itself has one batch at a time, in the order in which they
    are ready. A batch that is tried again has the engine to itself, as what a process dies of might
    else be blamed on what was beside it.
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
        self.settings = settings
        self.run = run
        self.attempts = attempts
        self.made_from = made_from
        self._one_begins = threading.Lock()
        loading = [f"load {ray.get_runtime_context().get_actor_id()}"]
        with attempts.telling():
            if max(attempts.unfinished(loading).values()) >= settings.max_attempts:
                raise StageError(
                    f"the process of engine {settings.engine} died {settings.max_attempts} times "
                    f"while loading {group.checkpoint}; its last words are in the logs of Ray"
                )
            # An engine is loaded and asked in one and the same thread: some keep threads for it.
            self._beginning, self._answering = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
            with attempts.trying(loading, settings.load_timeout_s):
                self.engine = self._answering.submit(load_engine, group, settings).result()

    def __call__(self, batch: pa.Table) -> dict[str, list[Any]]:
        """Answer a batch and write one part per member.

        Columns in: those of ``BATCH``, one row. Columns out, counts: ``clips``, ``errors``, and
        ``redone``, the clips that an engine had before and did not come back with; and ``kinds``
        of the errors, with blanks between them.
        """
        batch = unpacked(batch)
        rows = batch.drop_columns(["frames", "audio"]).to_pylist()
        part = f"part-{schemas.stable_id(*sorted(row['clip_id'] for row in rows))}.parquet"
        read = {name for member in self.members for name in member.card.reads}
        with self.attempts.telling():
            texts = texts_of(self.run, sorted(read), part, [row["clip_id"] for row in rows])
        clips = {
            row["clip_id"]: item_at(batch, index, texts[row["clip_id"]])
            for index, row in enumerate(rows)
            if row["error_kind"] is None
        }
        tried = self.attempts.unfinished(list(clips))
        most = self.settings.max_attempts
        attempt = min(max(tried.values(), default=0) + 1, most)
        answers: dict[tuple[str, str], Reply | ItemError] = {}
        # Of a batch nothing may have been decoded, and an engine is not asked about nothing.
        for ids, died in quarantine(tried, most, together=most - 1):
            if died:
                message = f"the engine's process died {died} times on this clip"
                error = ItemError("engine_died", message)
                answers |= {(member.name, id_): error for member in self.members for id_ in ids}
            else:
                tried_before = any(tried[clip_id] for clip_id in ids)
                answers |= self._try({clip_id: clips[clip_id] for clip_id in ids}, tried_before)
        kinds: list[str] = []
        for member in self.members:
            predictions = [
                prediction(row, answers.get((member.name, row["clip_id"])), member, attempt)
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
        return lineage.answer_made_from(*self.made_from[member.name], row)

    def _try(self, clips: dict[str, Item], alone: bool) -> dict[tuple[str, str], Reply | ItemError]:
        """Answers by member and clip; the engine may take the process down.

        Args:
            clips: by their ids.
            alone: nothing else is to be begun or answered meanwhile.
        """
        asks = list(self._asks(clips))

        def begin() -> list[Callable[[], Replies] | None]:
            with self._trying(clips, whole=False):
                return [self._begin(who, list(of.values())) for who, of in asks]

        def answer(ready: Sequence[Callable[[], Replies] | None]) -> list[Any]:
            with self._trying(clips, whole=True):
                return [
                    self._answer(who, list(of.values()), one)
                    for (who, of), one in zip(asks, ready, strict=True)
                ]

        def in_turn() -> Future[list[Any]]:
            if alone:
                given = self._answering.submit(lambda: answer(begin()))
                given.exception()  # until it is over nothing else begins
                return given
            return self._answering.submit(answer, begin())

        found: dict[tuple[str, str], Reply | ItemError] = {}
        replies = self._beginning.submit(in_turn).result().result()
        for (members, readable), of_members in zip(asks, replies, strict=True):
            for member, of_member in zip(members, of_members, strict=True):
                for clip_id, reply in zip(readable, of_member, strict=True):
                    found[member.name, clip_id] = reply
        for member in self.members:
            for clip_id, item in clips.items():
                if absent := sorted(set(member.card.reads) - item.texts.keys()):
                    message = f"{', '.join(absent)} has no usable answer to this clip"
                    found[member.name, clip_id] = ItemError("not_read", message)
        return found

    def _trying(self, clips: Mapping[str, Item], whole: bool) -> AbstractContextManager[None]:
        return self.attempts.trying(list(clips), self.settings.batch_timeout_s, whole)

    def _asks(self, clips: dict[str, Item]) -> Iterator[tuple[Sequence[Member], dict[str, Item]]]:
        """Who is asked about which clips: who reads others about those that these answered."""
        if plain := [member for member in self.members if not member.card.reads]:
            yield plain, clips
        for member in self.members:
            reads = set(member.card.reads)
            readable = {key: item for key, item in clips.items() if reads <= item.texts.keys()}
            if reads and readable:
                yield [member], readable

    def _begin(
        self, members: Sequence[Member], clips: Sequence[Item]
    ) -> Callable[[], Replies] | None:
        """What answers a batch that is ready; None where that fails, which ``_answer`` sees to."""
        try:
            return self._begun(members, clips)
        except Exception:
            return None

    def _begun(self, members: Sequence[Member], clips: Sequence[Item]) -> Callable[[], Replies]:
        with self._one_begins:  # tokenizers are not for several threads at once
            return begun(self.engine, members, clips)

    def _answer(
        self,
        members: Sequence[Member],
        clips: Sequence[Item],
        ready: Callable[[], Replies] | None = None,
    ) -> Sequence[Sequence[Reply | ItemError]]:
        """Answers of the engine; a clip on which it fails gets the error, the others do not."""
        try:
            replies = (ready or self._begun(members, clips))()
            answers = [
                [checked(reply, member) for reply in of_member]
                for member, of_member in zip(members, replies, strict=True)
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


def checked(reply: Any, member: Member) -> Reply:
    """What an engine handed over, if it is a reply; an engine of one's own may do anything.

    Raises:
        TypeError: it is none.
        ValueError: its text or its numbers are none, or it answers nothing.
    """
    if not (isinstance(reply, Reply) and isinstance(reply.text, str | None)):
        raise TypeError(f"{reply!r} is no reply")
    chances, options = reply.chances, member.card.question.answer.options
    if chances is not None:
        if set(chances) != set(options):
            raise ValueError(f"it has chances of {sorted(chances)}, the options are {options}")
        chances = {option: float(chances[option]) for option in options}
    if reply.text is None and not chances:
        raise ValueError("it has neither a text nor chances")
    if reply.text is not None:
        reply.text.encode()  # what has no UTF-8 cannot be written
    mass = None if reply.mass is None else float(reply.mass)
    gate = None if reply.gate is None else {str(k): float(v) for k, v in reply.gate.items()}
    return Reply(reply.text, chances, mass, gate)


def packed(rows: Sequence[Row]) -> pa.Table:
    """Decoded clips (rows of ``DECODED``) as the one row of a planned batch (``BATCH``)."""
    return pa.Table.from_pylist([{"clips": list(rows)}], schema=BATCH)


def unpacked(batch: pa.Table) -> pa.Table:
    """The clips of one row of ``BATCH`` as a table of ``DECODED``; media are not copied."""
    (clips,) = batch["clips"].chunks
    return pa.Table.from_struct_array(clips.flatten())


def item_at(batch: pa.Table, index: int, texts: Mapping[str, str]) -> Item:
    """The clip in a row of ``DECODED``, what is said in it, and what was written about it."""

    def array(name: str, kind: Any) -> Any:
        # Copied once, out of shared memory: arrays there cannot be written, which torch minds.
        return np.frombuffer(batch[name][index].as_buffer(), kind).copy()

    said = batch["subtitle"][index].as_py()
    return Item(
        video_id=batch["video_id"][index].as_py(),
        frames=array("frames", np.uint8).reshape(batch["shape"][index].as_py()),
        fps=batch["fps"][index].as_py(),
        audio=array("audio", np.float32),
        texts={SUBTITLE: said, **texts} if said else texts,
    )


def prediction(row: Row, reply: Reply | ItemError | None, member: Member, attempt: int) -> Row:
    """One row of the predictions table.

    Args:
        row: the decoded clip, or its decoding error.
        reply: what the engine said, or its error; None when the clip never got there.
        member: who was asked; its question says how a reply reads.
        attempt: which try of the clip this was.
    """
    result: Row = {key: row[key] for key in ("clip_id", "video_id", "damage")}
    result["attempts"] = attempt
    if reply is None:
        return result | {
            "status": "error",
            "error_kind": row["error_kind"],
            "error": row["error"],
        }
    if isinstance(reply, ItemError):
        return result | {"status": "error", "error_kind": reply.kind, "error": reply.message}
    numbers = [*(reply.chances or {}).values(), *([] if reply.mass is None else [reply.mass])]
    if not all(map(math.isfinite, numbers)):
        # What is written then is whatever comes first in the vocabulary.
        message = f"the model's scores are no numbers: its chances are {reply.chances}"
        return result | {"status": "error", "error_kind": "not_finite", "error": message}
    reading = read(reply, member.card.question.answer)
    return result | {
        "status": "unparseable" if reading is None else "ok",
        "labels": None if reading is None else sorted(reading.labels),
        "chances": None if reply.chances is None else list(reply.chances.items()),
        "mass": reply.mass,
        "gate": None if reply.gate is None else list(reply.gate.items()),
        "text": reading.text or None if reading else None,
        "raw_text": reply.text,
    }


def read(reply: Reply, answer: Answer) -> Reading | None:
    """What a reply says: as it reads, or where nothing was written, the likeliest option.

    Of options that are as likely the earlier: who looks for something would rather look once more.
    """
    if reply.text is not None:
        return answer.read(reply.text)
    chances = reply.chances or {}
    return Reading(frozenset({max(answer.options, key=lambda option: chances[option])}))
