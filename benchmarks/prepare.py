"""What do prepare and decode cost, beside what they replace and beside ffmpeg's own floors?

The same clips of the same sources, by turns:

- serial: the paper's way, two ffmpeg runs per clip (MP4, then WAV of that) one after the other;
- 8 threads: the same with eight clips at a time;
- cut: ours, all clips as files;
- decode: ours, what scoring pays: all clips as the model gets them, nothing written;
- plain decode: one ffmpeg run that decodes picture and sound and throws them away;
- transcode: one ffmpeg run that encodes the source once, as ``cut`` does, and writes its WAV.

Then two workers against one (each has a CPU), and the peak of a worker's memory.

    python benchmarks/prepare.py
    python benchmarks/prepare.py --videos 'archive/*.mp4'

Prints tables, then one JSON object. For Linux.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ffmpeg
import imageio_ffmpeg
import ray
from rich.table import Column, Table

from ah_ray import schemas, tables
from ah_ray.cluster import connect
from ah_ray.config import RunConfig, load_config
from ah_ray.media import cut as cutting
from ah_ray.media.cut import cut
from ah_ray.media.decode import decode
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import Span, scoring_spans
from ah_ray.pipelines.manifest import Manifest
from ah_ray.pipelines.prepare import prepare
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.progress import console

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
QUIET = ["-nostdin", "-y", "-v", "error"]
ROUNDS = 2
REPEATS = {"decode": 3, "plain decode": 3}  # in each round, of what is over soon
BATCH, BATCH_S = 16, 8  # videos for one worker and for two, which get eight each; and how long
BARS = {
    "decode_vs_floor_cpu": ("<=", 1.3),
    "serial_vs_decode_cpu": (">=", 8.0),
    "cut_vs_floor_cpu": ("<=", 1.15),
    "two_workers_speedup": (">=", 1.7),
}


class Source(NamedTuple):
    """A video and its clips by their ids."""

    path: str
    info: MediaInfo
    spans: dict[str, Span]

    @property
    def end_s(self) -> float:
        """Where the last clip ends; the floors do no more than that either."""
        return max(span.end_s for span in self.spans.values())


class Cost(NamedTuple):
    """CPU-seconds of this process and of the children that it waited for, and wall seconds."""

    cpu_s: float
    wall_s: float


Way = Callable[[Source, Path], object]


def run_ffmpeg(*arguments: object) -> None:
    """One ffmpeg run."""
    subprocess.run([FFMPEG, *QUIET, *map(str, arguments)], check=True)


def serial(source: Source, folder: Path, workers: int = 1) -> None:
    """The paper's commands."""
    said = subprocess.run([FFMPEG, "-i", source.path], stderr=subprocess.PIPE, text=True).stderr
    assert re.search(r"Duration: [\d:.]+", said)  # what ffprobe was for

    def one_clip(item: tuple[str, Span]) -> None:
        name, (start_s, end_s) = item
        clip, wav = folder / f"{name}.mp4", folder / f"{name}.wav"
        encode = ("-c:v", "libx264", "-crf", 18, "-preset", "veryfast", "-c:a", "aac")
        run_ffmpeg("-ss", start_s, "-to", end_s, "-i", source.path, *encode, clip)
        if source.info.audio_stream is not None:
            sound = ("-map", "0:a:0", "-af", "aresample=async=1", "-ar", 16000, "-ac", 1)
            run_ffmpeg("-i", clip, *sound, wav)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one_clip, source.spans.items()))


def eight_threads(source: Source, folder: Path) -> None:
    """The paper's commands, eight at a time."""
    serial(source, folder, workers=8)


def our_cut(source: Source, folder: Path) -> None:
    """All clips as files, from a source that nothing is known of."""
    done = cut(source.path, probe(source.path), source.spans, str(folder))
    assert len(done.damage) == len(source.spans), done


def make_decode(config: RunConfig) -> Way:
    """All clips as the model gets them; its frames are as many and as large as in the paper."""

    def our_decode(source: Source, folder: Path) -> None:
        spans = list(source.spans.values())
        for _, clip in decode(source.path, spans, config.media, config.limits):
            if isinstance(clip, Exception):
                raise clip

    return our_decode


def streams(source: Source) -> list[str]:
    """The arguments that name the streams that we take."""
    chosen = (source.info.video_stream, source.info.audio_stream)
    return [part for index in chosen if index is not None for part in ("-map", f"0:{index}")]


def plain_decode(source: Source, folder: Path) -> None:
    """The floor of decode; with one thread, which costs the fewest CPU-seconds."""
    until = ("-t", source.end_s)
    run_ffmpeg("-threads", 1, *until, "-i", source.path, *streams(source), "-f", "null", "-")


def transcode(source: Source, folder: Path) -> None:
    """The floor of cut: its encoder, in one piece."""
    file = ffmpeg.input(source.path, threads=1, t=source.end_s)
    outputs, picture = [], file[str(source.info.video_stream)]
    parts = [picture]
    if source.info.audio_stream is not None:
        sound = file[str(source.info.audio_stream)]
        outputs.append(ffmpeg.output(sound, f"{folder}/whole.wav", ar=16000, ac=1))
        parts.append(sound)
    encode = {**cutting._ENCODE, **cutting._ONE_THREAD}
    outputs.append(ffmpeg.output(*parts, f"{folder}/whole.mp4", **encode))
    subprocess.run(
        ffmpeg.merge_outputs(*outputs).global_args(*QUIET).compile(cmd=FFMPEG), check=True
    )


def cpu_seconds() -> float:
    """Of this process and its finished children so far."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(way: Way, source: Source) -> Cost:
    """What one way costs for one source."""
    with tempfile.TemporaryDirectory() as folder:
        cpu_s, wall_s = cpu_seconds(), time.perf_counter()
        way(source, Path(folder))
        return Cost(cpu_seconds() - cpu_s, time.perf_counter() - wall_s)


def least(costs: Sequence[Cost]) -> Cost:
    """The least CPU-seconds and the least wall seconds.

    What other work on the machine adds differs from time to time; what a way needs does not.
    """
    return Cost(*(min(values) for values in zip(*costs, strict=True)))


def total(costs: Sequence[Cost]) -> Cost:
    """The sum over sources."""
    return Cost(*(sum(values) for values in zip(*costs, strict=True)))


def make_sources(folder: Path) -> list[str]:
    """Like webcam videos: 28 s of a moving, noisy picture at usual bit rates, with sound.

    Two come from an encoder that works while the camera runs (baseline profile), one of them with
    a variable frame rate; the other was encoded again for an archive (high profile, B-frames).
    """
    kinds = {
        "720p": ("1280x720", "2500k", "baseline", "null", "cfr"),
        "480p_high": ("640x480", "1000k", "high", "null", "cfr"),
        "480p_vfr": ("640x480", "1000k", "baseline", r"select=gt(random(0)\,0.25)", "vfr"),
    }
    for name, (size, rate, profile, select, fps_mode) in kinds.items():
        picture = f"testsrc2=s={size}:r=30,noise=alls=6:allf=t,{select}"
        sound = "sine=300:beep_factor=4,aformat=channel_layouts=stereo"
        run_ffmpeg(
            *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", 28),
            *("-c:v", "libx264", "-preset", "veryfast", "-profile:v", profile, "-b:v", rate),
            *("-pix_fmt", "yuv420p", "-fps_mode", fps_mode, "-c:a", "aac", "-b:a", "128k"),
            folder / f"{name}.mp4",
        )
    return [str(folder / f"{name}.mp4") for name in kinds]


def make_two_hours(path: Path) -> str:
    """Two hours of 1080p with sound; one picture every five seconds, so that it is soon decoded."""
    minute = path.with_name("minute.mp4")
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=0.2,noise=alls=6:allf=t"),
        *("-f", "lavfi", "-i", "sine=300:r=16000", "-t", 60, "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac", minute),
    )
    run_ffmpeg("-stream_loop", 119, "-i", minute, "-c", "copy", path)
    return str(path)


def shorten(source: Source, folder: Path, config: RunConfig) -> Source:
    """The first seconds of a source, so that many of them are soon prepared."""
    path = folder / f"short{Path(source.path).suffix}"
    run_ffmpeg("-t", BATCH_S, "-i", source.path, *streams(source), "-c", "copy", path)
    return read_source(str(path), config)


def read_source(path: str, config: RunConfig) -> Source:
    """A source with the clips that scoring takes of it."""
    info = probe(path)
    spans = scoring_spans(info.duration_s, config.segmentation)
    return Source(path, info, {f"clip{index}": span for index, span in enumerate(spans)})


def peak_mb(way: Way, source: Source, starts_ffmpeg: bool) -> float:
    """The peak of this process's resident set, and of the ffmpeg that it runs, in MB."""
    measure(way, source)
    own_kb = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    child_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if starts_ffmpeg else 0
    return (own_kb + child_kb) * 1024 / 1e6


def peak_of(way: str, path: str) -> float:
    """``peak_mb`` of a process that does nothing else."""
    command = [sys.executable, __file__, "--peak", way, path]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


@contextmanager
def cpus(count: int) -> Iterator[None]:
    """Everything that starts in here has so many CPUs: ffmpeg alone would take more than one."""
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(everything)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, everything)


def plain_seconds(source: Source, workers: int) -> float:
    """The wall time of a few plain ffmpeg runs, with so many at a time."""
    with tempfile.TemporaryDirectory() as name, cpus(workers), ThreadPoolExecutor(workers) as pool:
        folders = [Path(name, str(number)) for number in range(8)]
        for folder in folders:
            folder.mkdir()
        start = time.perf_counter()
        list(pool.map(lambda folder: transcode(source, folder), folders))
        return time.perf_counter() - start


def prepare_seconds(source: Source, config: RunConfig, workers: int) -> float:
    """The wall time of ``prepare`` over copies of a source, with so many at a time."""
    with cpus(workers):
        connect()
        _prepare(source, config, workers, "virtual")  # starts the workers
        seconds = min(_prepare(source, config, workers, "files") for _ in range(2))
        ray.shutdown()
    return seconds


def _prepare(source: Source, config: RunConfig, workers: int, clips: str) -> float:
    per_video = {"cpus_per_video": ray.cluster_resources()["CPU"] / workers}
    settings = config.prepare.model_copy(update={"clips": clips, **per_video})
    how = (config.segmentation, config.media, settings, config.limits)
    rows = [
        {"video_id": f"{number:03}", "uri": source.path, "split": "train", "labels": ["No"]}
        | {"intervals": [], "participant_id": None, "attributes": []}
        for number in range(BATCH)
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.at(folder)
        tables.write_rows(rows, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
        start = time.perf_counter()
        prepare(run, Manifest(TRAINING, ["train"], *how))
        seconds = time.perf_counter() - start
        assert len(run.clips(TRAINING)) == BATCH * len(source.spans)
    return seconds


def print_costs(sources: Sequence[Source], costs: Mapping[str, Sequence[Cost]]) -> None:
    """CPU-seconds and wall seconds of each way, per source and in all."""
    names = [f"{Path(source.path).stem}\n{len(source.spans)} clips" for source in sources]
    table = Table("", *names, "all", title="CPU seconds / wall seconds, the least of several")
    for way, found in costs.items():
        cells = [f"{cost.cpu_s:.2f} / {cost.wall_s:.2f}" for cost in [*found, total(found)]]
        table.add_row(way, *cells)
    console.print(table)


def ratios(costs: Mapping[str, Cost]) -> dict[str, float]:
    """What the bars are about."""
    return {
        "decode_vs_floor_cpu": costs["decode"].cpu_s / costs["plain decode"].cpu_s,
        "serial_vs_decode_cpu": costs["serial"].cpu_s / costs["decode"].cpu_s,
        "cut_vs_floor_cpu": costs["cut"].cpu_s / costs["transcode"].cpu_s,
        "serial_vs_cut_cpu": costs["serial"].cpu_s / costs["cut"].cpu_s,
        "serial_vs_cut_wall": costs["serial"].wall_s / costs["cut"].wall_s,
        "threads_vs_cut_wall": costs["8 threads"].wall_s / costs["cut"].wall_s,
    }


def print_ratios(
    sources: Sequence[Source], each: Sequence[Mapping[str, float]], result: Mapping[str, float]
) -> None:
    """The ratios of each source and of all, beside their bars."""
    table = Table(
        Column("ratio", no_wrap=True),
        *(Path(source.path).stem for source in sources),
        "all",
        Column("bar", no_wrap=True),
        "",
    )
    for name, value in result.items():
        sign, bar = BARS.get(name, ("", 0.0))
        met = value <= bar if sign == "<=" else value >= bar
        cells = [f"{found[name]:.2f}" if name in found else "" for found in each]
        verdict = ("met" if met else "missed") if sign else ""
        table.add_row(name, *cells, f"{value:.2f}", f"{sign} {bar}" if sign else "", verdict)
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", metavar="GLOB", help="sources instead of synthetic ones")
    parser.add_argument("--config", default="jobs/paper.yaml")
    parser.add_argument("--peak", nargs=2, metavar=("WAY", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    config = load_config(options.config, "")
    ways: dict[str, Way] = {
        "serial": serial,
        "8 threads": eight_threads,
        "cut": our_cut,
        "decode": make_decode(config),
        "plain decode": plain_decode,
        "transcode": transcode,
    }
    if options.peak:
        way, path = options.peak
        print(peak_mb(ways[way], read_source(path, config), starts_ffmpeg=way == "cut"))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = sorted(glob.glob(options.videos)) if options.videos else make_sources(Path(folder))
        if not found:
            parser.error(f"no file matches {options.videos}")
        sources = [read_source(path, config) for path in found]
        for source in sources:  # imports and the page cache
            measure(ways["decode"], source)
        measured: dict[str, list[list[Cost]]] = {way: [[] for _ in sources] for way in ways}
        for _ in range(ROUNDS):
            for index, source in enumerate(sources):
                for way, run in ways.items():
                    for _ in range(REPEATS.get(way, 1)):
                        measured[way][index].append(measure(run, source))
        costs = {way: [least(same) for same in found] for way, found in measured.items()}
        print_costs(sources, costs)
        each = [ratios({way: costs[way][n] for way in ways}) for n in range(len(sources))]
        result = ratios({way: total(costs[way]) for way in ways})

        cheapest = min(range(len(sources)), key=lambda index: costs["cut"][index].cpu_s)
        short = shorten(sources[cheapest], Path(folder), config)
        one, two = (prepare_seconds(short, config, workers) for workers in (1, 2))
        result["two_workers_speedup"] = one / two
        one, two = (plain_seconds(short, workers) for workers in (1, 2))
        result["two_plain_ffmpeg_speedup"] = one / two

        largest = max(sources, key=lambda source: source.info.width * source.info.height)
        peaks = {f"peak_{way}_mb": peak_of(way, largest.path) for way in ("decode", "cut")}
        two_hours = make_two_hours(Path(folder, "two_hours.mp4"))
        peaks["peak_decode_two_hours_mb"] = peak_of("decode", two_hours)
        result |= {"peak_worker_mb": max(peaks.values())} | peaks
    print_ratios(sources, each, result)
    print(json.dumps({name: round(value, 2) for name, value in result.items()}))


if __name__ == "__main__":
    main()
