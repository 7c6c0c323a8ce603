"""What members wrote, for the members that read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, storage, tables
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.tasks.lists import listed

_COLUMNS = ("clip_id", "status", "labels", "text")


def texts_of(
    run: RunDirectory, members: Collection[str], part: str, clips: Collection[str]
) -> dict[str, dict[str, str]]:
    """The texts of some members about the clips of a batch.

    Args:
        run: the run directory.
        members: whose texts.
        part: the name of the batch's part; what is not there, for batches were planned otherwise
            then, is looked for in the whole table.
        clips: their ids.

    Returns:
        By clip and by member; a clip without a usable answer of a member has none of it.
    """
    schema = schemas.columns(schemas.PREDICTIONS, _COLUMNS)
    wanted = pa.array(sorted(clips), pa.string())
    texts: dict[str, dict[str, str]] = {clip: {} for clip in clips}
    for member in members:
        folder = run.predictions_path(member)
        for uri in (storage.join(folder, part), folder):
            if any(member not in of_clip for of_clip in texts.values()) and storage.exists(uri):
                rows = tables.read_table(uri, schema)
                for row in rows.filter(pc.is_in(rows["clip_id"], wanted)).to_pylist():
                    if row["status"] == "ok":
                        texts[row["clip_id"]][member] = said(row)
    return texts


def said(row: Mapping[str, Any]) -> str:
    """A usable answer (a row of ``schemas.PREDICTIONS``) as text: its labels, its own, or both."""
    labels, text = row["labels"], row["text"]
    return f"{listed(labels)}: {text}" if labels and text else str(text or listed(labels))
