"""Suggest: verdicts of videos without a label in, those worth annotating next out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pyarrow.compute as pc
from rich.table import Table
from rich.text import Text

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.evaluation.suggest import Candidate, Suggestion
from ah_ray.evaluation.suggest import suggest as ranked
from ah_ray.export.flat import harmless
from ah_ray.pipelines.reduce import noted_judgement
from ah_ray.pipelines.results import short_names
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import printable
from ah_ray.progress import results as console


def suggest(run: RunDirectory, most: int, output: str | None = None) -> None:
    """Print the videos that are worth annotating next, and why.

    Args:
        run: the run directory; it is reduced.
        most: how many.
        output: a CSV file for them too; any fsspec URI.

    Raises:
        ConfigError: every video has a label, or there are no verdicts.
    """
    verdicts, videos = run.verdicts(), run.videos()
    known = pc.is_valid(videos["labels"])
    stated = {
        row["video_id"]: dict(row["attributes"] or ())
        for row in videos.filter(pc.invert(known)).select(["video_id", "attributes"]).to_pylist()
    }
    judgement = noted_judgement(run)
    exclusive = bool(judgement and judgement.answer.options)
    files = {}
    candidates = []
    for batch in verdicts.select(["video_id", "uri", "members", "considered"]).to_batches():
        for row in batch.to_pylist():
            if row["video_id"] in stated:
                files[row["video_id"]] = row["uri"]
                votes = [frozenset(one["labels"]) for one in row["members"] or ()
                         if one["labels"] is not None]  # fmt: skip
                chances = [one["chance"] or 0.0 for one in row["considered"] or ()]
                mine = stated[row["video_id"]]
                candidates.append(Candidate(row["video_id"], votes, chances, exclusive, mine))
    if not candidates:
        problem = "no video without a label has a verdict"
        raise ConfigError(run.path("verdicts"), problem, "score an archive that is not labelled")
    labelled = [dict(pairs or ()) for pairs in videos.filter(known)["attributes"].to_pylist()]
    found = ranked(candidates, labelled, most)
    short = short_names(run)
    names = {one.video_id: short(files[one.video_id]) for one in found}
    _print(found, names, len(candidates))
    if output is not None:
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(["video_id", "file", "worth", "reasons"])
        for one in found:
            why = "; ".join(one.reasons)
            row = (one.video_id, names[one.video_id], f"{one.worth:.3f}", why)
            rows.writerow([harmless(value) for value in row])
        storage.write_bytes(output, text.getvalue().encode("utf-8-sig"))


def _print(found: Sequence[Suggestion], names: dict[str, str], of: int) -> None:
    table = Table(title=f"to annotate next, of {of} videos without a label", box=None)
    for heading in ("worth", "video", "why"):
        table.add_column(heading, overflow="fold")
    for one in found:
        why = "; ".join(one.reasons)
        table.add_row(f"{one.worth:.2f}", *(Text(printable(t)) for t in (names[one.video_id], why)))
    console.print(table)
