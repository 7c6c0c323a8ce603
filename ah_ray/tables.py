"""Parquet tables on any fsspec URI: read, write atomically, drop rows.

A table is a folder of ``.parquet`` files, or a folder of ``key=value`` partitions; ``read_table``
reads either. What else is put there, such as a copy ``part-0.parquet.bak``, is no part of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ah_ray import storage
from ah_ray.storage_errors import StorageError, asks, calling

_PART = ".parquet"  # the end of the names of its files


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


class Stored:
    """A table that is read a part at a time.

    What the statistics in its files exclude is not read, so that it pays when rows that belong
    together lie together; they may lie anywhere.

    Args:
        uri: the table's folder; there need be nothing yet.
        schema: of the columns that are read; a dictionary in the place of a string is read so.
    """

    def __init__(self, uri: str, schema: pa.Schema) -> None:
        self._uri, self._schema = uri, schema
        self._there: ds.FileSystemDataset | None = None
        with calling(uri), _reading(uri):
            if storage.exists(uri):
                self._there = _dataset(uri, schema)
                for part in self._there.get_fragments():
                    part.ensure_complete_metadata()

    def between(self, column: str, above: str | None, upto: str | None) -> pa.Table:
        """The rows with ``above`` < ``column`` <= ``upto``; None for no limit."""
        table = self.around(column, above, upto)
        for limit, compare in ((above, pc.greater), (upto, pc.less_equal)):
            if limit is not None:
                table = table.filter(compare(table[column], limit))
        return table

    def around(self, column: str, above: str | None, upto: str | None) -> pa.Table:
        """The same rows, and those that are stored together with them."""
        if self._there is None:
            return self._schema.empty_table()
        wanted = pc.is_valid(pc.field(column))
        if above is not None:
            wanted &= pc.field(column) > above
        if upto is not None:
            wanted &= pc.field(column) <= upto
        with calling(self._uri), _reading(self._uri):
            parts = [part.subset(wanted) for part in self._there.get_fragments()]
            some = ds.FileSystemDataset(
                [part for part in parts if part.num_row_groups],
                self._schema, self._there.format, self._there.filesystem,
            )  # fmt: skip
            return some.to_table()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, some at a time."""
        if self._there is not None:
            with calling(self._uri), _reading(self._uri):
                yield from self._there.to_batches()


def drop_rows(uri: str, schema: pa.Schema, holds: Callable[[pa.Table], pa.Array]) -> pa.Table:
    """Drop rows of a table, part by part; parts that lose none are left alone.

    Args:
        uri: the table's folder.
        schema: its columns.
        holds: which of some rows stay, as one boolean for each.

    Returns:
        The rows that were dropped.
    """
    dropped = [schema.empty_table()]
    if not pc.all(holds(read_table(uri, schema)), min_count=0).as_py():
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
