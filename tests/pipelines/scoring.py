"""What tests of scoring share: light settings, a manifest over real videos, what was written."""

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ah_ray import schemas, storage, tables
from ah_ray.engines.config import ScoreConfig
from ah_ray.pipelines.run_directory import RunDirectory

SECONDS = {"normal": 2.5, "deadly": 1.7, "hanging": 2.2}


def settings(engine: str = "LightEngine", **values: Any) -> ScoreConfig:
    defaults = {"batch_size": 4, "cpus_per_actor": 0.5, "cpus_per_decoder": 0.5, "max_attempts": 2}
    return ScoreConfig(
        engine=f"tests.pipelines.light_engines:{engine}", **{**defaults, **values}
    )  # fmt: skip


def write_manifest(
    run: RunDirectory,
    videos: Sequence[Path | str],
    kinds: list[str],
    said: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Three clips of each video; those of the first are of ``kinds``.

    ``said`` is what is said in some of them, by their ids.
    """
    rows = []
    for number, video in enumerate(videos):
        for index in range(3):
            seconds = SECONDS[kinds[index] if number == 0 and index < len(kinds) else "normal"]
            rows.append(
                {
                    "clip_id": f"{number}-{index}", "video_id": str(number),
                    "source_uri": str(video), "start_s": 0.1 * index,
                    "end_s": 0.1 * index + seconds, "bucket": "2x64x64",
                    "subtitle": said.get(f"{number}-{index}"),
                }
            )  # fmt: skip
    path = storage.join(run.clips_path("scoring"), "part-0.parquet")
    tables.write_rows(rows, schemas.CLIPS, path)


def predictions(run: RunDirectory) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.predictions().to_pylist()
    return sorted(rows, key=operator.itemgetter("member", "clip_id"))


def without(rows: list[dict[str, Any]], *columns: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in columns} for row in rows]
