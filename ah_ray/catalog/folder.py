"""The reader for videos without annotations: a folder, a glob or one file on any storage."""

from __future__ import annotations

from ah_ray.catalog.entry import CatalogEntry
from ah_ray.catalog.listing import files_below, is_video
from ah_ray.catalog.rows import Catalog, video_row
from ah_ray.findings import note
from ah_ray.schemas import stable_id
from ah_ray.tasks.answers import Answer


def read(entry: CatalogEntry, root: str, answer: Answer) -> Catalog:
    """Every video file below ``root``, without label, split or participant.

    The id of a video depends on its path relative to ``root`` (see ``listing.files_below``), so a
    moved archive keeps its ids.
    """
    files, refused = files_below(root)
    videos = [video_row(stable_id(path), uri) for path, uri in files.items() if is_video(path)]
    findings = [note(stable_id(path), *refusal) for path, refusal in refused.items()]
    if ignored := len(files) - len(videos):
        message = f"files without the extension of a video: {ignored}"
        findings.append(note(root, "ignored_files", message))
    return Catalog(videos, findings)
