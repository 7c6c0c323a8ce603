"""How long does planning a large archive take: a table of videos in, a clip manifest out?

Writes a table of 100,000 rows that point at four short videos, then runs the stages, each in a
driver process of its own:

- catalog: the table becomes the videos table;
- prepare: every row is probed and segmented into virtual clips, by Ray on this machine's CPUs;
- again: prepare once more, which finds nothing to do.

    python benchmarks/planning.py --rows 100000

Prints a table, then one JSON object. Memory is the peak of the driver's resident set.
``prepare_vs_probe`` is the time that prepare takes on all CPUs against that of the probes alone,
made one after the other in one process, divided by the number of CPUs. For Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from ah_ray import cli
from ah_ray.media.probe import probe
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import console

CONFIG = Path(__file__).parents[1] / "jobs" / "paper.yaml"
LENGTHS_S = (4, 8, 12, 20)  # of the videos
STAGES = {"catalog": "catalog", "prepare": "prepare", "again": "prepare"}


def write_videos(folder: Path) -> list[Path]:
    """A video of each length."""
    videos = []
    for seconds in LENGTHS_S:
        picture = ffmpeg.input(f"testsrc2=s=320x180:r=15:d={seconds}", f="lavfi")
        sound = ffmpeg.input(f"sine=d={seconds}", f="lavfi")
        video = folder / f"{seconds}.mp4"
        written = ffmpeg.output(picture, sound, str(video), pix_fmt="yuv420p", v="error")
        written.run(cmd=imageio_ffmpeg.get_ffmpeg_exe())
        videos.append(video)
    return videos


def write_archive(folder: Path, rows: int) -> tuple[Path, Path]:
    """A catalog entry, and the table of videos that it describes."""
    videos = write_videos(folder)
    table, entry = folder / "videos.parquet", folder / "entry.yaml"
    columns = {
        "video_id": [f"video-{number:07}" for number in range(rows)],
        "uri": [str(videos[number % len(videos)]) for number in range(rows)],
        "participant_id": [f"participant-{number // 7:06}" for number in range(rows)],
    }
    pq.write_table(pa.table(columns), table)
    entry.write_text("title: a large archive\nreader: table\n")
    return entry, table


def probe_seconds(folder: Path, times: int = 25) -> float:
    """How long one of the videos takes to be probed, on average."""
    videos = [str(video) for video in folder.glob("*.mp4")] * times
    start = time.perf_counter()
    for video in videos:
        probe(video)
    return (time.perf_counter() - start) / len(videos)


def measure(stage: str, run: str, entry: str, table: str) -> None:
    """Run a stage in this process, and print its seconds and its peak of memory as JSON."""
    options = ["--config", str(CONFIG), "--run", run]
    for setting in (f"catalog.entry={entry}", f"catalog.root={table}", "train.splits=[]"):
        options += ["--set", setting]
    start = time.perf_counter()
    cli.app([STAGES[stage], *options], standalone_mode=False)
    seconds = time.perf_counter() - start
    peak_kb = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    print(json.dumps({"seconds": seconds, "peak_mb": int(peak_kb) * 1024 / 1e6}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(*options.measure)
    with tempfile.TemporaryDirectory() as name:
        archive = write_archive(Path(name), options.rows)
        run = RunDirectory.at(f"{name}/run")
        found: dict[str, dict[str, float]] = {}
        for stage in STAGES:
            command = [sys.executable, __file__, "--measure", stage, run.uri, *map(str, archive)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[stage] = json.loads(done.stdout.splitlines()[-1])
        probes_s = probe_seconds(Path(name)) * options.rows
        clips = run.clips(SCORING)
        planned = len(set(clips["video_id"].to_pylist()))
        files = len(list(Path(run.uri).rglob("*.parquet")))
    if planned != options.rows:
        raise SystemExit(f"{planned} of {options.rows} videos are in the manifest")
    result: dict[str, float] = {"rows": options.rows, "clips": len(clips), "parquet_files": files}
    table = Table("stage", "seconds", "rows/s", "peak MB of the driver")
    table.title = f"{options.rows} videos, {len(clips)} clips, {files} files, {os.cpu_count()} CPUs"
    for stage, values in found.items():
        rate = options.rows / values["seconds"]
        table.add_row(stage, f"{values['seconds']:.1f}", f"{rate:.0f}", f"{values['peak_mb']:.0f}")
        result |= {f"{stage}_seconds": values["seconds"], f"{stage}_peak_mb": values["peak_mb"]}
        result |= {f"{stage}_rows_per_s": rate}
    result["wall_seconds"] = sum(values["seconds"] for values in found.values())
    cpus = os.cpu_count() or 1
    result["prepare_vs_probe"] = found["prepare"]["seconds"] * cpus / probes_s
    console.print(table)
    print(json.dumps({name: round(value, 2) for name, value in result.items()}))


if __name__ == "__main__":
    main()
