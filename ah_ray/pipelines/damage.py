"""Damage inside of clips, which only their decoding shows: a finding for each."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, storage, tables
from ah_ray.findings import note
from ah_ray.pipelines.run_directory import RunDirectory


def note_damage(run: RunDirectory, clips: pa.Table) -> None:
    """Write a finding for each clip inside which a decoder met errors, and no others."""
    columns = schemas.columns(schemas.PREDICTIONS, ("clip_id", "damage"))
    found = tables.read_table(run.path("predictions"), columns, "member")
    found = found.filter(pc.greater(found["damage"], 0))
    damage = dict(zip(found["clip_id"].to_pylist(), found["damage"].to_pylist(), strict=True))
    damaged = clips.filter(pc.is_in(clips["clip_id"], pa.array(list(damage), pa.string())))
    rows = [
        note(
            clip["clip_id"],
            "damaged",
            f"{clip['source_uri']} from {clip['start_s']:.3f} to {clip['end_s']:.3f} s: "
            f"{damage[clip['clip_id']]} decoding errors",
        )
        for clip in damaged.to_pylist()
    ]
    path = storage.join(run.findings_path("score"), "part-0.parquet")
    if rows or storage.exists(path):
        tables.write_rows(rows, schemas.FINDINGS, path)
