"""What members wrote, for the members that read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, storage, tables
from ah_ray.pipelines.run_directory import RunDirectory

_COLUMNS = ("clip_id", "status", "labels", "text", "raw_text")


def texts_of(
    run: RunDirectory, members: Collection[str], part: str, clips: Collection[str]
) -> dict[str, dict[str, str]]:
    """The texts of some members about the clips of a batch.

    Args:
        run: the run directory.
        members: whose texts.
        part: the name of the batch's part; where batches were planned otherwise then, the whole
            table is looked through.
        clips: their ids.

    Returns:
        By clip and by member; a clip without a usable answer of a member has none of it.
    """
    schema = pa.schema([schemas.PREDICTIONS.field(name) for name in _COLUMNS])
    wanted = pa.array(sorted(clips), pa.string())
    texts: dict[str, dict[str, str]] = {clip: {} for clip in clips}
    for member in members:
        folder = run.predictions_path(member)
        uri = storage.join(folder, part)
        rows = tables.read_table(uri if storage.exists(uri) else folder, schema)
        for row in rows.filter(pc.is_in(rows["clip_id"], wanted)).to_pylist():
            if row["status"] == "ok":
                texts[row["clip_id"]][member] = said(row)
    return texts


def said(row: Mapping[str, object]) -> str:
    """An answer (a row of ``schemas.PREDICTIONS``) as text: as it reads, else its labels."""
    labels = row["labels"]
    named = ", ".join(map(str, labels)) if isinstance(labels, list) else ""
    return str(row["text"] or named or row["raw_text"])
