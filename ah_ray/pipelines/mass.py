"""Do members answer at all? A warning for each that would rather have said something else.

Chances compare the options with each other. A model that gives all of them together a small
probability, such as one that was never trained for the task, has been made to choose, and its
chances say little, however far from even they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, storage, tables
from ah_ray.findings import note
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import console

#: Below this mass another reply is likelier than all that were asked for.
LOW_MASS = 0.5


def note_mass(run: RunDirectory, members: Sequence[str]) -> None:
    """Write and print a finding for each member whose mass is low on most clips; see ``low_mass``.

    Args:
        run: the run directory; its predictions are read.
        members: whose predictions to look at.
    """
    columns = schemas.columns(schemas.PREDICTIONS, ["mass"])
    rows = []
    for member in members:
        masses = tables.read_table(run.predictions_path(member), columns)["mass"].drop_null()
        if message := low_mass(masses):
            rows.append(note(member, "low_mass", f"{member}: {message}"))
            console.print(f"  [yellow]warning[/] {member}: {message}")
    path = storage.join(run.findings_path("score"), "part-mass.parquet")
    if rows:
        tables.write_rows(rows, schemas.FINDINGS, path)
    else:
        storage.remove(path)


def low_mass(masses: pa.ChunkedArray) -> str | None:
    """What is to be said of a member's masses; None where the median is at least ``LOW_MASS``."""
    if not len(masses):
        return None
    median = pc.approximate_median(masses).as_py()
    if median >= LOW_MASS:
        return None
    low = pc.sum(pc.less(masses, LOW_MASS)).as_py()
    return (
        f"in {low} of {len(masses)} answers another reply is likelier than all that were asked for "
        f"(the median probability of these together is {median:.2g})"
    )
