"""Parquet tables on any fsspec URI: read, write atomically, drop rows.

A table is a folder of ``.parquet`` files, or a folder of ``key=value`` partitions; ``read_table``
reads either. What else is put there, such as a copy ``part-0.parquet.bak``, is no part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ah_ray import storage
from ah_ray.storage_errors import StorageError, asks

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
    filesystem, path = storage.fresh(uri)
    hive = partition and ds.partitioning(pa.schema([(partition, pa.string())]), flavor="hive")
    found = ds.dataset(
        path, schema=schema, format="parquet", filesystem=filesystem, partitioning=hive or None
    )
    parts = [part for part in found.get_fragments() if part.path.endswith(_PART)]
    try:
        whole = ds.FileSystemDataset(parts, schema, found.format, found.filesystem)
        return whole.to_table(filter=where)
    except pa.ArrowInvalid as error:
        damaged = StorageError(f"{uri}: {error}")
        damaged.fix = "bring the file back, or delete it and run the stage that writes it again"
        raise damaged from error


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
