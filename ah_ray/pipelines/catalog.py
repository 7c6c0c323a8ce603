"""Catalog: a data set in its own format in, the videos table and its findings out."""

from __future__ import annotations

from collections import Counter

from rich.markup import escape

from ah_ray import schemas, storage
from ah_ray.catalog import CatalogEntry, compare_with_published, read_catalog
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import console


def catalog(run: RunDirectory, entry: CatalogEntry, root: str) -> int:
    """Read an archive and write its videos and findings, replacing those of an earlier run.

    Args:
        run: the run directory.
        entry: what the archive is.
        root: where it is.

    Returns:
        The number of findings that are errors.

    Raises:
        ConfigError: nothing usable is there, or the run was made from another archive.
    """
    run.claim({"archive": storage.absolute(root)})
    console.print(f"[bold]catalog[/]: {escape(f'{entry.title} at {root}')}")
    found = read_catalog(entry, root)
    part = "part-0.parquet"
    storage.write_rows(found.findings, schemas.FINDINGS, f"{run.findings_path('catalog')}/{part}")
    storage.write_rows(found.videos, schemas.VIDEOS, run.path("videos", part))
    splits = Counter(video["split"] or "no split" for video in found.videos)
    sizes = ", ".join(f"{count} {split}" for split, count in sorted(splits.items()))
    console.print(f"  {len(found.videos)} videos: {sizes}")
    for (severity, kind), count in sorted(
        Counter((row["severity"], row["kind"]) for row in found.findings).items()
    ):
        console.print(f"  {severity}: {count} {kind}")
    for line in compare_with_published(entry, found.videos):
        console.print(f"  differs from what was published: {line}")
    return sum(row["severity"] == "error" for row in found.findings)
