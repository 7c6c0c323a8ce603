"""The reader for videos without annotations: a folder, a glob or one file on any storage."""

from __future__ import annotations

from ah_ray.catalog.entry import CatalogEntry
from ah_ray.catalog.listing import files_below, is_picture, to_score
from ah_ray.catalog.rows import Catalog, video_row
from ah_ray.findings import note
from ah_ray.schemas import stable_id
from ah_ray.tasks.answers import Answer


def read(entry: CatalogEntry, root: str, answer: Answer) -> Catalog:
    """Every video file below ``root``, or every picture where there is no video.

    None has a label, a split or a participant.

    The id of a video depends on its path relative to ``root`` (see ``listing.files_below``), so a
    moved archive keeps its ids.
    """
    files, refused = files_below(root)
    paths = to_score(files)
    videos = [video_row(stable_id(path), files[path]) for path in paths]
    findings = [note(stable_id(path), *refusal) for path, refusal in refused.items()]
    if ignored := len(files) - len(videos):
        message = f"files without the extension of a video: {ignored}"
        if pictures := sum(map(is_picture, files)) - sum(map(is_picture, paths)):
            message += f", of which {pictures} are pictures (a glob such as *.jpg takes them)"
        findings.append(note(root, "ignored_files", message))
    return Catalog(videos, findings)
