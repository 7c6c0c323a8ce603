"""Catalogs: what an archive contains, read from its own format into rows and findings.

A reader is a function ``(entry, root, answer) -> Catalog``. Those of ours are named here; one of
your own is named ``module:function`` in the entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ah_ray import storage
from ah_ray.catalog import bah, elan, folder, lists, table
from ah_ray.catalog.entry import CatalogEntry, load_entry, parse_entry
from ah_ray.catalog.published import compare_with_published
from ah_ray.catalog.rows import Catalog
from ah_ray.errors import ConfigError
from ah_ray.names import find
from ah_ray.storage_errors import StorageError
from ah_ray.tasks.answers import Answer

__all__ = [
    "Catalog",
    "CatalogEntry",
    "compare_with_published",
    "load_entry",
    "parse_entry",
    "read_catalog",
]

Reader = Callable[[CatalogEntry, str, Answer], Catalog]

READERS: dict[str, Reader] = {
    "bah": bah.read,
    "elan": elan.read,
    "folder": folder.read,
    "lists": lists.read,
    "table": table.read,
}


def read_catalog(entry: CatalogEntry, root: str, answer: Answer) -> Catalog:
    """What the copy of a data set at ``root`` contains.

    Args:
        entry: the data set.
        root: where this copy is, as any fsspec URI: a folder (for the reader folder also a glob
            or a file; for the reader table the table itself).
        answer: the task's, in whose words labels are stated.

    Raises:
        ConfigError: there is no such reader, or nothing usable is there, or not in the format of
            the entry.
    """
    try:
        storage.absolute(root)
    except (ImportError, ValueError) as error:  # of an unknown protocol
        raise ConfigError(
            f"catalog.root: {root}", str(error), "install it, or correct the protocol"
        ) from None
    reader: Reader = find(entry.reader, READERS, "reader")
    try:
        catalog = reader(entry, root, answer)
    except StorageError as error:
        raise ConfigError(
            f"catalog.root: {root}",
            f"cannot be read: {error}",
            "check the path, the permissions and the credentials",
        ) from error
    if not catalog.videos:
        kinds = Counter(finding["kind"] for finding in catalog.findings)
        found = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        raise ConfigError(
            f"catalog.root: {root}",
            f"has no usable video ({found or 'nothing is there'})",
            "check the path, and that the catalog entry has the right reader",
        )
    return catalog
