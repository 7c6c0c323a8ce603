"""Files that people name: where they stand, or among those that come with the package.

The run configs of ``jobs/`` and the entries of ``data_catalog/`` lie beside the package in a
checkout; a wheel has copies of them inside (``setup.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
_SHIPPED = (_PACKAGE / "shipped", _PACKAGE.parent)


def find_file(name: str | Path, beside: Path | None = None) -> Path | None:
    """The file ``name``, or None where there is none.

    Args:
        name: an absolute path, or one relative to ``beside``, to the current folder, or to what
            the package ships, such as ``jobs/demo.yaml``; the first that is there.
        beside: the folder of the file that has the name in it.
    """
    folders = (beside, Path(), *_SHIPPED) if beside is not None else (Path(), *_SHIPPED)
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def with_whole_names(value: Any, beside: Path) -> Any:
    """``value`` (plain values) with the JSON and YAML files that it names by their whole paths.

    Args:
        value: a text in it that ends as such files do, and is found, is one.
        beside: the folder of the file that has the value in it.
    """
    if isinstance(value, dict):
        return {key: with_whole_names(inner, beside) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(with_whole_names(inner, beside) for inner in value)
    if isinstance(value, str) and value.endswith((".json", ".yaml", ".yml")):
        found = find_file(value, beside)
        return value if found is None else str(found.absolute())
    return value
