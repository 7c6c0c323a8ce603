"""What a pass of scoring takes of its driver before the first batch is at hand.

Plans a synthetic archive, and gives the plan to Ray Data in two ways, each in a process of its own:
all batches as blocks before the pass begins, and as decoders need them (``pipelines.feed``).

    python benchmarks/feed.py --batches 100000

Prints a table, then one JSON object: seconds of the driver's CPU and MB of its memory, and
``s_vs_all`` and ``mb_vs_all``, those of the second way / those of the first. For Linux.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from rich.table import Table

from ah_ray.cluster import connect
from ah_ray.pipelines.batches import PLANNED, one_by_one, plan_batches
from ah_ray.pipelines.feed import feed
from ah_ray.progress import console

CLIPS = 16  # of a video, and of a batch


def plan_of(batches: int) -> pa.Table:
    """A plan of so many batches, one of each video."""
    number = np.arange(batches * CLIPS)
    video = pc.utf8_lpad(pa.array(number // CLIPS).cast(pa.string()), 8, "0")
    start_s = pa.array((number % CLIPS) * 5.0)
    columns = {
        "video_id": video,
        "source_uri": pc.binary_join_element_wise("s3://bucket/archive/videos", video, "/"),
        "content": pc.utf8_lpad(video, 32, "0"),
        "clip_id": pc.utf8_lpad(pa.array(number).cast(pa.string()), 16, "0"),
        "start_s": start_s,
        "end_s": pc.add(start_s, 5.0),
        "bucket": pa.array(["10x448x448"] * len(number)),
        "subtitle": pa.nulls(len(number), pa.string()),
    }
    return plan_batches(pa.table({name: columns[name] for name in PLANNED.names}), CLIPS)


def resident_mb() -> float:
    """What this process holds of memory, without what it has given back."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    kb = Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]
    return int(kb) * 1024 / 1e6


def first_batch(way: str, plan: pa.Table) -> tuple[float, float]:
    """Seconds of CPU and MB that this process takes until it has the first batch of a plan."""
    connect()
    before = resident_mb()
    start = time.process_time()
    fed = feed(plan) if way == "feed" else ray.data.from_blocks(list(one_by_one(plan)))
    next(iter(fed.iter_batches(batch_size=None)))
    return time.process_time() - start, resident_mb() - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=100_000)
    options = parser.parse_args()
    plan = plan_of(options.batches)
    result: dict[str, float] = {"batches": len(plan)}
    table = Table("the driver until the first batch", "CPU seconds", "MB")
    for way in ("all", "feed"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
            seconds, mb = fresh.submit(first_batch, way, plan).result()
        table.add_row(way, f"{seconds:.2f}", f"{mb:.0f}")
        result |= {f"{way}_s": seconds, f"{way}_mb": mb}
    for unit in ("s", "mb"):
        result[f"{unit}_vs_all"] = result[f"feed_{unit}"] / result[f"all_{unit}"]
    console.print(table)
    print(json.dumps({name: round(value, 4) for name, value in result.items()}))


if __name__ == "__main__":
    main()
