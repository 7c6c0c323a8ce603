"""What scoring costs beside its engine, against the bare engine in the same run.

Takes a finished demo run. Every rate is that of a pass under way: of the middle half of the parts
that it wrote, without the start of processes and models, which an archive pays once, and while
decoders and engine are both at work. A pass cannot be faster than its decoders: beside the bare
engine stands what one core decodes.

    python benchmarks/score.py --run runs/demo

Prints a table, then one JSON object:

    speed_of_light_ENGINE    clips/s from videos / clips/s of the bare engine on decoded clips
    decode_clips_per_s       clips/s of one core that decodes and does nothing else
    answer_vs_generate       clips/s of decoding `answer` / `generate`, bare transformers engine
    three_adapters_vs_one    time of a pass with three adapters on one base / with one
    overhead_ms_per_clip     a pass with the engine that costs nothing, per clip
    resume_s                 a call on that pass when it is complete
    planning_s               CPU time of reading and planning a manifest, by its number of clips
    planning_mb              what that takes of the driver's memory at most
    decoded_bytes_per_clip   what a decoder hands to an engine
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from rich.table import Table

from ah_ray import schemas, storage, tables
from ah_ray.cluster import connect
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.prior import write_prior
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup, read_ensemble
from ah_ray.errors import ItemError
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.members import Member, asked
from ah_ray.pipelines.asking import missing_batches
from ah_ray.pipelines.batches import PLANNED, plan_batches
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.progress import console
from ah_ray.tasks import load_task

# One core for the engine, one for decoding: two tasks share it, for Ray Data looks only ten times
# a second for tasks that are over, and such clips are decoded in milliseconds.
SETTINGS = ScoreConfig(batch_size=64, cpus_per_actor=1, cpus_per_decoder=0.5)


def new_run(folder: Path, clips: pa.Table) -> RunDirectory:
    """A run directory with a manifest."""
    run = RunDirectory.at(str(folder))
    tables.write_table(clips, storage.join(run.clips_path(SCORING), "part-0.parquet"))
    return run


def repeated(clips: pa.Table, count: int) -> pa.Table:
    """A manifest of ``count`` clips: those of ``clips`` over and over, under other ids."""
    number = np.arange(count)
    copies = clips.take(pa.array(number % len(clips)))
    turn = pc.utf8_lpad(pa.array(number // len(clips)).cast(pa.string()), 4, "0")
    new = {
        "clip_id": pc.utf8_lpad(pa.array(number).cast(pa.string()), 8, "0"),
        "video_id": pc.binary_join_element_wise(turn, copies["video_id"], "-"),
        "made_from": pa.nulls(count, pa.string()),  # of no prepare
    }
    columns = [new.get(name, copies[name]) for name in schemas.CLIPS.names]
    return pa.table(columns, schema=schemas.CLIPS)


def decoded(clips: pa.Table, member: Member) -> list[DecodedClip]:
    """The clips of a manifest in memory."""
    found = []
    for batch in plan_batches(clips, SETTINGS.batch_size).to_pylist():
        for source in batch["sources"]:
            spans = [Span(clip["start_s"], clip["end_s"]) for clip in source["clips"]]
            for _, clip in decode(source["source_uri"], spans, member.card.media):
                if isinstance(clip, ItemError):
                    raise clip
                found.append(clip)
    return found


def bare_rates(engine: Any, group: EngineGroup, clips: Sequence[DecodedClip]) -> dict[str, float]:
    """Clips per second of a loaded engine alone, by decoding mode; the better of two rounds."""
    rates = {}
    for mode in ("generate", "answer"):
        members = [asked(member, ScoreConfig(decoding=mode)) for member in group.members]
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            for first in range(0, len(clips), SETTINGS.batch_size):
                engine.answer(members, clips[first : first + SETTINGS.batch_size])
            seconds.append(time.perf_counter() - start)
        rates[mode] = len(clips) / min(seconds[1:])
    return rates


def pass_rate(run: RunDirectory, members: Sequence[Member], settings: ScoreConfig) -> float:
    """Clips per second of a pass under way, by when its parts were written."""
    score(run, members, settings)
    folder = Path(run.predictions_path(members[0].name))
    times = sorted(part.stat().st_mtime for part in folder.glob("part-*"))
    first, last = len(times) // 4, 3 * len(times) // 4
    clips_per_part = len(run.clips(SCORING)) / len(times)
    return (last - first) * clips_per_part / (times[last] - times[first])


def adapters(member: Member) -> list[Member]:
    """Three members with one adapter: alike in cost, and asked in two wordings."""
    task = load_task("cue_conflict")
    prompts = {"a": "short", "b": "detailed", "c": "short"}
    return [
        Member(
            member.uri,
            member.card.model_copy(
                update={"name": name, "question": task.question(prompt, "benchmark")}
            ),
        )
        for name, prompt in prompts.items()
    ]


def peak_mb() -> float:
    """The most that this process has held of memory; its ``ru_maxrss`` begins with its parent's."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1000


def planning(run: RunDirectory, prior: Member) -> tuple[float, float]:
    """From a manifest to the batches that are missing: seconds of the CPU, and MB beside ours."""
    before = peak_mb()
    start = time.process_time()
    manifest = run.clips(SCORING, PLANNED)
    plan = plan_batches(manifest, SETTINGS.batch_size)
    missing_batches(run, EngineGroup(prior.uri, (prior,)), plan, SETTINGS, manifest)
    seconds = time.process_time() - start
    return seconds, peak_mb() - before


def planned(folder: Path, clips: pa.Table, prior: Member, count: int) -> tuple[float, float]:
    """``planning`` of ``count`` clips, in a process of its own."""
    run = new_run(folder / f"plan-{count}", repeated(clips, count))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(planning, run, prior).result()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="runs/demo", help="a finished run of the demo")
    parser.add_argument("--engines", nargs="*", default=["transformers", "vllm"])
    parser.add_argument("--clips", type=int, default=4176, help="of a pass with a model")
    parser.add_argument("--overhead-clips", type=int, default=100_000)
    parser.add_argument("--planning", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    source = RunDirectory.at(options.run)
    members = read_ensemble(source.path("members"))
    lora = next(member for member in members if member.card.weights == "adapter")
    clips = source.clips(SCORING)
    connect()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        card = lora.card.model_copy(update={"name": "prior", "weights": "prior"})
        manifest = repeated(clips, options.overhead_clips)
        chances = {key: {"Yes": 0.25, "No": 0.75} for key in manifest["video_id"].to_pylist()}
        prior = write_prior(str(folder / "prior"), card, chances)
        plans = {str(count): planned(folder, clips, prior, count) for count in options.planning}
        result["planning_s"] = {count: seconds for count, (seconds, _) in plans.items()}
        result["planning_mb"] = {count: mb for count, (_, mb) in plans.items()}
        run = new_run(folder / "overhead", manifest)
        result["overhead_ms_per_clip"] = 1000 / pass_rate(run, [prior], SETTINGS)
        start = time.perf_counter()
        score(run, [prior], SETTINGS)
        result["resume_s"] = time.perf_counter() - start

        start = time.perf_counter()
        in_memory = decoded(clips, lora)
        result["decode_clips_per_s"] = len(in_memory) / (time.perf_counter() - start)
        sizes = [clip.frames.nbytes + clip.audio.nbytes for clip in in_memory]
        result["decoded_bytes_per_clip"] = sum(sizes) / len(sizes)
        many = repeated(clips, options.clips)
        alone = EngineGroup(lora.checkpoint, (lora,))
        one_rate = None
        for name in options.engines:
            settings = SETTINGS.model_copy(update={"engine": name})
            engine = load_engine(alone, settings)
            before = bare_rates(engine, alone, in_memory)
            rate = pass_rate(new_run(folder / name, many), [lora], settings)
            # Machines are not always equally fast: the pass is compared with before and after.
            after = bare_rates(engine, alone, in_memory)
            bare = {mode: (before[mode] + after[mode]) / 2 for mode in before}
            result[f"bare_{name}_clips_per_s"] = bare
            result[f"pass_{name}_clips_per_s"] = rate
            result[f"speed_of_light_{name}"] = rate / bare["answer"]
            if name == "transformers":
                result["answer_vs_generate"] = bare["answer"] / bare["generate"]
                one_rate = rate
        if one_rate is not None:
            run = new_run(folder / "three", many)
            three = pass_rate(run, adapters(lora), SETTINGS)
            result["three_adapters_vs_one"] = one_rate / three
    ray.shutdown()
    table = Table("figure", "value", title="scoring")
    for key, value in result.items():
        table.add_row(key, json.dumps(value) if isinstance(value, dict) else f"{value:.3f}")
    console.print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
