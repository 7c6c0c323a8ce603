"""What a person names as a place: checked before anything is read or written."""

from __future__ import annotations

from ah_ray import storage
from ah_ray.errors import ConfigError


def place(uri: str, where: str) -> str:
    """``uri`` with a local path made absolute; nothing is connected to.

    Args:
        uri: what was named.
        where: the option or key that names it.

    Raises:
        ConfigError: it is empty, its protocol is unknown or needs a package that is not installed.
    """
    if not uri.strip():
        raise ConfigError(where, "names nothing", "name a path, or a URI such as s3://bucket/name")
    try:
        return storage.absolute(uri)
    except ImportError as error:
        raise ConfigError(f"{where} {uri}", str(error), "install the package") from None
    except ValueError as error:
        raise ConfigError(f"{where} {uri}", str(error), "correct the name") from None
