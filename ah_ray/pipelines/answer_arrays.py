"""Clips and answers as arrays, which rules judge all at once; see ``tasks.many``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import tables
from ah_ray.hashing import Hashes, text_hashes
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.many import NONE, Bools, Floats, Ints
from ah_ray.tasks.opinions import STATUSES

_MISSING = STATUSES.index("missing")
_PIECE = 1 << 16  # clips
_FEW = 5  # words that are faster looked for one by one than all at once


class Clips(NamedTuple):
    """The clips of some videos, in order of video, time and name: ``n`` clips of ``v`` videos."""

    videos: pa.Array  # their ids, sorted
    ids: pa.Array
    hashes: Hashes  # of these
    start_s: Floats
    starts: Ints  # where each video begins
    video: Ints  # of each clip

    @classmethod
    def of(cls, clips: pa.Table) -> Clips:
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
    def _in_order(cls, clips: pa.Table) -> Clips | None:
        """The same of clips that are in this order; else None."""
        coded = whole(clips.unify_dictionaries()["video_id"])
        coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
        codes, start_s = _numbers(coded.indices), _numbers(whole(clips["start_s"]))
        ids = whole(clips["clip_id"])
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

    def in_pieces(self) -> Iterator[tuple[slice, Clips]]:
        """Some videos after the other, few enough for a processor's cache, and their rows."""
        first = 0
        while first < len(self.starts):
            upto = int(np.searchsorted(self.starts, self.starts[first] + _PIECE))
            stop = int(self.starts[upto]) if upto < len(self.starts) else len(self.ids)
            rows = slice(int(self.starts[first]), stop)
            yield rows, Clips(
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


class Said(NamedTuple):
    """A member's answers to clips: a row for each."""

    status: npt.NDArray[np.int8]
    said: Ints
    known: Bools
    chances: Floats
    odd: Bools  # there is something about it that arrays cannot hold

    def some(self, rows: slice) -> Said:
        """Some of them."""
        return Said(
            self.status[rows], self.said[rows], self.known[rows], self.chances[rows], self.odd[rows]
        )


def in_rows(answers: pa.Table, clip_ids: pa.Array, judgement: Judgement) -> Callable[[slice], Said]:
    """What gives the answers of one member to some of ``clip_ids``, in that order."""
    if len(answers) == len(clip_ids) and answers["clip_id"].equals(pa.chunked_array([clip_ids])):
        return lambda rows: _said(answers.slice(rows.start, rows.stop - rows.start), judgement)
    at = pc.index_in(answers["clip_id"], clip_ids)
    answers = tables.only(answers, pc.is_valid(at))
    place = _numbers(whole(at).drop_null()).astype(np.int64)
    given, size = _said(answers, judgement), len(clip_ids)
    found = Said(
        np.full(size, _MISSING, np.int8),
        np.full(size, NONE),
        np.zeros(size, bool),
        np.zeros((size, len(judgement.answer.options))),
        np.bincount(place, minlength=size) > 1,
    )
    found.status[place], found.said[place] = given.status, given.said
    found.known[place], found.chances[place] = given.known, given.chances
    found.odd[place[given.odd]] = True
    return found.some


def _said(answers: pa.Table, judgement: Judgement) -> Said:
    """The answers of one member, as arrays."""
    options = list(judgement.answer.options)
    answers = answers.select(["status", "labels", "chances"]).combine_chunks()
    status = _places(answers["status"], STATUSES)
    said, odd = _labels(whole(answers["labels"]), options)
    known, chances, odd_chances = _chances(whole(answers["chances"]), options)
    odd |= odd_chances | (status == NONE)
    return Said(status.astype(np.int8), said, known, chances, odd)


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
    values, complete = _numbers(flat_values), lengths == count
    if len(flat_keys) == count * np.count_nonzero(complete) and flat_keys.equals(
        _over_and_over(tuple(options), len(flat_keys))
    ):  # as scoring writes them
        return *_finite(values.reshape(-1, count), complete), odd
    keys = _places(flat_keys, options)
    odd |= ~complete & (lengths > 0)
    if odd.any():
        inside = np.repeat(complete, lengths)
        keys, values = keys[inside], values[inside]
    keys, values = keys.reshape(-1, count), values.reshape(-1, count)
    rows, in_order = np.flatnonzero(complete), np.arange(count)
    if not (keys == in_order).all():
        order = np.argsort(keys, axis=1)
        keys, values = np.take_along_axis(keys, order, 1), np.take_along_axis(values, order, 1)
        odd[rows[(keys != in_order).any(axis=1)]] = True
    return *_finite(values, complete), odd


def _finite(values: Floats, complete: Bools) -> tuple[Bools, Floats]:
    """Whether chances are known, and they; of those that are not, 0.

    Args:
        values: of the rows that have all of them.
        complete: which these are.
    """
    finite: Bools = np.isfinite(values)
    known = complete.copy()
    if not finite.all():
        rows: Bools = np.all(finite, axis=1)
        known[complete] = rows
        values = np.where(rows[:, None], values, 0.0)
    if len(values) == len(complete):
        return known, values
    table = np.zeros((len(complete), values.shape[1]))
    table[complete] = values
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


def _places(words: pa.Array | pa.ChunkedArray, known: Sequence[str]) -> Ints:
    """The place of each word in ``known``; ``NONE`` of others, and of null."""
    words = whole(words)
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


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
