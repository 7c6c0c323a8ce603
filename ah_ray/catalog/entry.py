"""A catalog entry: the facts about one data set, as a YAML file in ``data_catalog/``.

Where a copy of the data set lies is not among them; the run config says that (``catalog.root``).
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from ah_ray.catalog.pattern import check_pattern
from ah_ray.yaml_objects import Frozen, Positive, build, load_yaml, parse_yaml


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


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} is no path inside the archive")
    return path


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"{name!r} is no encoding: utf-8, gb18030, latin-1, ...") from None


class VideoTable(Frozen):
    """A CSV file (or a JSON list of lists) that names videos, or several of one form.

    Attributes:
        files: names or globs. Of files that differ about a video the one that is named earlier
            counts; a glob has its files in order of the alphabet.
        header: the columns of a JSON list of lists, in their order; a CSV file has its own.
        labels: the column with a word or a list of words.
        subtitle: the column with what is said in the video.
        split: the column with its split.
        all_in: the split that all videos are in.
        participant: the column with who is in it, or with the recording that it was cut from:
            what is kept in one split.
        attributes: columns that are kept as they are.
        names_videos: whether it says which videos there are; if not, it only adds to those that
            other tables name.
        optional: whether the archive may be without it.
    """

    files: Annotated[tuple[Annotated[str, AfterValidator(_inside)], ...], Field(min_length=1)]
    header: tuple[str, ...] = ()
    labels: str | None = None
    subtitle: str | None = None
    split: str | None = None
    all_in: str | None = None
    participant: str | None = None
    attributes: tuple[str, ...] = ()
    names_videos: bool = True
    optional: bool = False

    @model_validator(mode="after")
    def _one_split(self) -> VideoTable:
        if self.split and self.all_in:
            raise ValueError("split is a column and all_in one split for all: state one of them")
        return self

    @model_validator(mode="after")
    def _header_has_the_columns(self) -> VideoTable:
        if len(set(self.header)) < len(self.header):
            raise ValueError(f"header {list(self.header)} has a column twice")
        if self.header and (missing := [c for c in self.columns if c not in self.header]):
            raise ValueError(f"header {list(self.header)} has no column {missing[0]!r}")
        return self

    @property
    def columns(self) -> list[str]:
        """All columns that are used, but for those that name the video."""
        stated = (self.labels, self.subtitle, self.split, self.participant, *self.attributes)
        return [column for column in stated if column]


class Lists(Frozen):
    """CSV files that say of videos what is known of them (reader ``lists``).

    Attributes:
        videos: where a video may be, with columns in braces (see ``pattern``). Of those whose
            columns a table has, the first one counts where there is a file.
        tables: the files.
        encodings: that a file may be in; used is the one that fits best, of equals the first.
        splits: its words for splits, and for each ours.
        shares: where no table states splits, how large each shall be, as parts of a whole. Every
            participant is put into one by its name alone, whatever else the archive holds.
    """

    videos: Annotated[
        tuple[Annotated[str, AfterValidator(check_pattern)], ...], Field(min_length=1)
    ]
    tables: Annotated[tuple[VideoTable, ...], Field(min_length=1)]
    encodings: Annotated[
        tuple[Annotated[str, AfterValidator(_encoding)], ...], Field(min_length=1)
    ] = ("utf-8",)
    splits: dict[str, str] = Field(default_factory=dict)
    shares: dict[str, Positive] = Field(default_factory=dict)

    @field_validator("videos", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _splits_are_stated_or_drawn(self) -> Lists:
        if self.shares and any(table.split or table.all_in for table in self.tables):
            raise ValueError("shares are for tables without split and all_in: remove one of them")
        return self


class Elan(Frozen):
    """Documents of ELAN (reader ``elan``).

    Attributes:
        tier: that has the labels, with the times where they hold. A video in whose tier nothing is
            has the label that says so, if the task has one.
        shares: how large each split shall be, as in ``Lists``; the documents know of none.
    """

    tier: str
    shares: dict[str, Positive] = Field(default_factory=dict)


class CatalogEntry(Frozen):
    """One data set.

    Attributes:
        title: its name.
        reader: the format it is in: ``bah``, ``elan``, ``folder``, ``lists``, ``table``, or
            ``module:function`` of your own, ``(entry, root, answer) -> Catalog``.
        labels: its words for labels, and for each the task's; what is not here is taken as it is.
        citation: what to cite when using it.
        licence: under which terms it may be used.
        access: how to get it.
        consent: flags that a participant must have given, by name, with the value they must
            have; a flag that is not stated is not given. The flags of ``bah`` are in the
            participants' metadata, those of ``table`` and ``lists`` are columns.
        files: its parts (reader bah only).
        lists: its tables (reader lists only).
        elan: what its documents hold (reader elan only).
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
    lists: Lists | None = None
    elan: Elan | None = None
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
        if (self.reader == "lists") != (self.lists is not None):
            raise ValueError("lists are needed by the reader lists and known to no other reader")
        if (self.reader == "elan") != (self.elan is not None):
            raise ValueError("elan is needed by the reader elan and known to no other reader")
        if self.reader in ("elan", "folder") and self.consent:
            raise ValueError(
                f"the reader {self.reader} knows no consent flags; use the reader table"
            )
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
