"""Verdicts from tables of clips and answers: what the usual rules judge on arrays, else one by one.

Videos whose answers are as scoring writes them, by the rules of ``tasks.many``, are judged all at
once; other rules, and videos with anything unusual (several answers to a clip, several labels or a
word that is no option), by the functions on one video, which say what is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, tables
from ah_ray.hashing import Hashes, hexadecimal, mixed, text_hashes
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

_MISSING = STATUSES.index("missing")
_PIECE = 1 << 16  # clips
_FEW = 5  # words that are faster looked for one by one than all at once
_FACTS = ["uri", "participant_id", "split"]


class _Clips(NamedTuple):
    """The clips of some videos, in order of video, time and name: ``n`` clips of ``v`` videos."""

    videos: pa.Array  # their ids, sorted
    ids: pa.Array
    hashes: Hashes  # of these
    start_s: Floats
    starts: Ints  # where each video begins
    video: Ints  # of each clip

    @classmethod
    def of(cls, clips: pa.Table) -> _Clips:
        """Each clip once, when it starts first."""
        clips = clips.select(["video_id", "clip_id", "start_s"])
        found = cls._in_order(clips)
        if found is not None and found.are_unique:
            return found
        clips = clips.set_column(0, "video_id", clips["video_id"].cast(pa.string()))
        grouped = clips.group_by(["video_id", "clip_id"]).aggregate([("start_s", "min")])
        clips = grouped.rename_columns(["video_id", "clip_id", "start_s"])
        order = [(name, "ascending") for name in ("video_id", "start_s", "clip_id")]
        found = cls._in_order(clips.sort_by(order))
        assert found is not None
        return found

    @classmethod
    def _in_order(cls, clips: pa.Table) -> _Clips | None:
        """The same of clips that are in this order; else None."""
        coded = _whole(clips.unify_dictionaries()["video_id"])
        coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
        codes, start_s = _numbers(coded.indices), _numbers(_whole(clips["start_s"]))
        ids = _whole(clips["clip_id"])
        begins = np.diff(codes, prepend=-1) != 0
        starts = np.flatnonzero(begins)
        videos = coded.dictionary.take(pa.array(codes[starts]))
        later = np.append(True, start_s[1:] > start_s[:-1])
        for row in np.flatnonzero(~(begins | later)):  # the same moment: in order of names
            if not (start_s[row] == start_s[row - 1] and ids[row].as_py() > ids[row - 1].as_py()):
                return None
        if len(videos) > 1 and not pc.all(pc.greater(videos[1:], videos[:-1])).as_py():
            return None
        return cls(videos, ids, text_hashes(ids), start_s, starts, np.cumsum(begins) - 1)

    def in_pieces(self) -> Iterator[tuple[slice, _Clips]]:
        """Some videos after the other, few enough for a processor's cache, and their rows."""
        first = 0
        while first < len(self.starts):
            upto = int(np.searchsorted(self.starts, self.starts[first] + _PIECE))
            stop = int(self.starts[upto]) if upto < len(self.starts) else len(self.ids)
            rows = slice(int(self.starts[first]), stop)
            yield rows, _Clips(
                self.videos[first:upto], self.ids[rows], self.hashes[rows], self.start_s[rows],
                self.starts[first:upto] - rows.start, self.video[rows] - first,
            )  # fmt: skip
            first = upto

    @property
    def are_unique(self) -> bool:
        """Whether no clip is there twice, in one video or in two."""
        hashes = np.sort(self.hashes)
        if (hashes[1:] != hashes[:-1]).all():
            return True
        distinct: int = pc.count_distinct(self.ids).as_py()
        return distinct == len(self.ids)


class _Said(NamedTuple):
    """A member's answers to clips: a row for each."""

    status: npt.NDArray[np.int8]
    said: Ints
    known: Bools
    chances: Floats
    odd: Bools  # there is something about it that arrays cannot hold

    def some(self, rows: slice) -> _Said:
        """Some of them."""
        return _Said(
            self.status[rows], self.said[rows], self.known[rows], self.chances[rows], self.odd[rows]
        )


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
    manifest = _Clips.of(clips)
    rules = _rules_of_many(judgement, names)
    made, odd = [schemas.VERDICTS.empty_table()], [manifest.videos]
    if rules is not None and np.isfinite(manifest.start_s).all() and manifest.are_unique:
        odd = []
        given = [_in_rows(answers[name], manifest.ids, judgement) for name in names]
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
    at = pc.index_in(table["video_id"], _whole(videos["video_id"]))
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


def _in_rows(
    answers: pa.Table, clip_ids: pa.Array, judgement: Judgement
) -> Callable[[slice], _Said]:
    """What gives the answers of one member to some of ``clip_ids``, in that order."""
    if len(answers) == len(clip_ids) and answers["clip_id"].equals(pa.chunked_array([clip_ids])):
        return lambda rows: _said(answers.slice(rows.start, rows.stop - rows.start), judgement)
    at = pc.index_in(answers["clip_id"], clip_ids)
    answers = tables.only(answers, pc.is_valid(at))
    place = _numbers(_whole(at).drop_null()).astype(np.int64)
    given, size = _said(answers, judgement), len(clip_ids)
    found = _Said(
        np.full(size, _MISSING, np.int8),
        np.full(size, NONE),
        np.zeros(size, bool),
        np.zeros((size, len(judgement.answer.options))),
        np.bincount(place, minlength=size) > 1,
    )
    pairs: Iterator[tuple[npt.NDArray[Any], Any]] = zip(found[:-1], given[:-1], strict=True)
    for whole, part in pairs:
        whole[place] = part
    found.odd[place[given.odd]] = True
    return found.some


def _said(answers: pa.Table, judgement: Judgement) -> _Said:
    """The answers of one member, as arrays."""
    options = list(judgement.answer.options)
    answers = answers.select(["status", "labels", "chances"]).combine_chunks()
    status = _places(answers["status"], STATUSES)
    said, odd = _labels(_whole(answers["labels"]), options)
    known, chances, odd_chances = _chances(_whole(answers["chances"]), options)
    odd |= odd_chances | (status == NONE)
    return _Said(status.astype(np.int8), said, known, chances, odd)


def _labels(labels: pa.ListArray, options: Sequence[str]) -> tuple[Ints, Bools]:
    """Of each list its only option, or ``NONE``; and whether it holds anything else."""
    lengths = _numbers(pc.fill_null(pc.list_value_length(labels), 0))
    places = _places(labels.flatten(), options)
    said, odd = np.full(len(labels), NONE), lengths > 1
    if not odd.any():
        there = lengths == 1
        said[there], odd[there] = places, places == NONE
        return said, odd
    owners = np.repeat(np.arange(len(labels)), lengths)
    said[owners] = places
    odd[owners[places == NONE]] = True
    return said, odd


def _chances(chances: pa.MapArray, options: Sequence[str]) -> tuple[Bools, Floats, Bools]:
    """Whether chances are known, they in order of the options, and whether they are of others."""
    size, count = len(chances), len(options)
    odd = np.zeros(size, bool)
    lengths, flat_keys, flat_values = _pairs(chances)
    values, whole = _numbers(flat_values), lengths == count
    if len(flat_keys) == count * np.count_nonzero(whole) and flat_keys.equals(
        _over_and_over(tuple(options), len(flat_keys))
    ):  # as scoring writes them
        return *_finite(values.reshape(-1, count), whole), odd
    keys = _places(flat_keys, options)
    odd |= ~whole & (lengths > 0)
    if odd.any():
        inside = np.repeat(whole, lengths)
        keys, values = keys[inside], values[inside]
    keys, values = keys.reshape(-1, count), values.reshape(-1, count)
    rows, in_order = np.flatnonzero(whole), np.arange(count)
    if not (keys == in_order).all():
        order = np.argsort(keys, axis=1)
        keys, values = np.take_along_axis(keys, order, 1), np.take_along_axis(values, order, 1)
        odd[rows[(keys != in_order).any(axis=1)]] = True
    return *_finite(values, whole), odd


def _finite(values: Floats, whole: Bools) -> tuple[Bools, Floats]:
    """Whether chances are known, and they; of those that are not, 0.

    Args:
        values: of the rows that have all of them.
        whole: which these are.
    """
    finite: Bools = np.isfinite(values)
    known = whole.copy()
    if not finite.all():
        rows: Bools = np.all(finite, axis=1)
        known[whole] = rows
        values = np.where(rows[:, None], values, 0.0)
    if len(values) == len(whole):
        return known, values
    table = np.zeros((len(whole), values.shape[1]))
    table[whole] = values
    return known, table


@lru_cache(maxsize=8)
def _repeated(options: tuple[str, ...], times: int) -> pa.Array:
    return pa.array(options * times, pa.string())


def _over_and_over(options: tuple[str, ...], number: int) -> pa.Array:
    """So many of the options in their order, again and again."""
    times = 1 << (-(-number // len(options))).bit_length()  # few sizes, each made once
    return _repeated(options, times).slice(0, number)


def _pairs(chances: pa.MapArray) -> tuple[npt.NDArray[np.int32], pa.Array, pa.Array]:
    """How many pairs each map has, and the keys and the values of all of them."""
    offsets = _numbers(chances.offsets)
    lengths, first, size = np.diff(offsets), int(offsets[0]), int(offsets[-1] - offsets[0])
    if chances.null_count and lengths[_numbers(chances.is_null())].any():
        # Nulls may have pairs behind them that do not count.
        pair = pa.struct([("key", pa.string()), ("value", pa.float64())])
        pairs = chances.cast(pa.list_(pair))
        lengths = _numbers(pc.fill_null(pc.list_value_length(pairs), 0))
        flat = pairs.flatten()
        return lengths, pc.struct_field(flat, "key"), pc.struct_field(flat, "value")
    return lengths, chances.keys.slice(first, size), chances.items.slice(first, size)


def _judged_at_once(
    clips: _Clips, given: Sequence[_Said], names: Sequence[str], judgement: Judgement,
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
    clips: _Clips, given: Sequence[_Said], names: Sequence[str], judgement: Judgement
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
    clips: _Clips, of_members: Sequence[Opinions], votes: Sources, found: Opinions,
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


def _places(words: pa.Array | pa.ChunkedArray, known: Sequence[str]) -> Ints:
    """The place of each word in ``known``; ``NONE`` of others, and of null."""
    words = _whole(words)
    if pa.types.is_dictionary(words.type):
        of_word: Ints = np.append(_places(words.dictionary, known), NONE)
        found: Ints = of_word[_numbers(pc.fill_null(words.indices, NONE))]
        return found
    if len(known) > _FEW:
        places = pc.fill_null(pc.index_in(words, pa.array(known, pa.string())), NONE)
        return _numbers(places).astype(np.int64)
    found = np.full(len(words), NONE)
    for place, word in enumerate(known):
        same = pc.equal(words, word)
        found[_numbers(pc.fill_null(same, False) if same.null_count else same)] = place
    return found


def _numbers(array: pa.Array) -> npt.NDArray[Any]:
    """As numpy has them; of null not a number."""
    numbers: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return numbers


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
