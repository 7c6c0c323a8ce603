"""Is it the same recording under two names? A short hash of each video file's content."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from ah_ray import storage

_EDGE = 64 * 1024  # bytes


def content_hash(uri: str) -> str | None:
    """A hash of a file's size, head and tail; None when it cannot be read.

    Copies of a file always agree. Different recordings do not: a video file has the index of all
    its frames' sizes in its head or tail. So two range requests tell what a full download would.
    """
    try:
        with storage.open_read(uri) as file:
            head = file.read(_EDGE)
            size = file.seek(0, 2)
            file.seek(max(len(head), size - _EDGE))
            tail = file.read(_EDGE)
    except OSError:
        return None
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    digest.update(head)
    digest.update(tail)
    return digest.hexdigest()


def contents_of(videos: pa.Table) -> dict[str, str]:
    """The content hashes of the videos that are in a split, by URI; unreadable files have none.

    Args:
        videos: ``schemas.VIDEOS``.
    """
    rows = videos.select(["uri", "split"]).to_pylist()
    uris = sorted({row["uri"] for row in rows if row["split"] is not None})
    with ThreadPoolExecutor(16) as pool:
        found = zip(uris, pool.map(content_hash, uris), strict=True)
        return {uri: content for uri, content in found if content is not None}
