"""How many clips a second vLLM's renderers get ready: several threads against one.

Ten frames of 512 x 512 and 5 s of sound each, for a tiny Qwen3-Omni, whose processor is that of the
published one. No model runs. The ways take turns; rates are medians.

    python benchmarks/rendering.py --threads 2 --rounds 10

Prints a table, then one JSON object: ``threads_vs_one`` is the median of the rate with several
threads / the rate with one of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from ah_ray.engines.rendering import Renderers
from ah_ray.media.decode import DecodedClip
from ah_ray.models.architecture import find_architecture
from ah_ray.progress import console
from ah_ray.toy.model import write_tiny_checkpoint

_QUESTION = "<|vision_start|><|video_pad|><|vision_end|><|audio_start|><|audio_pad|><|audio_end|>"


def prompts(folder: Path, count: int) -> list[dict[str, Any]]:
    """One about each of ``count`` clips."""
    architecture = find_architecture("qwen3_omni")
    ids = architecture.load_processor(str(folder)).tokenizer.encode(_QUESTION)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        frames = rng.integers(0, 255, (10, 512, 512, 3), np.uint8)
        sound = rng.normal(0, 0.1, 80_000).astype(np.float32)
        clip = DecodedClip(frames, 2.0, sound)
        media = architecture.vllm_media(("video", "audio"), clip)
        found.append({"prompt_token_ids": ids, **media})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as an engine on a GPU sets it
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm import EngineArgs
    from vllm.renderers import renderer_from_config

    with tempfile.TemporaryDirectory() as name:
        write_tiny_checkpoint(Path(name))
        config = EngineArgs(
            model=name, dtype="float32", max_model_len=8192, enforce_eager=True,
            limit_mm_per_prompt={"video": 1, "audio": 1, "image": 0}, mm_processor_cache_gb=0,
        ).create_engine_config()  # fmt: skip
        asked = prompts(Path(name), options.clips)
        ways = {
            threads: Renderers(config, renderer_from_config(config), threads)
            for threads in (1, options.threads)
        }
        rates: dict[int, list[float]] = {threads: [] for threads in ways}
        for number in range(options.rounds + 1):
            for threads, renderers in ways.items():
                start = time.perf_counter()
                renderers.render(asked, range(len(asked)))
                if number:  # the first round is slower
                    rates[threads].append(len(asked) / (time.perf_counter() - start))
    table = Table("threads", "clips per second")
    for threads, found in rates.items():
        table.add_row(f"{threads}", f"{statistics.median(found):.1f}")
    console.print(table)
    pairs = zip(rates[options.threads], rates[1], strict=True)
    result: dict[str, Any] = {f"clips_per_s_{n}": statistics.median(r) for n, r in rates.items()}
    result["threads_vs_one"] = statistics.median(several / one for several, one in pairs)
    result["best_vs_best"] = max(rates[options.threads]) / max(rates[1])
    print(json.dumps({name: round(value, 2) for name, value in result.items()}))


if __name__ == "__main__":
    main()
