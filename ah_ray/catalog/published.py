"""Is this copy of a data set the published one? Compare its sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ah_ray.catalog.entry import CatalogEntry, Counts


def compare_with_published(
    entry: CatalogEntry, videos: Sequence[Mapping[str, Any]], options: Sequence[str]
) -> list[str]:
    """One line per published size that a copy of a data set does not have.

    Args:
        entry: the data set.
        videos: rows of ``schemas.VIDEOS``.
        options: of the task's answer; the first is the one that is looked for.
    """
    lines = list(_differences("all", entry.expected, count(videos, options)))
    for split, published in entry.expected.splits.items():
        here = count([video for video in videos if video["split"] == split], options)
        lines += _differences(split, published, here)
    return lines


def count(videos: Sequence[Mapping[str, Any]], options: Sequence[str]) -> Counts:
    """The sizes of a set of videos; see ``compare_with_published``."""
    return Counts(
        videos=len(videos),
        participants=len({video["participant_id"] for video in videos} - {None}),
        positives=sum(video["labels"] == [*options[:1]] for video in videos),
    )


def _differences(part: str, published: Counts, here: Counts) -> Iterator[str]:
    for name in Counts.model_fields:
        wanted, found = getattr(published, name), getattr(here, name)
        if wanted is not None and wanted != found:
            yield f"{part}: {found:,} {name}, published are {wanted:,} ({found - wanted:+,})"
