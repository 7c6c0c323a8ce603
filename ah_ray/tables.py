"""Parquet tables on any fsspec URI: read, write atomically, drop rows.

A table is a folder of ``.parquet`` files, or a folder of ``key=value`` partitions; ``read_table``
reads either. What else is put there, such as a copy ``part-0.parquet.bak``, is no part of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ah_ray import storage
from ah_ray.storage_errors import StorageError, asks, calling

_PART = ".parquet"  # the end of the names of its files
_LAST = "\U0010ffff"  # comes after any text


def parquet_bytes(table: pa.Table) -> bytes:
    """The content of a Parquet file with ``table``."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def write_table(table: pa.Table, uri: str) -> None:
    """Write one Parquet file atomically."""
    storage.write_bytes(uri, parquet_bytes(table))


@contextmanager
def writing(uri: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """What writes one Parquet file a table at a time; it is there, whole, at the end or not at all.

    Args:
        uri: of the file.
        schema: of the tables.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, "part.parquet")
        with pq.ParquetWriter(local, schema, compression="zstd") as writer:
            yield writer.write_table
        storage.put(uri, local)


def write_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, uri: str) -> None:
    """Write plain rows as one Parquet file of ``schema``, atomically."""
    write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), uri)


@asks
def read_table(
    uri: str, schema: pa.Schema, partition: str | None = None, where: pc.Expression | None = None
) -> pa.Table:
    """All rows of a table with the columns of ``schema``; no rows when nothing is written yet.

    Args:
        uri: the table's folder.
        schema: its columns.
        partition: read the ``partition=value`` folders below ``uri`` and add that string column.
        where: only the rows of which this is true.

    Raises:
        StorageError: a file of it is damaged, or the storage failed.
    """
    if partition is not None:
        schema = schema.append(pa.field(partition, pa.string()))
    if not storage.exists(uri):
        return schema.empty_table()
    with _reading(uri):
        return _dataset(uri, schema, partition).to_table(filter=where)


def _dataset(uri: str, schema: pa.Schema, partition: str | None = None) -> ds.FileSystemDataset:
    """The files of a table that is there."""
    filesystem, path = storage.fresh(uri)
    hive = partition and ds.partitioning(pa.schema([(partition, pa.string())]), flavor="hive")
    coded = {field.name for field in schema if pa.types.is_dictionary(field.type)}
    found = ds.dataset(
        path, schema=schema, format=ds.ParquetFileFormat(dictionary_columns=coded),
        filesystem=filesystem, partitioning=hive or None,
    )  # fmt: skip
    parts = [part for part in found.get_fragments() if part.path.endswith(_PART)]
    return ds.FileSystemDataset(parts, schema, found.format, found.filesystem)


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        damaged = StorageError(f"{uri}: {error}")
        damaged.fix = "bring the file back, or delete it and run the stage that writes it again"
        raise damaged from error


class _Part(NamedTuple):
    """A file, and for each of its groups of rows between what values a column lies there."""

    file: ds.ParquetFileFragment
    least: list[str]
    most: list[str]

    @classmethod
    def of(cls, file: ds.ParquetFileFragment, column: str) -> _Part:
        file.ensure_complete_metadata()
        # Where nothing is known there may be anything.
        known = [(group.statistics or {}).get(column) for group in file.row_groups]
        least = ["" if one is None else str(one["min"]) for one in known]
        return cls(file, least, [_LAST if one is None else str(one["max"]) for one in known])

    def groups(self, above: str | None, upto: str | None) -> list[int]:
        """Those that may have something between two values."""
        return [
            group
            for group, (least, most) in enumerate(zip(self.least, self.most, strict=True))
            if (above is None or most > above) and (upto is None or least <= upto)
        ]


class Stored:
    """A table that is read a part at a time, by ranges of a string column.

    What the statistics in its files exclude is not read, so that it pays when rows that belong
    together lie together; they may lie anywhere.

    Args:
        uri: the table's folder; there need be nothing yet.
        schema: of the columns that are read; a dictionary in the place of a string is read so.
        by: the column, one of them. Files come in order of what is in it.
    """

    def __init__(self, uri: str, schema: pa.Schema, by: str = "video_id") -> None:
        self._uri, self._schema, self._by = uri, schema, by
        self._parts: list[_Part] = []
        with calling(uri), _reading(uri):
            if storage.exists(uri):
                there = _dataset(uri, schema)
                self._format, self._filesystem = there.format, there.filesystem
                self._parts = [_Part.of(file, by) for file in there.get_fragments()]
                self._parts.sort(key=lambda part: min(part.least, default=""))

    def between(self, above: str | None, upto: str | None) -> pa.Table:
        """The rows with ``above`` < the column <= ``upto``; None for no limit."""
        files = []
        for part in self._parts:
            if groups := part.groups(above, upto):
                files.append(part.file.subset(row_group_ids=groups))
        if not files:
            return self._schema.empty_table()
        with calling(self._uri), _reading(self._uri):
            # The other pools give memory back in between, which was measured to take as long as
            # all the rest of reading.
            table = self._of(files).to_table(memory_pool=pa.system_memory_pool())
        if not len(table):
            return table
        column = table[self._by]
        if not pa.types.is_dictionary(column.type):
            return only(table, _inside(column, above, upto))
        table = table.unify_dictionaries()
        chunks = table[self._by].chunks
        words = _inside(chunks[0].dictionary, above, upto)
        return only(table, pa.chunked_array([words.take(chunk.indices) for chunk in chunks]))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, some at a time."""
        if self._parts:
            with calling(self._uri), _reading(self._uri):
                yield from self._of([part.file for part in self._parts]).to_batches()

    def _of(self, files: list[ds.ParquetFileFragment]) -> ds.FileSystemDataset:
        return ds.FileSystemDataset(files, self._schema, self._format, self._filesystem)


def _inside(words: pa.Array, above: str | None, upto: str | None) -> pa.Array:
    inside = pc.is_valid(words)
    inside = inside if above is None else pc.and_(inside, pc.greater(words, above))
    return inside if upto is None else pc.and_(inside, pc.less_equal(words, upto))


def only(table: pa.Table, wanted: pa.ChunkedArray) -> pa.Table:
    """``table.filter``, without a copy where the rows lie together."""
    if pc.all(wanted, skip_nulls=False, min_count=0).as_py():
        return table
    places = np.flatnonzero(pc.fill_null(wanted, False).to_numpy())
    if not len(places):
        return table.slice(0, 0)
    first, size = int(places[0]), int(places[-1] - places[0]) + 1
    return table.slice(first, size) if size == len(places) else table.filter(wanted)


def ranks(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Of each text its place among all that there are, in order; of null 0, the first.

    Args:
        column: of texts, or coded as a dictionary.
    """
    coded = column.unify_dictionaries().combine_chunks()
    if not pa.types.is_dictionary(coded.type):
        coded = coded.dictionary_encode()
    of_word = np.zeros(len(coded.dictionary) + 1, np.int64)
    of_word[pc.sort_indices(coded.dictionary).to_numpy()] = np.arange(1, len(of_word))
    places: npt.NDArray[np.int64] = of_word[
        pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy()
    ]
    return places


def drop_rows(
    uri: str, schema: pa.Schema, holds: Callable[[pa.Table], pa.Array], by: Sequence[str]
) -> pa.Table:
    """Drop rows of a table, part by part; parts that lose none are left alone.

    Args:
        uri: the table's folder.
        schema: its columns.
        holds: which of some rows stay, as one boolean for each.
        by: the columns that it looks at.

    Returns:
        The rows that were dropped.
    """
    dropped = [schema.empty_table()]
    looked_at = pa.schema([schema.field(name) for name in by])
    if not pc.all(holds(read_table(uri, looked_at)), min_count=0).as_py():
        for part in (file for file in storage.list_files(uri) if file.endswith(_PART)):
            table = read_table(part, schema)
            stay = holds(table)
            dropped.append(table.filter(pc.invert(stay)))
            if not pc.any(stay, min_count=0).as_py():
                storage.remove(part)
            elif len(dropped[-1]):
                write_table(table.filter(stay), part)
    return pa.concat_tables(dropped)


def ids_in(uri: str, schema: pa.Schema, column: str) -> set[str]:
    """The distinct values of one string column of a table."""
    return set(pc.unique(read_table(uri, pa.schema([schema.field(column)]))[column]).to_pylist())
