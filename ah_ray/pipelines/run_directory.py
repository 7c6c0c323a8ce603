"""The run directory: where each table lies, and which settings made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ah_ray import schemas, storage
from ah_ray.errors import ConfigError
from ah_ray.yaml_objects import differences

TRAINING, SCORING = "training", "scoring"


@dataclass(frozen=True)
class RunDirectory:
    """One run: a folder on any fsspec URI that holds all of its tables."""

    uri: str

    @classmethod
    def at(cls, uri: str) -> RunDirectory:
        """The run at ``uri``; a local path is made absolute for workers elsewhere."""
        return cls(storage.absolute(uri))

    def path(self, *parts: str) -> str:
        """A file or folder in the run."""
        return storage.join(self.uri, *parts)

    def videos(self) -> pa.Table:
        """The catalog's videos.

        Raises:
            ConfigError: the catalog stage has not run.
        """
        self.require("videos", "ah-ray catalog")
        return storage.read_table(self.path("videos"), schemas.VIDEOS)

    def clips_path(self, segmentation: str) -> str:
        """The folder of one manifest."""
        return self.path("clips", f"segmentation={segmentation}")

    def clips(self, segmentation: str) -> pa.Table:
        """The manifest of training or of scoring clips, each clip once.

        Clips of videos that a later reading of the catalog left out, such as when somebody took
        back their consent, are not in it.
        """
        table = storage.read_table(self.clips_path(segmentation), schemas.CLIPS)
        if storage.exists(self.path("videos")):
            table = table.filter(pc.is_in(table["video_id"], self.videos()["video_id"]))
        return _unique(table, "clip_id").sort_by(
            [("video_id", "ascending"), ("start_s", "ascending")]
        )

    def predictions_path(self, member: str) -> str:
        """The folder of one member's predictions."""
        return self.path("predictions", f"member={member}")

    def predictions(self) -> pa.Table:
        """Every member's predictions, with a column ``member``."""
        return storage.read_table(self.path("predictions"), schemas.PREDICTIONS, "member")

    def verdicts(self) -> pa.Table:
        """The verdicts.

        Raises:
            ConfigError: the reduce stage has not run.
        """
        self.require("verdicts", "ah-ray reduce")
        return storage.read_table(self.path("verdicts"), schemas.VERDICTS)

    def findings_path(self, stage: str) -> str:
        """The folder of one stage's findings."""
        return self.path("findings", f"stage={stage}")

    def findings(self) -> pa.Table:
        """Every stage's findings, each once, with a column ``stage``."""
        table = storage.read_table(self.path("findings"), schemas.FINDINGS, "stage")
        return table.group_by(table.column_names).aggregate([])

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
            text = yaml.safe_dump({**known, **settings}, sort_keys=True, allow_unicode=True)
            storage.write_bytes(self.path("run.yaml"), text.encode())

    def settings(self) -> dict[str, Any]:
        """What was claimed and noted."""
        path = self.path("run.yaml")
        known = yaml.safe_load(storage.read_bytes(path)) if storage.exists(path) else {}
        return dict(known)


def _unique(table: pa.Table, column: str) -> pa.Table:
    """``table`` with the first row of each value of ``column``."""
    first = (
        table.select([column])
        .append_column("row", pa.array(range(len(table)), pa.int64()))
        .group_by(column)
        .aggregate([("row", "min")])
    )
    return table.take(first["row_min"].sort())
