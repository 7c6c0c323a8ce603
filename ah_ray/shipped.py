"""Files that people name: where they stand, or among those that come with the package.

The run configs of ``jobs/`` and the entries of ``data_catalog/`` lie beside the package in a
checkout; a wheel has copies of them inside (``setup.py``).
"""

from __future__ import annotations

from pathlib import Path

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
