"""Where the archive of a run is."""

from __future__ import annotations

from ah_ray.yaml_objects import Frozen


class CatalogConfig(Frozen):
    """Which archive, and where this copy of it is.

    Attributes:
        entry: a file in ``data_catalog/`` that describes the archive.
        root: the folder that holds it (any fsspec URI); ``{run}`` stands for the run directory.
    """

    entry: str
    root: str
