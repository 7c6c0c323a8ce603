"""What storages raise, as one error with the name of what was asked for and a way out."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class StorageError(OSError):
    """A storage cannot be reached, or does not do what it is asked; the message names the URI.

    Attributes:
        fix: what the reader can do about it.
    """

    fix = "give the same command again later; it goes on where it stopped"


_FIXES = {
    errno.EROFS: "it is read-only: name another --run, or mount it for writing",
    errno.EACCES: "ask for the permission, or give credentials that have it",
    errno.ENOSPC: "free some space, then give the same command again; it goes on where it stopped",
    errno.ENOTDIR: "a file stands where a folder should be: name another path",
}
_FIXES[errno.EPERM] = _FIXES[errno.EACCES]
_FIXES[errno.EDQUOT] = _FIXES[errno.ENOSPC]
_FIXES[errno.EEXIST] = _FIXES[errno.ENOTDIR]
_CREDENTIALS = (
    "give credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of "
    "the machine"
)


def explained(error: OSError) -> bool:
    """Whether ``error`` is of the disk or of rights, so that people know what to do about it."""
    return error.errno in _FIXES


def fix_of(reason: Exception) -> str:
    """What helps against ``reason``; most often it passes."""
    from botocore import exceptions as aws

    if isinstance(reason, PermissionError):  # s3fs raises it without a number
        return _FIXES[errno.EACCES]
    missing = (
        aws.NoCredentialsError,
        aws.PartialCredentialsError,
        aws.CredentialRetrievalError,
        aws.ProfileNotFound,
        aws.NoAuthTokenError,
    )
    if isinstance(reason, missing):
        return _CREDENTIALS
    return _FIXES.get(getattr(reason, "errno", None) or 0, StorageError.fix)


def _failures() -> tuple[type[Exception], ...]:
    """What a storage raises when it cannot be reached or read, its own retries included."""
    from aiohttp import ClientError  # these two are s3fs's; imported where they are asked for
    from botocore.exceptions import BotoCoreError

    return OSError, BotoCoreError, ClientError


@contextmanager
def calling(uri: str) -> Iterator[None]:
    """Give whatever a storage raises one type and the name of what was asked for.

    Raises:
        FileNotFoundError: nothing is there.
        StorageError: the storage failed.
    """
    try:
        yield
    except (FileNotFoundError, StorageError):
        raise
    except _failures() as error:
        raise _failed(uri, error) from error
    except IndexError as error:  # s3fs stumbles over a read that timed out for good
        if not isinstance(error.__context__, TimeoutError):
            raise
        raise _failed(uri, error.__context__) from error


def _failed(uri: str, reason: Exception) -> StorageError:
    error = StorageError(f"{uri}: {type(reason).__name__}: {reason}")
    error.fix = fix_of(reason)
    return error


def asks(function: Callable[Concatenate[str, P], T]) -> Callable[Concatenate[str, P], T]:
    """``function`` of a URI, with the errors of ``calling``."""

    @wraps(function)
    def asking(uri: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with calling(uri):
            return function(uri, *args, **kwargs)

    return asking
