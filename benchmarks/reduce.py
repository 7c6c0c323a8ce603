"""How does reducing an archive compare with DuckDB doing a maximum and a vote in SQL?

Writes a scored run of ``--rows`` clips (20 of a video on average), each answered by three members,
as the stages write it; then judges it, each time in a process of its own:

- ours: ``reduce``, from the run directory to its verdicts;
- duckdb: a maximum over clips and a majority over members, of the same Parquet files to one more.

    python benchmarks/reduce.py --rows 1000000 10000000

Prints a table, then one JSON object: ``vs_duckdb`` is our time divided by DuckDB's, by size, the
median of pairs with the least and the largest (``spread``), ``cpu_vs_duckdb`` the same of the time
of CPUs, which other work on the machine changes less; ``peak_gb`` is the largest resident set of
ours. Both have all CPUs, files that were just written, and a clock that starts after imports; the
labels and the scores of both must be the same.

What ours does in addition: it reads the manifest, so that a clip without an answer counts as
missing; leaves out clips and answers that are not made from the catalog, members and settings that
there are now; counts each clip once; and writes for every label of every member and of the ensemble
the chance and the clip that shows it, how many answers ended how, and a fingerprint of all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from ah_ray import lineage, schemas, storage, tables
from ah_ray.hashing import hexadecimal
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import (
    MEMBER_FILE,
    Member,
    MemberCard,
    member_fingerprint,
    read_member,
    write_card,
)
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.reduce import reduce
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import console
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig

TASK, MEMBERS = "ambivalence_hesitancy", ("v1", "v2", "v3")
CLIPS, CLIP_S = 20, 5.0  # of a video on average, and how long each is
FILE_VIDEOS, GROUP_ROWS = 50_000, 1 << 17  # of a file of the run
LOST = {"error": 0.005, "unparseable": 0.005}  # how many answers are none
ASKED = {"engine": "transformers", "engine_args": {}}

SQL = """
copy (
    select video_id, sum(yes) * 2 > count(*) as yes, avg(chance) as chance
    from (
        select video_id, member, max((labels[1] = 'Yes')::int) as yes, max(chances['Yes']) as chance
        from read_parquet('{run}/predictions/*/*.parquet', hive_partitioning = true)
        where status = 'ok'
        group by video_id, member
    )
    group by video_id
) to '{out}' (format parquet, compression zstd)
"""

Draw = np.random.Generator


def make_member(folder: Path, name: str) -> Member:
    """A member as training leaves it, with next to no weights."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(name.encode())
    card = MemberCard(
        name=name, weights="full", task=TASK, prompt="short", model=ModelConfig(path="base"),
        media=MediaConfig(), segmentation=SegmentationConfig(),
    )  # fmt: skip
    (folder / MEMBER_FILE).write_bytes(write_card(card))
    return read_member(str(folder))


def write_run(folder: Path, rows: int) -> None:
    """A scored run of ``rows`` clips."""
    draw, run = np.random.default_rng(0), RunDirectory.at(str(folder))
    members = [make_member(folder / "members" / name, name) for name in MEMBERS]
    rule = {"segmentation": SegmentationConfig().model_dump()}
    run.remember({"asked": ASKED, "manifests": {SCORING: {"rule": rule, "limits": {}}}})
    ids = np.sort(draw.integers(0, 2**63, max(rows // CLIPS, 1), np.uint64))
    writers = {}
    left = rows
    for start in range(0, len(ids), FILE_VIDEOS):
        videos = _videos(ids[start : start + FILE_VIDEOS], draw)
        number = draw.integers(1, 2 * CLIPS, len(videos))
        if start + FILE_VIDEOS >= len(ids):
            number[-1] = max(left - number[:-1].sum(), 1)
        left -= number.sum()
        file = f"part-{start // FILE_VIDEOS:05}.parquet"
        _append(writers, run.path("videos", "part-0.parquet"), videos)
        clips = _clips(videos, number, rule, draw)
        _append(writers, storage.join(run.clips_path(SCORING), file), clips)
        rows_of_videos = lineage.rows_of(
            [videos[name].combine_chunks() for name in ("video_id", "content")]
        )
        for member in members:
            made = lineage.fingerprints((member_fingerprint(member), ASKED), rows_of_videos)
            answers = _answers(clips, pa.array(np.repeat(made, number)), draw)
            _append(writers, storage.join(run.predictions_path(member.name), file), answers)
    for writer in writers.values():
        writer.close()


def _append(writers: dict[str, pq.ParquetWriter], uri: str, table: pa.Table) -> None:
    if uri not in writers:
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        writers[uri] = pq.ParquetWriter(uri, table.schema, compression="zstd")
    writers[uri].write_table(table, row_group_size=GROUP_ROWS)


def _videos(ids: npt.NDArray[np.uint64], draw: Draw) -> pa.Table:
    names = hexadecimal(ids)
    people = draw.integers(0, len(ids), len(ids))
    rows = {
        "video_id": names,
        "uri": pa.array([f"/archive/{name}.mp4" for name in names.to_pylist()]),
        "content": hexadecimal(draw.integers(0, 2**63, len(ids), np.uint64)),
        "participant_id": pa.array([f"p{person}" for person in people]),
        "split": pa.array(["test"] * len(ids)),
    }
    return _table(rows, schemas.VIDEOS)


def _clips(
    videos: pa.Table, number: npt.NDArray[np.int64], rule: dict[str, object], draw: Draw
) -> pa.Table:
    made = lineage.scoring_clips_made_from(videos, rule)
    of = pa.array(np.repeat(np.arange(len(videos)), number))
    place = np.arange(len(of)) - np.repeat(np.cumsum(number) - number, number)
    rows = {
        name: videos[name].take(of) for name in ("video_id", "participant_id", "split", "content")
    }
    rows |= {
        "clip_id": hexadecimal(draw.integers(0, 2**63, len(of), np.uint64)),
        "source_uri": videos["uri"].take(of),
        "segment_index": pa.array(np.zeros(len(of), np.int32)),
        "clip_index": pa.array(place.astype(np.int32)),
        "start_s": pa.array(place * CLIP_S),
        "end_s": pa.array(place * CLIP_S + CLIP_S),
        "made_from": pa.array(made).take(of),
    }
    return _table(rows, schemas.CLIPS)


def _answers(clips: pa.Table, made_from: pa.Array, draw: Draw) -> pa.Table:
    size = len(clips)
    status = draw.choice(3, size, p=[1 - sum(LOST.values()), *LOST.values()])
    answered = status == 0
    chance = draw.beta(0.1, 2.0, size).astype(np.float32).astype(np.float64)
    said = pa.array(["No", "Yes"]).take(pa.array((chance >= 0.5).astype(np.int8)[answered]))
    offsets = pa.array(np.append(0, np.cumsum(answered)).astype(np.int32))
    none = pa.array(~answered)
    pairs = np.stack([chance, 1 - chance], axis=1)[answered].ravel()
    keys = pa.array(["Yes", "No"]).take(pa.array(np.tile([0, 1], int(answered.sum()))))
    twice = pa.array(np.append(0, 2 * np.cumsum(answered)).astype(np.int32))
    rows = {
        "clip_id": clips["clip_id"],
        "video_id": clips["video_id"],
        "status": pa.array(["ok", *LOST]).take(pa.array(status)),
        "labels": pa.ListArray.from_arrays(offsets, said, mask=none),
        "chances": pa.MapArray.from_arrays(twice, keys, pa.array(pairs), mask=none),
        "mass": pa.array(draw.random(size, np.float32).astype(np.float64), mask=~answered),
        "damage": pa.array(np.zeros(size, np.int32)),
        "attempts": pa.array(np.ones(size, np.int32)),
        "error_kind": pa.array([None, "decode"]).take(pa.array((status == 1).astype(np.int8))),
        "made_from": made_from,
    }
    return _table(rows, schemas.PREDICTIONS)


def _table(rows: dict[str, pa.Array], schema: pa.Schema) -> pa.Table:
    size = len(next(iter(rows.values())))
    return pa.table([rows.get(f.name, pa.nulls(size, f.type)) for f in schema], schema)


@contextmanager
def measuring() -> Iterator[dict[str, float]]:
    """What something takes: seconds, those of CPUs, and the peak of this process's memory in GB."""
    found: dict[str, float] = {}
    start, cpu = time.perf_counter(), time.process_time()
    yield found
    found["seconds"] = time.perf_counter() - start
    found["cpu_seconds"] = time.process_time() - cpu
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def ours(folder: Path) -> dict[str, float]:
    """Reduce; what it takes."""
    import ray.util.metrics  # noqa: F401  (what progress imports)

    members = [read_member(str(folder / "members" / name)) for name in MEMBERS]
    judgement = load_task(TASK).judged(ReduceConfig())
    with measuring() as found:
        reduce(RunDirectory.at(str(folder)), members, judgement)
    return found


def duckdb(folder: Path) -> dict[str, float]:
    """The same by SQL."""
    import duckdb as engine

    settings = {"threads": len(os.sched_getaffinity(0)), "memory_limit": "4GB"}
    with measuring() as found, engine.connect(config=settings) as connection:
        connection.execute(SQL.format(run=folder, out=folder / "duckdb.parquet"))
    return found


WAYS = {"ours": ours, "duckdb": duckdb}


def measured(way: str, folder: Path) -> dict[str, float]:
    """One way in a process of its own; see ``measuring``."""
    command = [sys.executable, __file__, "--measure", way, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def require_same(folder: Path) -> None:
    """Fail unless both ways say the same of every video."""
    columns = ["video_id", "labels", "considered"]
    mine = tables.read_table(str(folder / "verdicts"), schemas.VERDICTS).select(columns)
    theirs = pq.read_table(folder / "duckdb.parquet").sort_by("video_id")
    said = mine["labels"].combine_chunks().flatten().to_pylist()
    first = mine["considered"].combine_chunks().flatten().field("chance").to_numpy()[::2]
    if (
        mine["video_id"].to_pylist() != theirs["video_id"].to_pylist()
        or said != [("No", "Yes")[yes] for yes in theirs["yes"].to_pylist()]
        or not np.allclose(first, theirs["chance"].to_numpy(), rtol=1e-12)
    ):
        raise SystemExit("the two ways disagree")


def compared(rows: int, repeats: int, folder: Path) -> dict[str, float]:
    """Both ways at one size."""
    start = time.perf_counter()
    write_run(folder, rows)
    size_gb = sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e9
    console.print(f"{rows} clips: {size_gb:.2f} GB in {time.perf_counter() - start:.0f} s")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            found[way].append(measured(way, folder))
    require_same(folder)
    pairs = zip(found["ours"], found["duckdb"], strict=True)
    ratios = [one["seconds"] / other["seconds"] for one, other in pairs]
    result = {"vs_duckdb": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    for way, some in found.items():
        result[f"{way}_seconds"] = statistics.median(one["seconds"] for one in some)
        result[f"{way}_cpu"] = statistics.median(one["cpu_seconds"] for one in some)
        result[f"{way}_peak_gb"] = max(one["peak_gb"] for one in some)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=5, help="of sizes below 100 million; else 1")
    parser.add_argument("--folder", default=None, help="where there is room for the runs")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "RUN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(WAYS[options.measure[0]](Path(options.measure[1]))))
        return
    found = {}
    for rows in options.rows:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            repeats = options.repeats if rows < 100_000_000 else 1
            found[rows] = compared(rows, repeats, folder)
        finally:
            shutil.rmtree(folder)
    names = {"ours_seconds": "ours s", "ours_cpu": "CPU s", "ours_peak_gb": "GB",
             "duckdb_seconds": "DuckDB s", "duckdb_cpu": "CPU s", "duckdb_peak_gb": "GB",
             "vs_duckdb": "ours / DuckDB", "least": "least", "most": "most"}  # fmt: skip
    table = Table("clips x 3", *names.values())
    for rows, of in found.items():
        table.add_row(str(rows), *(f"{of[name]:.2f}" for name in names))
    console.print(table)
    result: dict[str, dict[str, float | list[float]]] = {
        name: {str(rows): round(of[key], 2) for rows, of in found.items()}
        for name, key in {"vs_duckdb": "vs_duckdb", "peak_gb": "ours_peak_gb"}.items()
    }
    for rows, of in found.items():
        result.setdefault("spread", {})[str(rows)] = [round(of[k], 2) for k in ("least", "most")]
        ratio = of["ours_cpu"] / of["duckdb_cpu"]
        result.setdefault("cpu_vs_duckdb", {})[str(rows)] = round(ratio, 2)
        for key in ("ours_seconds", "duckdb_seconds", "duckdb_peak_gb"):
            result.setdefault(key, {})[str(rows)] = round(of[key], 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
