"""The files of an archive: one listing, whatever the storage, and nothing from outside of it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from glob import has_magic
from pathlib import PurePosixPath
from typing import NamedTuple

from ah_ray import storage

VIDEO_EXTENSIONS = frozenset(
    {"3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4"}
    | {"mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv"}
)
PICTURE_EXTENSIONS = frozenset({"jpeg", "jpg", "png", "webp"})

# Where a table may say that its videos are, besides where it is itself: a row must not make
# workers call any address that somebody wrote into it.
_STORES = frozenset(
    {"file", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hdfs", "oci", "oss"}
)


class Refusal(NamedTuple):
    """Why a file of the listing may not be used: a kind of ``findings.KINDS``, and for people."""

    kind: str
    message: str


class Listing(NamedTuple):
    """The files of an archive by their relative paths."""

    files: dict[str, str]  # URIs
    refused: dict[str, Refusal]


def is_video(path: str) -> bool:
    """Whether the extension, in any letter case, is that of a video file."""
    return PurePosixPath(path).suffix.lstrip(".").lower() in VIDEO_EXTENSIONS


def is_picture(path: str) -> bool:
    """Whether the extension, in any letter case, is that of a picture that is read as a video."""
    return PurePosixPath(path).suffix.lstrip(".").lower() in PICTURE_EXTENSIONS


def to_score(paths: Iterable[str]) -> list[str]:
    """The videos among files; where there are none, the pictures.

    Beside videos pictures are previews, posters and the like.
    """
    paths = list(paths)
    videos = [path for path in paths if is_video(path)]
    return videos or [path for path in paths if is_picture(path)]


def resolve(uri: str, folder: str) -> str:
    """The full URI of a video that a table in ``folder`` names; nothing is connected to.

    Raises:
        ImportError: its protocol needs a package that is not installed.
        ValueError: it leads out of the folder, or is no URI that a table may name.
    """
    protocol = storage.protocol(uri)
    if protocol not in _STORES | {storage.protocol(folder)}:
        raise ValueError(f"{uri} is nowhere that a table may point to ({protocol}://)")
    in_full = uri.startswith(("/", f"{protocol}://", "local://"))
    return storage.absolute(uri if in_full else storage.join(folder, uri))


def files_below(root: str) -> Listing:
    """Every file of a folder, a glob or a single file.

    Paths are relative to the folder; to the deepest folder without a wildcard for a glob; and to
    its own folder for a single file. That folder and a single file may be links, for the user
    named them; links that an archive holds are followed when they are files inside of it.
    """
    uris = storage.list_files(root)
    local = storage.local_path(root) is not None
    filesystem, path = storage.filesystem_of(root)
    base = path if local else filesystem.unstrip_protocol(path)
    if storage.is_glob(root):
        base = "/".join(itertools.takewhile(lambda part: not has_magic(part), base.split("/")))
    base = base.rstrip("/")
    named = uris == [base]
    if named:
        base = base.rpartition("/")[0]
    listing = Listing({}, {})
    for uri in uris:
        relative = uri.removeprefix(base).lstrip("/")
        shown = relative.encode(errors="backslashreplace").decode()
        if shown != relative:  # bytes that are no UTF-8: no table could hold the name
            listing.refused[shown] = Refusal("bad_name", f"{shown} is no UTF-8")
        elif local and not named and (problem := _link_problem(uri, base)):
            listing.refused[relative] = Refusal("unsafe_link", f"{relative} {problem}")
        else:
            listing.files[relative] = uri
    return listing


def _link_problem(path: str, base: str) -> str | None:
    """What is wrong with a local file if it is a link that may not be followed.

    The listing does not enter folders that are links, so only the last part can be one.
    """
    if not os.path.islink(path):
        return None
    target = os.path.realpath(path)
    if not os.path.isfile(target):
        return "is a link to a folder" if os.path.isdir(target) else "is a link to nothing"
    home = os.path.realpath(base or "/")
    return None if os.path.commonpath([home, target]) == home else "is a link out of the archive"
