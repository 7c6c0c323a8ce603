"""How fast, and in how much memory, is an archive of BAH's size read?

Writes an archive in BAH's format (1,427 empty videos, and an annotation file of about 90 MB, most
of it a label per frame), and reads it twice, each time in a process of its own:

- ours: the whole catalog, which passes over the labels per frame;
- plain: only the annotation file, with PyYAML's safe C loader and a constructor for tuples.

    python benchmarks/catalog.py

Prints a table, then one JSON object. Memory is the peak of the resident set above what the
process had before it read. For Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from rich.table import Table

from ah_ray.catalog import load_entry, read_catalog
from ah_ray.catalog.bah import SPLITS
from ah_ray.progress import console
from ah_ray.tasks import load_task

ENTRY = Path(__file__).parents[1] / "data_catalog" / "bah.yaml"
ANNOTATIONS = "video_annotation_transcript.yaml"
VIDEOS = 1427
FRAMES = 640  # per video; 26.7 s of webcam on average, at about 24 Hz


def write_archive(root: Path, videos: int) -> None:
    """An archive in the format of BAH, the same every time."""
    splits = root / "dataset-splits" / "video-level" / "BAH_DB" / "split-0"
    splits.mkdir(parents=True)
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    people = [1000 + number for number in range((videos + 6) // 7)]
    with (root / ANNOTATIONS).open("w") as file:
        for number in range(videos):
            participant, question = people[number // 7], number % 7 + 1
            name = f"{participant}_Question_{question}_2024-08-22_12-11-55_Video.mp4"
            key = f"Videos/{participant}/Visite_1/{name}"
            video = root / key
            video.parent.mkdir(parents=True, exist_ok=True)
            video.touch()
            line = f"{key.replace('22_12', '22 12')},{number % 2},Yes, but no.\n"
            lines[SPLITS[participant % 3]].append(line)
            start, end = number % 15, number % 15 + 4
            intervals = [[f"00:00:{start:02}.{number % 1000:03}", f"00:00:{end:02}.500"]]
            positive = number % 2
            words = " ".join(f"word{n}" for n in range(60))
            file.write(f"{key}:\n")
            file.write(f"  global_ah: {positive}\n")
            file.write(f"  time_detailed_ah: {json.dumps(intervals if positive else [])}\n")
            file.write("  fr_detailed_ah: [[48, 98]]\n")
            file.write("  all_cues: [{audio: sigh, body: shrug, facial: '', language: ''}]\n")
            file.write("  certainty_ah: [3]\n")
            file.write(f"  annotator_id: {number % 3}\n")
            file.write(f"  transcript:\n    text: {words}\n    chunks:\n")
            for chunk in range(6):
                file.write(f"    - text: {words[chunk * 60 : chunk * 60 + 59].strip()}\n")
                file.write("      language: english\n      timestamp: !!python/tuple\n")
                file.write(f"      - {chunk * 4}.0\n      - {chunk * 4 + 4}.0\n")
            file.write("  frame_annotation:\n")
            for frame in range(FRAMES):
                file.write(f"  - - {key}/frame-{frame}.jpg\n    - {positive}\n")
    for split, found in lines.items():
        (splits / f"{split}.txt").write_text("".join(found))
    metadata = [f"{person}: {{age: 34, Use in challenges: 'Yes'}}\n" for person in people]
    (root / "meta_data.yml").write_text("".join(metadata))


def read_plainly(root: Path) -> int:
    """The number of videos, with everything in the file built at once."""

    class Loader(yaml.CSafeLoader):
        pass

    Loader.add_constructor(
        "tag:yaml.org,2002:python/tuple",
        lambda loader, node: tuple(loader.construct_sequence(node, deep=True)),
    )
    with (root / ANNOTATIONS).open("rb") as file:
        return len(yaml.load(file, Loader=Loader))


def read_ours(root: Path) -> int:
    """The number of videos, with the whole catalog read."""
    answer = load_task("ambivalence_hesitancy").answer
    return len(read_catalog(load_entry(ENTRY), str(root), answer).videos)


READERS: dict[str, Callable[[Path], int]] = {"ours": read_ours, "plain": read_plainly}


def peak_mb() -> float:
    """The peak of the resident set since the last reset, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def measure(reader: str, root: Path) -> dict[str, float]:
    """Read in this process: seconds, and the peak of memory above the start in MB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = peak_mb()
    start = time.perf_counter()
    videos = READERS[reader](root)
    seconds = time.perf_counter() - start
    return {"videos": videos, "seconds": seconds, "peak_mb": peak_mb() - before}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--measure", nargs=2, metavar=("READER", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_archive(Path(folder), options.videos)
        size_mb = Path(folder, ANNOTATIONS).stat().st_size / 1e6
        found = {}
        for reader in READERS:
            command = [sys.executable, __file__, "--measure", reader, folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[reader] = json.loads(done.stdout)
    ours, plain = found["ours"], found["plain"]
    if ours["videos"] != plain["videos"]:
        raise SystemExit(f"the readers disagree: {found}")
    table = Table(
        "reader", "seconds", "peak MB", title=f"{size_mb:.0f} MB, {options.videos} videos"
    )
    for name, values in found.items():
        table.add_row(name, f"{values['seconds']:.1f}", f"{values['peak_mb']:.0f}")
    ratios = {
        "seconds_plain_vs_ours": plain["seconds"] / ours["seconds"],
        "memory_plain_vs_ours": plain["peak_mb"] / ours["peak_mb"],
    }
    table.add_row("plain / ours", *(f"{value:.1f}" for value in ratios.values()))
    console.print(table)
    result = {
        "file_mb": size_mb,
        **{f"{name}_seconds": values["seconds"] for name, values in found.items()},
        **{f"{name}_peak_mb": values["peak_mb"] for name, values in found.items()},
        **ratios,
    }
    print(json.dumps({name: round(value, 2) for name, value in result.items()}))


if __name__ == "__main__":
    main()
