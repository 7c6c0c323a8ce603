"""What scoring does at a time: batches of clips, which follow from the manifest alone.

A plan is a table with a row for each batch, which takes less memory than the manifest and is given
to the cluster as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, tables

Ints = npt.NDArray[np.int64]

_OF_SOURCE = ("video_id", "source_uri", "content")
_OF_CLIP = ("clip_id", "start_s", "end_s", "subtitle")

#: The columns of clips that a plan is made from; what answers to them are made from is among these.
PLANNED = schemas.columns(
    schemas.CLIPS, [*_OF_SOURCE, *_OF_CLIP, "bucket"], coded=[*_OF_SOURCE, "bucket"]
)


def plan_batches(clips: pa.Table, batch_size: int) -> pa.Table:
    """The work: batches of at most ``batch_size`` clips, each of a few whole sources.

    Sources of one size stand together, so that a batch needs little padding. A source with more
    clips than a batch is spread over several. The plan depends on the manifest alone, not on what
    is done already.

    Args:
        clips: columns of ``PLANNED``, coded or not.
        batch_size: most clips per batch.

    Returns:
        A column ``sources``: lists of {video_id, source_uri, content, clips: [{clip_id, start_s,
        end_s, subtitle}]}.
    """
    clips = clips.select(PLANNED.names).combine_chunks()
    place = {name: tables.ranks(clips[name]) for name in (*_OF_SOURCE, "clip_id", "bucket")}
    first, source = _groups([place[name] for name in _OF_SOURCE])
    size = np.zeros(len(first), np.int64)
    np.maximum.at(size, source, place["bucket"])
    keys = (place["clip_id"], clips["start_s"].to_numpy(), first[source])  # the last counts most
    order = np.lexsort((*keys, place["source_uri"], place["video_id"], size[source]))
    starts = np.flatnonzero(np.diff(source[order], prepend=-1))
    lengths, begins = _packed(np.diff(starts, append=len(order)).tolist(), batch_size)
    clips = clips.take(pa.array(order))
    pieces = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    facts = clips.select(_OF_SOURCE).take(pa.array(pieces[:-1]))
    facts = facts.cast(schemas.columns(schemas.CLIPS, _OF_SOURCE))
    of_pieces = pa.ListArray.from_arrays(_offsets(pieces), _structs(clips.select(_OF_CLIP)))
    sources = pa.ListArray.from_arrays(
        _offsets([*begins, len(lengths)]), _structs(facts.append_column("clips", of_pieces))
    )
    return pa.table({"sources": sources})


def _groups(columns: Iterable[Ints]) -> tuple[Ints, Ints]:
    """Of rows that are alike in some columns where the first is; and of each row its group."""
    first, group = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for column in columns:
        alike = group * (column.max(initial=0) + 1) + column
        _, first, group = np.unique(alike, return_index=True, return_inverse=True)
    return first, group


def _packed(sources: Iterable[int], batch_size: int) -> tuple[list[int], list[int]]:
    """Sources as pieces that fit into a batch, and these into batches, in order.

    Args:
        sources: how many clips each has.
        batch_size: most clips of a batch.

    Returns:
        How many clips each piece has, and with which piece each batch begins.
    """
    pieces: list[int] = []
    begins: list[int] = []
    free = 0
    for clips in sources:
        for first in range(0, clips, batch_size):
            piece = min(batch_size, clips - first)
            if piece > free:
                begins.append(len(pieces))
                free = batch_size
            pieces.append(piece)
            free -= piece
    return pieces, begins


def _offsets(places: Any) -> pa.Array:
    return pa.array(places, pa.int32())


def _structs(table: pa.Table) -> pa.StructArray:
    return table.combine_chunks().to_struct_array().combine_chunks()


def of_first_videos(plan: pa.Table, limit: int | None) -> pa.Table:
    """The batches, each as it was planned, that hold the first ``limit`` videos by their ids."""
    if limit is None:
        return plan
    videos = pc.struct_field(_sources(plan), "video_id")
    first = pc.unique(videos).sort().slice(0, limit)
    return plan.filter(_any(plan["sources"], pc.is_in(videos, first)))


def lacking(plan: pa.Table, done: Iterable[pa.ChunkedArray]) -> pa.Table:
    """The batches with a clip that is missing in one of some lists of clip ids."""
    ids = clip_ids(plan)
    missing = np.zeros(len(ids), bool)
    for known in done:
        missing |= ~pc.is_in(ids, known.combine_chunks()).to_numpy(zero_copy_only=False)
    return plan.filter(_any(plan["sources"], _any(_clips(plan), missing)))


def _any(lists: pa.Array | pa.ChunkedArray, of_items: Any) -> pa.Array:
    """Of each list whether something is true of one of its items; none is empty."""
    ends = np.cumsum(pc.list_value_length(lists).to_numpy())
    marks = np.asarray(of_items).astype(np.int64)
    sums = np.concatenate(([0], np.cumsum(marks)))
    return pa.array(
        sums[ends] > sums[np.concatenate(([0], ends[:-1]))] if len(ends) else [], pa.bool_()
    )


def _sources(plan: pa.Table) -> pa.Array:
    """Those of all batches, in their order."""
    return pc.list_flatten(plan["sources"]).combine_chunks()


def _clips(plan: pa.Table) -> pa.Array:
    """The same of their lists of clips."""
    return pc.struct_field(_sources(plan), "clips")


def clip_ids(plan: pa.Table) -> pa.Array:
    """The clips of batches, in their order."""
    return pc.struct_field(pc.list_flatten(_clips(plan)), "clip_id")


def clips_in(plan: pa.Table) -> int:
    """How many clips batches have."""
    count: int = pc.sum(pc.list_value_length(_clips(plan)), min_count=0).as_py()
    return count


def one_by_one(plan: pa.Table) -> Iterator[pa.Table]:
    """Each batch alone."""
    return (plan.slice(row, 1) for row in range(len(plan)))
