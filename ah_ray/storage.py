"""Files on any fsspec URI: list, read, write atomically, bring to local disk.

A run directory is one URI; its tables are in ``tables``.

A URI names one file or folder and nothing else: what has no protocol is a path on this machine
whatever characters it holds, and fsspec's chains (``simplecache::s3://``, ``zip://a::b``) are
refused. To look at a URI (``absolute``, ``local_path``, ``join``) connects to nothing.

What is not there is a ``FileNotFoundError``. What a storage does not do, after all that its own
client tries again, is a ``StorageError``. For S3 that client is s3fs: it waits 5 s for a connection
and 15 s for more of an answer, asks up to 25 times when it is told to slow down, 5 times for a
header or a listing, and 5 times for a body that breaks off. fsspec's settings (``FSSPEC_S3``) and
those of AWS's clients (``AWS_MAX_ATTEMPTS``, ...) change that.
"""

from __future__ import annotations

import glob
import io
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from fsspec import AbstractFileSystem, get_filesystem_class
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.config import conf as fsspec_settings
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.reference import ReferenceFileSystem

from ah_ray.local_files import TEMPORARY, cached_folder, temporary_sibling
from ah_ray.schemas import stable_id
from ah_ray.storage_errors import asks, calling

_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ON_TOP = (AbstractArchiveFileSystem, ChainedFileSystem, ReferenceFileSystem)
_CHAIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*(::|://.*::))+[A-Za-z][A-Za-z0-9+.-]*://", re.DOTALL)

# Files are read in pieces of this many bytes: s3fs's own 50 MiB would fetch most of a video for
# its headers. The least that S3 takes as a part of an upload.
fsspec_settings.setdefault("s3", {}).setdefault("default_block_size", 5 * 2**20)


def protocol(uri: str) -> str:
    """How ``uri`` is reached, such as ``s3``; ``file`` when it is on this machine's disk.

    Raises:
        ValueError: it is a chain, or has a character that no name can have.
    """
    if "\0" in uri:  # the C libraries would read only what is before it
        raise ValueError(f"{uri!r} has a zero byte")
    if _CHAIN.match(uri):
        raise ValueError(f"{uri} is a chain of filesystems: name the file itself")
    match = _PROTOCOL.match(uri)
    return "file" if match is None or match[1] == "local" else match[1]


@asks
def filesystem_of(uri: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of ``uri`` and its path there; unlike fsspec's ``url_to_fs``, never a chain.

    Raises:
        ImportError: the protocol needs a package that is not installed.
        ValueError: the protocol is unknown, or ``uri`` is a chain.
    """
    if (path := local_path(uri)) is not None:
        return LocalFileSystem(), str(path)
    kind = _filesystem_class(uri)
    filesystem = kind(**kind._get_kwargs_from_urls(uri))
    return filesystem, filesystem._strip_protocol(uri)


def _filesystem_class(uri: str) -> type[AbstractFileSystem]:
    """What reaches a remote ``uri``; imported, but nothing is connected to."""
    kind: type[AbstractFileSystem] = get_filesystem_class(protocol(uri))
    if issubclass(kind, _ON_TOP):
        raise ValueError(f"{protocol(uri)}:// stands on top of other filesystems: name the file")
    return kind


def fresh(uri: str) -> tuple[Any, str]:
    """The filesystem and path of ``uri``, without a listing that others have outdated."""
    filesystem, path = filesystem_of(uri)
    filesystem.invalidate_cache()
    return filesystem, path


def absolute(uri: str) -> str:
    """``uri`` with a local path made absolute, so that every worker understands it.

    Raises:
        ImportError: the protocol needs a package that is not installed.
        ValueError: the protocol is unknown, or ``uri`` is a chain.
    """
    if (path := local_path(uri)) is not None:
        return str(path)
    _filesystem_class(uri)
    return uri.rstrip("/")


def join(uri: str, *parts: str) -> str:
    """``uri`` extended by ``parts``.

    Raises:
        ValueError: a part would leave ``uri`` (``..`` or an absolute path).
    """
    relative = PurePosixPath(*parts)
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"{relative} leaves {uri}")
    return f"{uri.rstrip('/')}/{relative}"


def local_path(uri: str) -> Path | None:
    """The absolute path behind ``uri`` when it is on this machine's disk, else None."""
    if protocol(uri) != "file":
        return None
    path = uri[match.end() :] if (match := _PROTOCOL.match(uri)) else uri
    if path == "~" or path.startswith("~/"):  # no other name that starts so means a home
        path = os.path.expanduser(path)
    return Path.cwd() / path


@asks
def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    filesystem, path = fresh(uri)
    return bool(filesystem.exists(path))


@asks
def is_glob(uri: str) -> bool:
    """Whether ``uri`` is a pattern: has a wildcard, and is not itself a file or folder."""
    filesystem, path = fresh(uri)
    return glob.has_magic(path) and not filesystem.exists(path)


@asks
def list_files(uri: str) -> list[str]:
    """Every file below the folder ``uri``, or matched by it when it is a glob; sorted full URIs."""
    filesystem, path = fresh(uri)
    if is_glob(uri):
        listed = filesystem.glob(path, detail=True).items()
        found = [p for p, info in listed if info.get("type") != "directory"]
    else:
        try:  # at once, for s3fs's ``isfile``, and ``exists`` of a bucket, take any fault for a no
            found = filesystem.find(path)
        except FileNotFoundError:
            found = []
    visible = (p for p in found if not PurePosixPath(p).name.startswith(TEMPORARY))
    return sorted(_full_uri(filesystem, p) for p in visible)


@asks
def open_read(uri: str) -> BinaryIO:
    """A seekable binary file, whose methods too raise ``StorageError``."""
    filesystem, path = fresh(uri)
    return cast(BinaryIO, _File(uri, filesystem.open(path, "rb")))


class _File(io.RawIOBase):
    """An open file of a storage."""

    def __init__(self, uri: str, file: BinaryIO) -> None:
        self._uri, self._file = uri, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        with calling(self._uri):
            return self._file.read(size)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


@asks
def read_bytes(uri: str) -> bytes:
    """The whole file, as it was at one moment."""
    filesystem, path = fresh(uri)
    data: bytes = filesystem.cat_file(path)
    return data


@asks
def version(uri: str) -> str | None:
    """A name for the state of a remote file, its ETag; None where the storage has no such name."""
    filesystem, path = fresh(uri)
    info = filesystem.info(path)
    return f"{info['size']} {info['ETag']}" if "ETag" in info else None


@asks
def size(uri: str) -> int:
    """The size of a file in bytes."""
    filesystem, path = fresh(uri)
    return int(filesystem.size(path))


@asks
def read_ranges(uri: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Some pieces of a file, each from its first byte to before its last; nothing else is read."""
    filesystem, path = fresh(uri)
    starts, ends = ([edge[index] for edge in ranges] for index in (0, 1))
    pieces = list(filesystem.cat_ranges([path] * len(ranges), starts, ends))
    for piece in pieces:  # fsspec's asynchronous storages return errors, whatever they are asked
        if isinstance(piece, Exception):
            raise piece
    return pieces


@asks
def write_bytes(uri: str, data: bytes) -> None:
    """Write a file so that readers see either nothing or all of it.

    On a local disk a temporary file is renamed into place; in an object store the file is one
    PUT, which is atomic there.
    """
    filesystem, path = fresh(uri)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, data)
        return
    target = Path(path)
    with temporary_sibling(target) as temporary:
        temporary.write_bytes(data)
        os.replace(temporary, target)


@asks
def put(uri: str, source: Path) -> None:
    """Copy a local file to ``uri`` so that readers see either nothing or all of it."""
    filesystem, path = fresh(uri)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.put_file(str(source), path)
        return
    target = Path(path)
    with temporary_sibling(target) as temporary:
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)


@asks
def create_bytes(uri: str, data: bytes) -> bool:
    """Write a file, as ``write_bytes`` does, unless it is there; whether it was not.

    Of several who try at the same time one succeeds, on a local disk and in stores that know
    conditional writes, as S3 does.
    """
    filesystem, path = fresh(uri)
    if not isinstance(filesystem, LocalFileSystem):
        try:
            filesystem.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True
    target = Path(path)
    with temporary_sibling(target) as temporary:
        temporary.write_bytes(data)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
    return True


@asks
def remove(uri: str) -> None:
    """Delete a file or folder if it is there."""
    filesystem, path = fresh(uri)
    if not filesystem.exists(path):
        return
    if glob.has_magic(path) and not isinstance(filesystem, LocalFileSystem):
        for file in filesystem.find(path):  # ``rm`` would take the name for a pattern
            filesystem.rm_file(file)
    else:
        filesystem.rm(path, recursive=True)


def upload_folder(local: Path, uri: str, last: str) -> None:
    """Copy a folder to ``uri``; the file ``last``, which marks it as complete, goes last."""
    remove(uri)
    names = sorted(str(p.relative_to(local)) for p in local.rglob("*") if p.is_file())
    filesystem, path = fresh(uri)
    for name in sorted(names, key=lambda name: (name == last, name)):
        target = f"{path.rstrip('/')}/{name}"
        with calling(uri):
            filesystem.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
            filesystem.put_file(str(local / name), target)


@asks
def localize(uri: str) -> Path:
    """A local path with the content of ``uri`` (a file or a folder).

    A local URI is returned as it is. A remote one is downloaded once per machine into the cache
    folder (``AH_RAY_CACHE``, by default in the system's temporary folder), keyed by the remote
    listing, so that a changed remote is downloaded again.

    Raises:
        FileNotFoundError: nothing is there.
    """
    if (path := local_path(uri)) is not None:
        if not path.exists():
            raise FileNotFoundError(f"{uri} does not exist")
        return path
    filesystem, remote = fresh(uri)
    listing = filesystem.find(remote, detail=True)
    if not listing:
        raise FileNotFoundError(f"{uri} does not exist")
    state = [f"{p}:{info.get('size')}:{info.get('ETag')}" for p, info in sorted(listing.items())]
    name = PurePosixPath(remote).name

    def fetch(folder: Path) -> None:
        get(uri, folder / name)

    return cached_folder(stable_id(uri, *state), fetch) / name


@asks
def get(uri: str, target: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Copy a file or a folder to a local path.

    Args:
        uri: what is copied.
        target: where to.
        wanted: of a folder, whether a file is copied, by its path in there.
    """
    filesystem, path = fresh(uri)
    files = [f for f in filesystem.find(path) if wanted(f.removeprefix(path).lstrip("/"))]
    # Both as lists, for a single name would be taken for a pattern.
    filesystem.get(files, [f"{target}{file.removeprefix(path)}" for file in files])


@asks
def download(uri: str, target: Path) -> None:
    """Copy one file to a local path, for as long as the caller keeps it.

    Raises:
        FileNotFoundError: it is not there.
    """
    filesystem, path = fresh(uri)
    filesystem.get_file(path, str(target))


def _full_uri(filesystem: Any, path: str) -> str:
    return (
        path if isinstance(filesystem, LocalFileSystem) else str(filesystem.unstrip_protocol(path))
    )
