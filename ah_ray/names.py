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
