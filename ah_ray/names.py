"""Things that a config names: one of a table of ours, or ``module:attribute`` of the user's own."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

from ah_ray.errors import ConfigError
from ah_ray.extras import extra_of


def find(name: str, table: Mapping[str, Any], where: str) -> Any:
    """What ``name`` stands for.

    Args:
        name: a key of ``table``, or ``module:attribute``; that module is imported.
        table: ours by name; none of them has a colon in its name.
        where: the key of the config that holds the name.

    Returns:
        The value in the table, or the attribute, whatever it is.

    Raises:
        ConfigError: there is no such thing, or its module cannot be imported.
    """
    if name in table:
        return table[name]
    known = f"one of {sorted(table)}, or module:attribute of your own"
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise ConfigError(where, f"there is no {name!r}", known)
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:  # ValueError: no name in Python
        fix = f"correct it, or put its module where Python finds it (PYTHONPATH); else {known}"
        if isinstance(error, ModuleNotFoundError) and not _leads_to(error.name or "", module):
            there = f"install {error.name}, or put it where Python finds it (PYTHONPATH)"
            fix = extra_of(error.name) or there
        raise ConfigError(where, f"{name!r} cannot be loaded: {error}", fix) from error


def _leads_to(package: str, module: str) -> bool:
    """Whether ``package`` is ``module`` itself or one that it lies in."""
    return f"{module}.".startswith(f"{package}.")


#: A name, or ``{name: argument}`` for what makes the thing of an argument.
Named = str | dict[str, Any]


def find_made(named: Named, table: Mapping[str, Any], makers: Mapping[str, Any], where: str) -> Any:
    """What ``named`` stands for: a thing of the table, or what one of the makers makes.

    Raises:
        ConfigError: as ``find``, or the argument is none.
    """
    if isinstance(named, str):
        if named in makers:
            raise ConfigError(where, f"{named} needs an argument", f"write {{{named}: ...}}")
        return find(named, table, where)
    if len(named) != 1:
        raise ConfigError(where, f"{named!r} is no name", "write a name, or {name: argument}")
    ((name, argument),) = named.items()
    if name in table:
        raise ConfigError(where, f"{name} takes no argument", f"write {name} alone")
    try:
        return find(name, makers, where)(argument)
    except TypeError as error:
        raise ConfigError(f"{where}.{name}", f"{argument!r}: {error}", "correct it") from error
