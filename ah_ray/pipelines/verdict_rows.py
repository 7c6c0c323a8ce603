"""Verdicts video by video, by the functions on one video: what is right, and for any rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import lineage, schemas
from ah_ray.hashing import combined, float_bits, mix, text_hash
from ah_ray.tasks.answers import Answer, LabelSet
from ah_ray.tasks.judgement import Judgement, MemberVerdict, verdict, video_answer
from ah_ray.tasks.opinions import Considered, Given, unique

#: Counted up when ``made_from`` of equal answers becomes another.
_VERSION = 2


def answers_by_video(
    ids: pa.Array, clips: pa.Table, predictions: Mapping[str, pa.Table], answer: Answer
) -> Iterator[tuple[str, dict[str, list[Given]]]]:
    """Of each video in order of ids: what each member says of each clip, once.

    Args:
        ids: of the videos.
        clips: ``schemas.CLIPS``.
        predictions: of each member that votes, ``schemas.PREDICTIONS``.
        answer: what can be answered.
    """
    clips = clips.set_column(
        clips.column_names.index("video_id"), "video_id", clips["video_id"].cast(pa.string())
    )
    clips, names = clips.filter(pc.is_in(clips["video_id"], ids)), sorted(predictions)
    wanted = clips["clip_id"].combine_chunks()
    answers: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for name, table in predictions.items():
        table = table.select(["clip_id", "status", "labels", "chances"])
        for row in table.filter(pc.is_in(table["clip_id"], wanted)).to_pylist():
            answers[name, row["clip_id"]].append(row)
    clips_of: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for clip in clips.select(["video_id", "clip_id", "start_s"]).to_pylist():
        clips_of[clip["video_id"]].append((clip["clip_id"], clip["start_s"]))

    def given(member: str, video_id: str) -> Iterator[Given]:
        for clip_id, start_s in clips_of[video_id]:
            rows = answers.get((member, clip_id))
            if rows is None:
                yield Given(clip_id, start_s, "missing")
                continue
            for row in rows:
                labels, chances = row["labels"] or (), dict(row["chances"] or ())
                yield Given(clip_id, start_s, row["status"], frozenset(labels), chances)

    for video_id in sorted(clips_of):
        yield video_id, {name: unique(given(name, video_id), answer) for name in names}


def judged_one_by_one(
    ids: pa.Array, clips: pa.Table, predictions: Mapping[str, pa.Table], judgement: Judgement
) -> pa.Table:
    """Verdicts of some videos, by the functions on one video; without what ``videos`` says.

    Args:
        ids: of the videos.
        clips: ``schemas.CLIPS``.
        predictions: of each member that votes, ``schemas.PREDICTIONS``.
        judgement: the rules and policies.
    """
    how = how_judged(judgement, sorted(predictions))
    rows = []
    for video_id, used in answers_by_video(ids, clips, predictions, judgement.answer):
        on_video = {name: video_answer(name, some, judgement) for name, some in used.items()}
        found = verdict(list(on_video.values()), judgement)
        rows.append(
            {"video_id": video_id, "made_from": made_from(how, used)}
            | found._asdict()
            | {
                "labels": _sorted(found.labels),
                "considered": [_by_members(one, on_video) for one in found.considered],
                "members": [_row(one) for one in on_video.values()],
            }
        )
    return pa.Table.from_pylist(rows, schema=schemas.VERDICTS)


def made_from(how: int, used: Mapping[str, Iterable[Given]]) -> str:
    """What a verdict is made from: a hash of how it is judged and of all answers, in any order.

    Args:
        how: a hash of rules, policies and members.
        used: the answers of each member to the clips of the video, each clip once.
    """
    total = sum(_answer_hash(name, given) for name, some in used.items() for given in some)
    return f"{mix((total % 2**64) ^ how):016x}"


def _answer_hash(member: str, given: Given) -> int:
    labels = sorted(given.chances)
    return combined(
        [
            text_hash(given.source),
            float_bits(given.start_s),
            words_hash(member, given.status, sorted(given.labels), labels),
            *(float_bits(given.chances[label]) for label in labels),
        ]
    )


def words_hash(*words: Any) -> int:
    """A hash of plain values, for ``hashing.combined``."""
    return int(lineage.fingerprint(*words), 16)


def how_judged(judgement: Judgement, names: Sequence[str]) -> int:
    """A hash of all that decides about a verdict beside the answers."""
    return words_hash(_VERSION, judgement.facts(), list(names))


def _row(answer: MemberVerdict) -> dict[str, Any]:
    """A member's answer on a video, as ``schemas.MEMBER_VERDICT``."""
    considered = [
        {"label": one.label, "chance": one.chance, "evidence_clip_id": one.evidence}
        for one in answer.considered
    ]
    return answer._asdict() | {"labels": _sorted(answer.labels), "considered": considered}


def member_verdict(row: Mapping[str, Any]) -> MemberVerdict:
    """A member's answer on a video, from a row of ``schemas.MEMBER_VERDICT``."""
    considered = tuple(
        Considered(one["label"], one["chance"], one["evidence_clip_id"], ())
        for one in row["considered"]
    )
    labels = None if row["labels"] is None else frozenset(row["labels"])
    return MemberVerdict(**{**row, "labels": labels, "considered": considered})


def _by_members(one: Considered, on_video: Mapping[str, MemberVerdict]) -> dict[str, Any]:
    """What the members say of a label (``schemas.CONSIDERED``), and the clip that shows it."""
    evidence = {of.label: of.evidence for of in on_video[one.evidence].considered}
    return {
        "label": one.label,
        "chance": one.chance,
        "evidence_clip_id": evidence.get(one.label),
        "members": list(one.givers),
    }


def _sorted(labels: LabelSet | None) -> list[str] | None:
    return None if labels is None else sorted(labels)
