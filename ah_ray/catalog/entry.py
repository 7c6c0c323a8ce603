"""A catalog entry: the facts about one data set, as a YAML file in ``data_catalog/``.

Where a copy of the data set lies is not among them; the run config says that (``catalog.root``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from ah_ray.yaml_objects import Frozen, build, load_yaml, parse_yaml


class Counts(Frozen):
    """Published sizes; null where nothing is published.

    Attributes:
        positives: videos with the first option of the task's answer.
    """

    videos: int | None = None
    participants: int | None = None
    positives: int | None = None


class Published(Counts):
    """Published sizes of the whole data set and of its splits."""

    splits: dict[str, Counts] = Field(default_factory=dict)


class BahFiles(Frozen):
    """Where the parts of an archive in the format of BAH are, relative to its root.

    Attributes:
        annotations: the YAML file of annotations; may be a glob that matches one file.
        splits: the folder of ``train.txt``, ``val.txt`` and ``test.txt``.
        metadata: the YAML file about the participants; null when there is none.
    """

    annotations: str
    splits: str
    metadata: str | None = None


class CatalogEntry(Frozen):
    """One data set.

    Attributes:
        title: its name.
        reader: the format it is in: ``bah``, ``folder``, ``table``, or ``module:function`` of your
            own, ``(entry, root, answer) -> Catalog``.
        labels: its words for labels, and for each the task's; what is not here is taken as it is.
        citation: what to cite when using it.
        licence: under which terms it may be used.
        access: how to get it.
        consent: flags that a participant must have given, by name, with the value they must
            have; a flag that is not stated is not given. The flags of ``bah`` are in the
            participants' metadata, those of ``table`` are columns.
        files: its parts (reader bah only).
        expected: published sizes to compare a copy with.
    """

    title: str
    reader: str
    citation: str | None = None
    licence: str | None = None
    access: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    consent: dict[str, str] = Field(default_factory=dict)
    files: BahFiles | None = None
    expected: Published = Published()

    @field_validator("consent", "labels", mode="before")
    @classmethod
    def _flags_are_words(cls, value: Any) -> Any:
        """An unquoted Yes or No is a boolean in YAML 1.1."""
        words = {True: "Yes", False: "No"}
        if not isinstance(value, dict):
            return value

        def word(part: Any) -> Any:
            return words[part] if isinstance(part, bool) else part

        return {str(word(key)): word(part) for key, part in value.items()}

    @model_validator(mode="after")
    def _fits_reader(self) -> CatalogEntry:
        if (self.reader == "bah") != (self.files is not None):
            raise ValueError("files are needed by the reader bah and known to no other reader")
        if self.reader == "folder" and self.consent:
            raise ValueError("the reader folder knows no consent flags; use the reader table")
        return self


def load_entry(path: str | Path) -> CatalogEntry:
    """Read and check a file of ``data_catalog/``.

    Raises:
        ConfigError: the file is missing, is no YAML, or holds a wrong key or value.
    """
    return load_yaml(path, CatalogEntry)


def parse_entry(content: bytes, where: str) -> CatalogEntry:
    """The entry in a YAML text; ``where`` names it.

    Raises:
        ConfigError: as ``load_entry``.
    """
    return build(CatalogEntry, parse_yaml(content, where), where)
