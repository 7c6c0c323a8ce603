"""What a file holds, in a short hash: is it the same recording under two names, did it change?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ah_ray import local_files, storage
from ah_ray.errors import ItemError
from ah_ray.schemas import stable_id
from ah_ray.storage_errors import StorageError

_PIECE, _PIECES = 256 * 1024, 16  # bytes, and how many of a file that is larger than all of them


def content_hash(uri: str) -> str:
    """A hash of a file's size and content, 32 hexadecimal digits; of a large file, of a sample.

    Copies of a file always agree, wherever they lie. Of a file over 4 MiB its two ends and 14
    pieces between them are read, so that an archive in object storage is told apart for a few
    requests a file: any other recording or encoding differs in all of them.

    Raises:
        FileNotFoundError: nothing is there.
        StorageError: the storage failed, or it is no file: a pipe would never end.
    """
    path = storage.local_path(uri)
    if path and path.exists() and not path.is_file():
        raise StorageError(f"{uri}: is no regular file")
    size = storage.size(uri)
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    if size <= _PIECE * _PIECES:
        starts, piece = [0], size
    else:
        last = size - _PIECE
        starts, piece = [last * index // (_PIECES - 1) for index in range(_PIECES)], _PIECE
    for data in storage.read_ranges(uri, [(start, start + piece) for start in starts]):
        digest.update(data)
    return digest.hexdigest()


def require_content(uri: str, content: str | None) -> None:
    """Fail when a file is not the one that the catalog has read; an unknown content fits all.

    Raises:
        ItemError: it has changed (``changed``), or cannot be read.
    """
    if content is None:
        return
    try:
        changed = content_hash(uri) != content
    except FileNotFoundError as error:
        raise ItemError("missing", f"{uri}: there is no such file") from error
    except OSError as error:
        raise ItemError("storage_error", str(error)) from error
    if changed:
        raise ItemError("changed", f"{uri}: the file has changed since the catalog was read")


def remembered_hash(uri: str) -> str:
    """``content_hash`` for the few large files that many commands ask about, such as weights.

    Of a file in object storage it is remembered on this machine, as long as its ETag stays.

    Raises:
        FileNotFoundError: nothing is there.
        StorageError: the storage failed.
    """
    version = storage.version(uri)
    if version is None:
        return content_hash(uri)
    known = local_files.cache_folder() / "contents" / stable_id(uri, version)
    if not known.exists():
        storage.write_bytes(str(known), content_hash(uri).encode())
    return known.read_text()


def contents_of(
    uris: Iterable[str], hashed: Callable[[str], str] = content_hash
) -> Mapping[str, str | OSError]:
    """The content hash of each file, or why it has none (see ``content_hash``)."""

    def content(uri: str) -> str | OSError:
        try:
            return hashed(uri)
        except OSError as error:
            return error

    names = sorted(set(uris))
    with ThreadPoolExecutor(32) as pool:
        return dict(zip(names, pool.map(content, names), strict=True))
