"""Verdicts from tables of clips and answers: what the usual rules judge on arrays, else one by one.

Videos whose answers are as scoring writes them, by the rules of ``tasks.many``, are judged all at
once; other rules, and videos with anything unusual (several answers to a clip, several labels or a
word that is no option), by the functions on one video, which say what is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas
from ah_ray.hashing import hexadecimal, mixed
from ah_ray.pipelines.answer_arrays import Clips, Said, in_rows, whole
from ah_ray.pipelines.verdict_rows import how_judged, judged_one_by_one, words_hash
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.many import (
    NONE,
    Bools,
    Floats,
    Ints,
    Opinions,
    Rule,
    Sources,
    counting,
    find_rule_of_many,
    weighted,
    weights_of,
)
from ah_ray.tasks.opinions import STATUSES

_FACTS = ["uri", "participant_id", "split"]


def make_verdicts(
    videos: pa.Table,
    clips: pa.Table,
    predictions: pa.Table,
    members: Sequence[str],
    judgement: Judgement,
) -> pa.Table:
    """Verdicts (``schemas.VERDICTS``) sorted by video id.

    Args:
        videos: ``schemas.VIDEOS``, or the columns of it that a verdict repeats.
        clips: ``schemas.CLIPS``; its videos get verdicts, its clips are the expected answers.
        predictions: ``schemas.PREDICTIONS`` and ``member``; rows of other clips are ignored. A
            chance that is no number, as foreign tables have it for null, is unknown.
        members: the names of those that vote.
        judgement: the rules and policies.
    """
    by_member = {
        name: predictions.filter(pc.equal(predictions["member"], name)) for name in members
    }
    return verdicts_of(videos, clips, by_member, judgement)


def verdicts_of(
    videos: pa.Table, clips: pa.Table, answers: Mapping[str, pa.Table], judgement: Judgement
) -> pa.Table:
    """``make_verdicts`` of the answers of each member that votes, by its name."""
    if not len(clips):
        return schemas.VERDICTS.empty_table()
    names = sorted(answers)
    manifest = Clips.of(clips)
    rules = _rules_of_many(judgement, names)
    made, odd = [schemas.VERDICTS.empty_table()], [manifest.videos]
    if rules is not None and np.isfinite(manifest.start_s).all() and manifest.are_unique:
        odd = []
        given = [in_rows(answers[name], manifest.ids, judgement) for name in names]
        for rows, some in manifest.in_pieces():
            said = [of(rows) for of in given]
            is_odd = np.logical_or.reduceat(np.any([one.odd for one in said], axis=0), some.starts)
            if is_odd.any():
                odd.append(some.videos.filter(pa.array(is_odd)))
            if not is_odd.all():
                made.append(_judged_at_once(some, said, names, judgement, rules, ~is_odd))
    if odd:
        ids = pa.concat_arrays(odd)
        made.append(judged_one_by_one(ids, clips, answers, judgement))
    table = pa.concat_tables(made)
    if odd and len(odd[0]) < len(manifest.videos):
        table = table.sort_by("video_id")
    at = pc.index_in(table["video_id"], whole(videos["video_id"]))
    if at.null_count:
        raise KeyError(table["video_id"].filter(pc.is_null(at))[0].as_py())
    facts = videos.select(_FACTS).take(at)
    for name in _FACTS:
        table = table.set_column(table.column_names.index(name), name, facts[name])
    return table.combine_chunks()


def _rules_of_many(judgement: Judgement, names: Sequence[str]) -> tuple[Rule, Any] | None:
    """The rule over clips, and what makes that over members of how many videos there are."""
    over_clips = find_rule_of_many(judgement.rules.clips, judgement.answer)
    over_members = find_rule_of_many(judgement.rules.members, judgement.answer)
    if over_clips is None or not names:
        return None
    if over_members is not None:
        return over_clips, lambda videos: over_members
    stated = weights_of(judgement.rules.members, names) if judgement.answer.options else None
    if stated is None:
        return None
    weights, needed = stated
    return over_clips, lambda videos: weighted(np.tile(weights, videos), needed)


def _judged_at_once(
    clips: Clips, given: Sequence[Said], names: Sequence[str], judgement: Judgement,
    rules: tuple[Rule, Any], judged: Bools,
) -> pa.Table:  # fmt: skip
    """Verdicts of the videos of which ``judged`` is true; without what ``videos`` says."""
    over_clips, over_members = rules
    options, policies = judgement.answer.options, judgement.policies
    of_members, counts = [], []
    for one in given:
        sources = Sources(clips.starts, clips.video, one.known, one.said, one.chances)
        sources = counting(sources, one.status, one.known, options, policies)
        of_members.append(over_clips(sources, policies, options))
        counts.append(
            [np.add.reduceat(one.status == place, clips.starts, dtype=np.int32)
             for place in range(len(STATUSES))]
        )  # fmt: skip
    # The rows of members are those of a video together, in order of names.
    videos, voters = len(clips.videos), len(names)
    said = np.stack([one.said for one in of_members], axis=1)
    chances = np.stack([one.chances for one in of_members], axis=1)
    votes = Sources(
        np.arange(0, videos * voters, voters),
        np.repeat(np.arange(videos), voters),
        (said != NONE).ravel(),
        said.ravel(),
        chances.reshape(videos * voters, len(options)),
    )
    found = over_members(videos)(votes, policies, options)
    hashes = _hashed(clips, given, names, judgement)
    numbers = np.array(counts)  # member, status, video
    keep = pa.array(judged)
    table = _assembled(clips, of_members, votes, found, numbers, hashes, names, options)
    return table if judged.all() else table.filter(keep)


def _hashed(
    clips: Clips, given: Sequence[Said], names: Sequence[str], judgement: Judgement
) -> pa.Array:
    """``made_from`` of each video."""
    options = list(judgement.answer.options)
    in_order = sorted(range(len(options)), key=lambda place: options[place])
    sorted_options = sorted(options)
    of_clip = mixed(mixed(clips.hashes) ^ clips.start_s.view(np.uint64))
    total = np.zeros(len(clips.videos), np.uint64)
    for name, one in zip(names, given, strict=True):
        words = np.array(
            [[[words_hash(name, status, labels, of) for of in ([], sorted_options)]
              for labels in [*([option] for option in options), []]]
             for status in STATUSES],
            np.uint64,
        )  # fmt: skip
        answer = mixed(of_clip ^ words[one.status, one.said, one.known.astype(np.int8)])
        chances, unknown = answer, np.flatnonzero(~one.known)
        for place in in_order:
            chances = mixed(chances ^ one.chances[:, place].copy().view(np.uint64))
        chances[unknown] = answer[unknown]
        total += np.add.reduceat(chances, clips.starts)
    return hexadecimal(mixed(total ^ np.uint64(how_judged(judgement, names))))


def _assembled(
    clips: Clips, of_members: Sequence[Opinions], votes: Sources, found: Opinions,
    counts: npt.NDArray[np.int32], hashes: pa.Array, names: Sequence[str], options: Sequence[str],
) -> pa.Table:  # fmt: skip
    """The arrays as ``schemas.VERDICTS``."""
    videos, voters, number = len(clips.videos), len(names), len(options)
    # By video and member, as ``votes`` is
    considered = np.stack([one.considered for one in of_members], axis=1)
    evidence = np.stack([one.evidence for one in of_members], axis=1)
    of_member = _considered(
        considered.ravel(), votes.chances, evidence.reshape(-1, number), clips.ids, options
    )
    by_status = [np.ascontiguousarray(counts[:, place].T).ravel() for place in range(len(STATUSES))]
    member = pa.StructArray.from_arrays(
        [
            pa.array(names, pa.string()).take(pa.array(np.tile(np.arange(voters), videos))),
            _decided(votes.said, options),
            of_member,
            *(pa.array(column, pa.int32()) for column in by_status),
        ],
        fields=list(schemas.MEMBER_VERDICT),
    )
    members = pa.ListArray.from_arrays(_offsets(np.full(videos, voters)), member)
    clip = evidence.reshape(-1, number)[found.evidence, np.arange(number)]
    spoken = considered.ravel()[found.evidence]
    givers = _givers(votes, found, names, number)
    verdict_considered = _considered(
        found.considered, found.chances, np.where(spoken, clip, NONE), clips.ids, options, givers
    )
    usable, expected = counts[:, 0].sum(axis=0), counts.sum(axis=(0, 1))
    status = np.where(found.said == NONE, 2, (usable != expected).astype(np.int64))
    columns = {
        "video_id": clips.videos,
        "members": members,
        "labels": _decided(found.said, options),
        "considered": verdict_considered,
        "status": pa.array(["ok", "partial", "undecided"]).take(pa.array(status)),
        "coverage": pa.array(usable / expected),
        "made_from": hashes,
    }
    nothing = pa.nulls(videos, pa.string())
    return pa.table([columns.get(n, nothing) for n in schemas.VERDICTS.names], schemas.VERDICTS)


def _considered(
    any_used: Bools, chances: Floats, clip: Ints, ids: pa.Array, options: Sequence[str],
    givers: pa.Array | None = None,
) -> pa.ListArray:  # fmt: skip
    """Lists of what is said of every option; empty where nobody was heard."""
    lengths = np.where(any_used, len(options), 0)
    there = np.repeat(any_used, len(options))
    number = int(any_used.sum())
    place = clip.ravel()[there]
    of = (
        schemas.CONSIDERED
        if givers is not None
        else schemas.MEMBER_VERDICT.field(2).type.value_type
    )
    parts = [
        pa.array(options, pa.string()).take(pa.array(np.tile(np.arange(len(options)), number))),
        pa.array(chances.ravel()[there]),
        ids.take(pa.array(place, mask=place == NONE)),
    ]
    if givers is not None:
        parts.append(givers.filter(pa.array(there)))
    values = pa.StructArray.from_arrays(parts, fields=list(of))
    return pa.ListArray.from_arrays(_offsets(lengths), values)


def _givers(votes: Sources, found: Opinions, names: Sequence[str], number: int) -> pa.ListArray:
    """The members that give each option of each video."""
    voters = len(names)
    said = np.where(votes.used, votes.said, NONE).reshape(-1, 1, voters)
    gives = said == np.arange(number)[None, :, None]
    member = np.broadcast_to(np.arange(voters), gives.shape)[gives]
    values = pa.array(names, pa.string()).take(pa.array(member))
    return pa.ListArray.from_arrays(_offsets(gives.sum(axis=2).ravel()), values)


def _decided(said: Ints, options: Sequence[str]) -> pa.ListArray:
    """Lists of one label each; null for ``NONE``."""
    there = said != NONE
    values = pa.array(options, pa.string()).take(pa.array(said[there]))
    return pa.ListArray.from_arrays(_offsets(there.astype(np.int64)), values, mask=pa.array(~there))


def _offsets(lengths: npt.NDArray[Any]) -> pa.Array:
    return pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())
