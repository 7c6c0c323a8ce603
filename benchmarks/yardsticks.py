"""Scoring beside what else answers the same questions about the same clips.

Takes a finished demo run, and of it the member ``v2``, a whole model. A rate is that of work under
way, without the start of processes and models. Each is measured several times; ``_low`` and
``_high`` are the quotients of the slowest and the fastest of both.

    python benchmarks/yardsticks.py --run runs/demo

Prints a table, then one JSON object:

    share_of_async_engine   a pass with vLLM / vLLM's asynchronous engine, asked the same prompts,
                            all at once, from memory
    vs_ray_data_llm         a pass with vLLM / ray.data.llm, which gets clips from the same decoder
    vs_swift_infer          a pass with transformers / `swift infer`, which writes its answers
    vs_swift_infer_vllm     a pass with vLLM / `swift infer` with vLLM
    clips_per_s             of each
    load                    of the machine, in processes, before each

What does not run has null, and the reason in ``failed``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from rich.table import Table
from score import SETTINGS, decoded, new_run, repeated

from ah_ray.cluster import connect
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup, read_ensemble
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.members import Member, asked
from ah_ray.models.architecture import find_architecture
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.progress import console
from ah_ray.tasks import swift_row
from ah_ray.training.rows import media_of

MEMBER = "v2"
PIECES = 4  # of a pass, each with a rate of its own


def pass_rates(run: RunDirectory, member: Member, settings: ScoreConfig) -> list[float]:
    """Clips per second of a pass under way, in pieces of its middle, by when parts were written."""
    score(run, [member], settings)
    folder = Path(run.predictions_path(member.name))
    times = sorted(part.stat().st_mtime for part in folder.glob("part-*"))
    each = (3 * len(times) // 4 - len(times) // 4) // PIECES
    ends = [times[len(times) // 4 + each * piece] for piece in range(PIECES + 1)]
    return [each * settings.batch_size / (b - a) for a, b in itertools.pairwise(ends)]


def item(clip: DecodedClip) -> Item:
    """What an engine is asked about a clip."""
    return Item(clip.frames, clip.fps, clip.audio, clip.damage, video_id="")


def async_rates(member: Member, clips: Sequence[DecodedClip], rounds: int) -> list[float]:
    """The asynchronous engine of vLLM with our settings and prompts, all in flight at once."""
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    settings = SETTINGS.model_copy(update={"engine": "vllm"})
    member = asked(member, settings)
    ours: Any = load_engine(EngineGroup(member.checkpoint, (member,)), settings)

    async def measure() -> list[float]:
        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**ours.arguments))

        async def answer(name: str, prompt: Any, params: Any) -> None:
            async for _ in engine.generate(prompt, params, name):
                pass

        rates = []
        for turn in range(rounds + 1):
            requests = list(ours.requests([member], [item(clip) for clip in clips]))
            start = time.perf_counter()
            await asyncio.gather(
                *(
                    answer(f"{turn}-{number}", prompt, params)
                    for number, (prompt, params, *_) in enumerate(requests)
                )
            )
            rates.append(len(clips) / (time.perf_counter() - start))
        engine.shutdown()
        return rates[1:]  # in the first one things are compiled and allocated

    return asyncio.run(measure())


def by_difference(seconds: Callable[[int], float], count: int, rounds: int) -> list[float]:
    """Clips per second of something that starts each time: by how much longer more clips take."""
    few = SETTINGS.batch_size
    return [(count - few) / (seconds(count) - seconds(few)) for _ in range(rounds)]


def ray_data_llm_rates(member: Member, clips: pa.Table, rounds: int) -> list[float]:
    """``ray.data.llm`` with our decoder before it.

    Its answers come out in large blocks, so that when they come says nothing of a rate.
    """
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    settings = SETTINGS.model_copy(update={"engine": "vllm"})
    member = asked(member, settings)
    ours: Any = load_engine(EngineGroup(member.checkpoint, (member,)), settings)
    (first,) = decoded(clips.slice(0, 1), member)
    ((prompt, params, *_),) = ours.requests([member], [item(first)])
    sampling = {
        "temperature": 0.0,
        "max_tokens": params.max_tokens,
        "logprob_token_ids": params.logprob_token_ids,
    }
    kinds, architecture = ours.wordings[member.name].kinds, ours.architecture
    media = member.card.media

    def read(row: dict[str, Any]) -> dict[str, Any]:
        ((_, clip),) = decode(row["source_uri"], [Span(row["start_s"], row["end_s"])], media)
        given = architecture.vllm_media(kinds, clip)
        return {
            "tokenized_prompt": prompt["prompt_token_ids"],
            "multimodal_data": given["multi_modal_data"],
            "mm_processor_kwargs": given.get("mm_processor_kwargs"),
            "sampling_params": sampling,
        }

    config = vLLMEngineProcessorConfig(
        model_source=ours.arguments["model"],
        engine_kwargs={k: v for k, v in ours.arguments.items() if k != "model"},
        batch_size=SETTINGS.batch_size,
        concurrency=1,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        prepare_multimodal_stage=False,
        log_engine_metrics=False,
        placement_group_config={"bundles": [{"CPU": 1, "GPU": 0}]},
        runtime_env={"env_vars": {"VLLM_CPU_KVCACHE_SPACE": "1"}},  # GiB, as for ours
    )
    rows = clips.select(["source_uri", "start_s", "end_s"]).to_pylist()

    def seconds(number: int) -> float:
        process = build_processor(config, preprocess=read, postprocess=lambda row: {"done": 1})
        start = time.perf_counter()
        done = sum(
            len(batch["done"])
            for batch in process(ray.data.from_items(rows[:number])).iter_batches()
        )
        if done != number:
            raise RuntimeError(f"{done} answers to {number} clips")
        return time.perf_counter() - start

    return by_difference(seconds, len(rows), rounds)


def swift_rates(
    run: RunDirectory, member: Member, backend: str, count: int, rounds: int, folder: Path
) -> list[float]:
    """``swift infer`` on files of clips: by how much longer it takes for more of them."""
    card = member.card
    clips = [row for row in run.clips(TRAINING).to_pylist() if row["media_uri"]]
    architecture = find_architecture(card.model.architecture)

    def seconds(number: int) -> float:
        rows = [clips[index % len(clips)] for index in range(number)]
        data = folder / f"{backend}-{number}.jsonl"
        with data.open("w") as file:
            for row in rows:
                prompt, reply = card.question.prompt, "No"
                file.write(json.dumps(swift_row(prompt, reply, *media_of(row, card.media))) + "\n")
        command = [
            *(sys.executable, "-m", "swift.cli.main", "infer", "--model", member.checkpoint),
            *("--model_type", architecture.swift_model, "--template", architecture.swift_template),
            *("--infer_backend", backend, "--val_dataset", str(data), "--use_hf", "true"),
            *("--torch_dtype", "float32", "--temperature", "0"),
            *("--max_new_tokens", "8", "--max_batch_size", str(SETTINGS.batch_size)),
            *("--write_batch_size", "1000000", "--load_args", "false"),
            *("--result_path", str(folder / f"{backend}-{number}-{time.time()}.jsonl")),
        ]
        if backend == "vllm":
            command += ["--vllm_enforce_eager", "true", "--vllm_max_model_len", "2048"]
        environment = os.environ | {
            **architecture.swift_environment(card.media, "decord"),
            **{"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            **{"VLLM_CPU_KVCACHE_SPACE": "1"},
        }
        start = time.perf_counter()
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:])
        return time.perf_counter() - start

    return by_difference(seconds, count, rounds)


def quotient(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Of the medians, and of the extremes."""
    return {
        "": statistics.median(ours) / statistics.median(theirs),
        "_low": min(ours) / max(theirs),
        "_high": max(ours) / min(theirs),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="runs/demo", help="a finished run of the demo")
    parser.add_argument("--clips", type=int, default=4096, help="of a pass")
    parser.add_argument("--swift-clips", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="of: async, ray_data_llm, swift, swift_vllm")
    options = parser.parse_args()
    source = RunDirectory.at(options.run)
    member = read_ensemble(source.path("members"), [MEMBER])[0]
    clips = source.clips("scoring")
    many = repeated(clips, options.clips)
    rates: dict[str, list[float]] = {}
    load: dict[str, float] = {}
    failed: dict[str, str] = {}

    def measured(name: str, measure: Callable[[], list[float]]) -> None:
        load[name] = os.getloadavg()[0]
        try:
            rates[name] = measure()
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error)[-500:]}"
        console.print(name, rates.get(name, failed.get(name)))

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        theirs: Mapping[str, tuple[str, str, Callable[[], list[float]]]] = {
            "async": (
                "share_of_async_engine",
                "vllm",
                lambda: async_rates(member, decoded(clips, member), options.rounds),
            ),
            "ray_data_llm": (
                "vs_ray_data_llm",
                "vllm",
                lambda: ray_data_llm_rates(member, many, options.rounds),
            ),
            "swift": (
                "vs_swift_infer",
                "transformers",
                lambda: swift_rates(
                    source, member, "transformers", options.swift_clips, options.rounds, folder
                ),
            ),
            "swift_vllm": (
                "vs_swift_infer_vllm",
                "vllm",
                lambda: swift_rates(
                    source, member, "vllm", options.swift_clips, options.rounds, folder
                ),
            ),
        }
        chosen = {name: theirs[name] for name in options.only or theirs}
        connect()
        for engine in sorted({engine for _, engine, _ in chosen.values()}):
            settings = SETTINGS.model_copy(update={"engine": engine})
            run = new_run(folder / engine, many)
            measured(engine, lambda: pass_rates(run, member, settings))  # noqa: B023
        for name, (_, _, measure) in chosen.items():
            measured(name, measure)
        ray.shutdown()
    result: dict[str, Any] = {}
    table = Table("figure", "value", "from", "to", title="a pass / what else there is")
    for name, (key, engine, _) in chosen.items():
        if name in rates and engine in rates:
            found = quotient(rates[engine], rates[name])
            table.add_row(key, *(f"{value:.2f}" for value in found.values()))
            result |= {f"{key}{part}": value for part, value in found.items()}
        else:
            result[key] = None
            table.add_row(key, failed.get(name, failed.get(engine, "")).split("\n")[0], "", "")
    console.print(table)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    print(json.dumps(result | {"clips_per_s": middle, "load": load, "failed": failed}))


if __name__ == "__main__":
    main()
