"""The files of an archive: one listing, whatever the storage."""

from __future__ import annotations

import itertools
from pathlib import PurePosixPath

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from ah_ray import storage

VIDEO_EXTENSIONS = frozenset(
    {"3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4"}
    | {"mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv"}
)


def is_video(path: str) -> bool:
    """Whether the extension, in any letter case, is that of a video file."""
    return PurePosixPath(path).suffix.lstrip(".").lower() in VIDEO_EXTENSIONS


def files_below(root: str) -> dict[str, str]:
    """Every file of a folder, a glob or a single file, as relative path -> URI.

    Paths are relative to the folder; to the deepest folder without a wildcard for a glob; and to
    its own folder for a single file.
    """
    uris = storage.list_files(root)
    filesystem, path = url_to_fs(root)
    base = path if isinstance(filesystem, LocalFileSystem) else filesystem.unstrip_protocol(path)
    plain = itertools.takewhile(lambda part: not set("*?[") & set(part), base.split("/"))
    base = "/".join(plain).rstrip("/")
    if uris == [base]:
        base = base.rpartition("/")[0]
    return {uri.removeprefix(base).lstrip("/"): uri for uri in uris}
