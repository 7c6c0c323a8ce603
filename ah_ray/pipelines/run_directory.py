"""The run directory: where each table lies, which settings made it, and which rows still hold.

A run can be moved or copied: what lies in it is stored relative to it and resolved here. URIs in
what these methods return are whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ah_ray import lineage, schemas, storage, tables
from ah_ray.errors import ConfigError
from ah_ray.findings import LEFT_OUT
from ah_ray.progress import Cost
from ah_ray.schemas import stable_id
from ah_ray.yaml_objects import differences, parse_yaml

TRAINING, SCORING = "training", "scoring"

#: Of a run's tables and of ``run.yaml``; a run that states none is of format 1. Who changes what
#: a table means counts it up, so that a run is read as it was meant or refused.
FORMAT = 2

#: The one column of clips that says which videos have any.
VIDEO_IDS = schemas.columns(schemas.CLIPS, ["video_id"], coded=["video_id"])

# Of a manifest: which clip, whether it holds, and where it comes.
_DECIDING = schemas.columns(
    schemas.CLIPS, ["clip_id", "video_id", "start_s", "made_from"], coded=["video_id", "made_from"]
)

_WHOLE = r"^(/|[A-Za-z][A-Za-z0-9+.-]*://)"  # a URI that is not relative


@dataclass(frozen=True)
class RunDirectory:
    """One run: a folder on any fsspec URI that holds all of its tables.

    Attributes:
        uri: the folder.
        root: what URIs in its tables are relative to: the folder itself, or for a run inside of
            another one, that one's.
    """

    uri: str
    root: str

    @classmethod
    def at(cls, uri: str) -> RunDirectory:
        """The run at ``uri``; a local path is made absolute for workers elsewhere."""
        folder = storage.absolute(uri)
        return cls(folder, folder)

    def within(self, name: str) -> RunDirectory:
        """A run of its own in a folder of this one, which moves with it."""
        return RunDirectory(self.path(name), self.root)

    def inside(self, uri: str) -> str:
        """``uri`` as it is stored: relative when it lies in the run."""
        relative = uri.removeprefix(f"{self.root}/")
        return uri if re.match(_WHOLE, relative) else relative

    def outside(self, uri: str) -> str:
        """The whole URI of one that is stored."""
        return uri if re.match(_WHOLE, uri) else f"{self.root}/{uri}"

    def stored(self, table: pa.Table) -> pa.Table:
        """``table`` with its URIs as they are stored."""
        for name in set(schemas.URIS) & set(table.column_names):
            column = [uri and self.inside(uri) for uri in table[name].to_pylist()]
            table = _with(table, name, pa.array(column, pa.string()))
        return table

    def resolved(self, table: pa.Table) -> pa.Table:
        """``table`` with whole URIs."""
        for name in set(schemas.URIS) & set(table.column_names):
            column = table[name]
            if pa.types.is_dictionary(column.type):
                coded = column.unify_dictionaries().combine_chunks()
                uris = self._resolved(coded.dictionary)
                column = pa.DictionaryArray.from_arrays(coded.indices, uris)
            else:
                column = self._resolved(column)
            table = _with(table, name, column)
        return table

    def _resolved(self, uris: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        whole = pc.binary_join_element_wise(self.root, uris, "/")
        return pc.if_else(pc.match_substring_regex(uris, _WHOLE), uris, whole)

    def path(self, *parts: str) -> str:
        """A file or folder in the run."""
        return storage.join(self.uri, *parts)

    def videos(self) -> pa.Table:
        """The catalog's videos.

        Raises:
            ConfigError: the catalog stage has not run.
        """
        return self.resolved(self._stored_videos())

    def _stored_videos(self) -> pa.Table:
        self.require("videos", "ah-ray catalog")
        return tables.read_table(self.path("videos"), schemas.VIDEOS)

    def write_videos(self, videos: pa.Table) -> None:
        """Write the catalog's videos in place of those of an earlier reading."""
        tables.write_table(self.stored(videos), self.path("videos", "part-0.parquet"))

    def clips_path(self, purpose: str) -> str:
        """The folder of one manifest."""
        return self.path("clips", f"purpose={purpose}")

    def clips(
        self,
        purpose: str,
        schema: pa.Schema = schemas.CLIPS,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """The manifest of training or of scoring clips, each clip once, in order.

        Only rows that hold: a clip of a video that a later reading of the catalog left out
        (somebody took back their consent) or states otherwise (a label was mended) is not in it.

        Args:
            purpose: ``TRAINING`` or ``SCORING``.
            schema: which of its columns; a dictionary in the place of a string is read so, which
                takes a fraction of the memory where clips of a video have the same.
            where: only the clips of which this is true; by default, all.

        Raises:
            ConfigError: what ``prepare`` noted about the manifest is lost.
        """
        there = set(schema.names)
        read = pa.schema([*schema, *(field for field in _DECIDING if field.name not in there)])
        table = tables.read_table(self.clips_path(purpose), read, where=where).unify_dictionaries()
        current, ids = self.made_from(purpose), None
        if current is None and storage.exists(self.path("videos")):
            ids = self._stored_videos()["video_id"]
        made_from = None if current is None else current.values()
        table = tables.only(table, self.hold(table, made_from, ids))
        table = _unique(self.resolved(table), "clip_id")
        order = np.lexsort((table["start_s"].to_numpy(), tables.ranks(table["video_id"])))
        return table.select(schema.names).take(pa.array(order))

    def prepared(self, purpose: str) -> set[str]:
        """The videos that have clips in a manifest which hold."""
        return set(pc.unique(self.clips(purpose, VIDEO_IDS)["video_id"]).to_pylist())

    def hold(
        self, clips: pa.Table, made_from: Collection[str] | None, videos: pa.ChunkedArray | None
    ) -> pa.ChunkedArray:
        """Of each clip of a manifest, whether it is made from what there is now.

        Args:
            clips: columns of ``schemas.CLIPS``.
            made_from: what the clips of the catalog's videos would be made from; None where
                ``prepare`` has noted no rule: whoever else wrote the manifest answers for it.
            videos: the ids of the catalog's videos, for such a manifest; None without a catalog.

        Raises:
            ConfigError: what ``prepare`` noted about the manifest is lost.
        """
        if made_from is not None:
            return lineage.holds(clips, set(made_from))
        if len(clips) > clips["made_from"].null_count:
            raise ConfigError(
                self.path("run.yaml"),
                "does not say any more how the manifest was made",
                "bring it back, or run `ah-ray prepare`",
            )
        ids = clips["video_id"].cast(pa.string())
        return pc.is_valid(ids) if videos is None else pc.is_in(ids, videos.combine_chunks())

    def made_from(self, purpose: str) -> dict[str, str] | None:
        """What the clips of each of the catalog's videos are made from now, by video_id.

        None when ``prepare`` has not noted a rule: whoever else wrote the manifest answers for it.
        """
        rule = self.settings().get("manifests", {}).get(purpose)
        if rule is None:
            return None
        videos = self._stored_videos()
        if purpose == SCORING:
            made = lineage.scoring_clips_made_from(videos, rule["rule"])
            return dict(zip(videos["video_id"].to_pylist(), made, strict=True))
        rows = videos.drop_columns(["attributes"]).to_pylist()
        return lineage.clips_made_from(rows, True, rule["rule"])

    def left_out(self, purpose: str) -> set[str]:
        """The videos that were left out of a manifest, each with a finding that says why."""
        path = self.findings_path(f"prepare_{purpose}")
        findings = tables.read_table(path, schemas.FINDINGS)
        if (current := self.made_from(purpose)) is not None:
            limits = self.settings()["manifests"][purpose]["limits"]
            made = {lineage.left_out_made_from(clips, limits) for clips in current.values()}
            findings = findings.filter(lineage.holds(findings, made))
        kinds = pa.array(sorted(LEFT_OUT), pa.string())
        return set(findings.filter(pc.is_in(findings["kind"], kinds))["item_id"].to_pylist())

    def predictions_path(self, member: str) -> str:
        """The folder of one member's predictions."""
        return self.path("predictions", f"member={member}")

    def predictions(self) -> pa.Table:
        """Every member's predictions, with a column ``member``; also those that hold no more."""
        return tables.read_table(self.path("predictions"), schemas.PREDICTIONS, "member")

    def answers(
        self,
        members: Mapping[str, str],
        clips: pa.Table,
        how: Any = None,
        where: pc.Expression | None = None,
        columns: Sequence[str] = tuple(schemas.PREDICTIONS.names),
    ) -> pa.Table:
        """The predictions of some members that hold, with a column ``member``.

        Args:
            members: their fingerprints by name.
            clips: the manifest of scoring clips, or some of them whose answers are read.
            how: they were asked (``lineage.asked_how``); by default, as scoring noted it last.
            where: read only the answers of which this is true; by default, all.
            columns: of ``schemas.PREDICTIONS``; ``made_from`` is one of them.
        """
        how = how or self.settings().get("asked")
        schema = schemas.columns(schemas.PREDICTIONS, columns)
        parts = [schema.append(pa.field("member", pa.string())).empty_table()]
        for name, member in sorted(members.items()):
            table = tables.read_table(self.predictions_path(name), schema, where=where)
            made = answers_made_from(member, how, clips)
            table = table.filter(lineage.holds(table, made))
            parts.append(table.append_column("member", pa.array([name] * len(table), pa.string())))
        return pa.concat_tables(parts)

    def verdicts(self) -> pa.Table:
        """The verdicts.

        Raises:
            ConfigError: the reduce stage has not run.
        """
        self.require("verdicts", "ah-ray reduce")
        return self.resolved(tables.read_table(self.path("verdicts"), schemas.VERDICTS))

    def findings_path(self, stage: str) -> str:
        """The folder of one stage's findings."""
        return self.path("findings", f"stage={stage}")

    def findings(self) -> pa.Table:
        """Every stage's findings, each once, with a column ``stage``."""
        table = tables.read_table(self.path("findings"), schemas.FINDINGS, "stage")
        return table.group_by(table.column_names).aggregate([])

    def note_cost(self, cost: Cost) -> None:
        """Add a row to ``schemas.COSTS``."""
        ended = datetime.now(UTC)
        name = f"{ended:%Y%m%dT%H%M%S.%f}-{stable_id(*cost)}.parquet"
        tables.write_rows(
            [cost._asdict() | {"ended_at": ended}], schemas.COSTS, self.path("costs", name)
        )

    def costs(self) -> pa.Table:
        """What stages have taken."""
        return tables.read_table(self.path("costs"), schemas.COSTS)

    def require(self, part: str, command: str) -> None:
        """Fail unless ``part`` of the run exists.

        Raises:
            ConfigError: naming the command that makes it.
        """
        if not storage.exists(self.path(part)):
            raise ConfigError(self.path(part), "is not there yet", f"run `{command}` first")

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Bind the run to the settings that its tables depend on.

        Raises:
            ConfigError: the run was made with other settings; its tables would not fit.
        """
        known = self.settings()
        differing = [
            found
            for key, value in settings.items()
            if key in known
            for found in differences(known[key], value, key)
        ]
        if differing:
            raise ConfigError(
                f"{self.path('run.yaml')}: {', '.join(key for key, _, _ in differing)}",
                "; ".join(
                    f"the run was made with {key} {before}, now it is {now}"
                    for key, before, now in differing
                ),
                "give a new --run, or restore the setting",
            )
        self.remember(settings)

    def remember(self, settings: Mapping[str, Any]) -> None:
        """Note settings, in place of what was noted before."""
        known = self.settings()
        if not settings.items() <= known.items():
            noted = {"format": FORMAT, **known, **settings}
            text = yaml.safe_dump(noted, sort_keys=True, allow_unicode=True)
            storage.write_bytes(self.path("run.yaml"), text.encode())

    def settings(self) -> dict[str, Any]:
        """What was claimed and noted.

        Raises:
            ConfigError: it cannot be read, or a version of this software that writes other tables
                has made the run.
        """
        known = self._noted()
        if (stated := _format_of(known)) != FORMAT:
            raise ConfigError(
                f"{self.path('run.yaml')}: format",
                f"is {stated!r}, and this version of ah_ray reads and writes format {FORMAT}",
                "use the version that made the run, or give a new --run",
            )
        return known

    def is_readable(self) -> bool:
        """Whether this version of the software reads its tables; what else is there, it may use."""
        return _format_of(self._noted()) == FORMAT

    def _noted(self) -> dict[str, Any]:
        path = self.path("run.yaml")
        return parse_yaml(storage.read_bytes(path), path) if storage.exists(path) else {}


def _format_of(noted: Mapping[str, Any]) -> object:
    """Of the tables of a run whose ``run.yaml`` says ``noted``."""
    return noted.get("format", 1 if noted else FORMAT)


def answers_made_from(member: str, how: Any, clips: pa.Table) -> set[str]:
    """What a member's answers are made from now.

    Args:
        member: its fingerprint.
        how: see ``lineage.asked_how``.
        clips: ``schemas.CLIPS``.
    """
    rows = asked_rows(lineage.counting(member), clips)
    return set(lineage.fingerprints((member, how), rows))


def asked_rows(names: Sequence[str], clips: pa.Table) -> pa.Array:
    """Each combination of some columns of clips, for ``lineage.fingerprints``; some twice."""
    asked = clips.select(list(names)).unify_dictionaries().combine_chunks()
    if len(asked) > 1:  # clips of a video lie together: what is asked twice in a row is one
        ids = (_codes(asked[name]) for name in names)
        changes = np.any([one[1:] != one[:-1] for one in ids], axis=0)
        asked = asked.filter(pa.array(np.append(True, changes)))
    return lineage.rows_of([asked[name].combine_chunks().cast(pa.string()) for name in names])


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    coded = column.combine_chunks()
    coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
    codes: npt.NDArray[np.int64] = pc.fill_null(coded.indices, -1).to_numpy()
    return codes


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _unique(table: pa.Table, column: str) -> pa.Table:
    """``table`` with the first row of each value of ``column``."""
    if pc.count_distinct(table[column], mode="all").as_py() == len(table):
        return table
    first = (
        table.select([column])
        .append_column("row", pa.array(range(len(table)), pa.int64()))
        .group_by(column)
        .aggregate([("row", "min")])
    )
    return table.take(first["row_min"].sort())
