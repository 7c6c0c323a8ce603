"""What a report is made from, so that one that is out of date is seen."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from ah_ray import lineage, schemas, storage, tables
from ah_ray.pipelines.evaluate import METRICS_FILE
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.report.page import made_by

REPORT_FILE = "report.html"


def report_made_from(run: RunDirectory, stale: int = 0) -> str:
    """A fingerprint of what a report is made from now; costs alone do not make it anew.

    Args:
        run: the run directory.
        stale: how many verdicts are not made from the answers that there are now.
    """
    verdicts = tables.read_table(run.path("verdicts"), _some(schemas.VERDICTS, "made_from"))
    made_from = verdicts if len(verdicts) else _answered(run)
    metrics = run.path(METRICS_FILE)
    return lineage.fingerprint(
        made_by(),
        stale,
        run.settings(),
        *(_digest(table) for table in (made_from, run.videos(), run.findings())),
        storage.read_bytes(metrics).decode() if storage.exists(metrics) else None,
    )


def _digest(table: pa.Table) -> str:
    """A hash of a table, whatever the order of its rows; they do not become Python objects."""
    keys = [(field.name, "ascending") for field in table.schema if field.type == pa.string()]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.sort_by(keys).combine_chunks())
    return hashlib.blake2b(sink.getvalue(), digest_size=16).hexdigest()


def _some(schema: pa.Schema, *names: str) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names])


def _answered(run: RunDirectory) -> pa.Table:
    """What the answers are made from where there are no verdicts."""
    columns = _some(schemas.PREDICTIONS, "made_from")
    found = tables.read_table(run.path("predictions"), columns, "member")
    return found.group_by(found.column_names).aggregate([])
