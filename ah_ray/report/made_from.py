"""What a report is made from, so that one that is out of date is seen."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

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
    videos = run.videos().drop_columns(["subtitles"]).sort_by("video_id")
    metrics = run.path(METRICS_FILE)
    return lineage.fingerprint(
        made_by(),
        stale,
        run.settings(),
        sorted(verdicts["made_from"].to_pylist()) or _answered(run),
        videos.to_pydict(),
        sorted(map(str, run.findings().to_pylist())),
        storage.read_bytes(metrics).decode() if storage.exists(metrics) else None,
    )


def _some(schema: pa.Schema, *names: str) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names])


def _answered(run: RunDirectory) -> list[str]:
    """What the answers are made from where there are no verdicts."""
    columns = _some(schemas.PREDICTIONS, "made_from")
    found = tables.read_table(run.path("predictions"), columns, "member")
    return sorted(pc.unique(found["made_from"]).to_pylist())
