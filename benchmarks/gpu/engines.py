"""The transformers engine: how fast it is at the full depth, and whether its kernels agree."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Engine, Item, Reply
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup
from ah_ray.members import Member
from benchmarks.gpu.sizes import RANDOM, Result, Size, forget_peak, matrix_rate, peak_gib

_TIMES = 3  # that a batch is answered, after once for nothing


def thinker(size: Size, work: Path) -> Result:
    """The whole thinker at several batch sizes.

    Columns: ``clips_per_s`` of the model alone, as the next batch is made ready meanwhile;
    ``of_matrix_rate``, the share of what large matrices reach; ``peak_gib``; ``preprocessing_ms``
    of a clip on the CPU.
    """
    layers = size.thinker["text_config"]["num_hidden_layers"]
    member = size.member("random", size.write_omni(work / "model", layers, weights=False), RANDOM)
    items = size.items(work / "clips", member, size.clips)
    start = time.perf_counter()
    engine: Any = _loaded(member, size)
    loaded = time.perf_counter() - start
    rate = matrix_rate(size)
    each = operations(engine, member, items[:1])
    rows = []
    for batch in size.batches:
        asked = [items[number % len(items)] for number in range(batch)]
        forget_peak(size)
        ready, answered = [], []
        for _ in range(_TIMES + 1):
            begin = time.perf_counter()
            replies = engine.begin([member], asked)
            middle = time.perf_counter()
            replies()
            ready.append(middle - begin)
            answered.append(time.perf_counter() - middle)
        seconds = min(answered[1:])
        rows.append(
            {
                "batch": batch,
                "clips_per_s": batch / seconds,
                "of_matrix_rate": each * batch / seconds / rate,
                "peak_gib": peak_gib(size),
                "preprocessing_ms": 1000 * min(ready[1:]) / batch,
            }
        )
    figures = {
        "parameters": sum(weight.numel() for weight in engine.model.parameters()),
        "load_s": loaded,
        "matrix_tflop_per_s": rate / 1e12,
        "tflop_per_clip": each / 1e12,
    }
    return Result(rows, figures)


def kernels(size: Size, work: Path) -> Result:
    """Fewer layers with torch's attention and with transformers' plain one, on equal weights."""
    folder = size.write_omni(work / "model", size.kernel_layers, weights=False)
    items: list[Item] = []
    answers, rows = [], []
    for kernel in ("sdpa", "eager"):
        member = size.member("random", folder, RANDOM)
        model = member.card.model.model_copy(update={"attention": kernel})
        member = Member(member.uri, member.card.model_copy(update={"model": model}))
        items = items or size.items(work / "clips", member, size.clips)
        forget_peak(size)
        engine = _loaded(member, size)
        batch, replies = size.batches[1], list[Reply]()
        start = time.perf_counter()
        for first in range(0, len(items), batch):
            replies += engine.answer([member], items[first : first + batch])[0]
        rows.append(
            {
                "kernel": kernel,
                "clips_per_s": len(items) / (time.perf_counter() - start),
                "peak_gib": peak_gib(size),
            }
        )
        answers.append(replies)
        del engine
        gc.collect()
        torch.cuda.empty_cache()
    return Result(rows, {"clips": len(items)} | agreement(*answers))


def agreement(ours: Sequence[Reply], theirs: Sequence[Reply]) -> dict[str, float]:
    """Of replies to the same clips: the share of equal answers, the largest difference of chances.

    Args:
        ours: with chances of the options.
        theirs: the same.
    """
    pairs = [
        (one.chances, other.chances)
        for one, other in zip(ours, theirs, strict=True)
        if one.chances is not None and other.chances is not None
    ]
    if len(pairs) < len(ours):
        raise ValueError(f"{len(ours) - len(pairs)} of {len(ours)} replies have no chances")
    equal = [max(a, key=lambda o: a[o]) == max(b, key=lambda o: b[o]) for a, b in pairs]
    differences = [abs(a[option] - b[option]) for a, b in pairs for option in a]
    return {
        "equal_answers": sum(equal) / len(equal),
        "largest_difference": max(differences),
        "spread_of_chances": _spread([next(iter(a.values())) for a, _ in pairs]),
    }


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


def operations(engine: Engine, member: Member, items: Sequence[Item]) -> int:
    """Floating-point operations of matrices that answering takes."""
    with counter() as counted:
        engine.answer([member], items)
    return int(counted.get_total_flops())


def counter() -> FlopCounterMode:
    """Counts what is computed in its context, experts and attention too."""
    aten = torch.ops.aten
    # Those that torch does not count yet: experts in one call, and attention on a CPU.
    further = {
        aten._grouped_mm: _grouped,
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    }
    return FlopCounterMode(display=False, custom_mapping=further)


def _grouped(rows: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Each row by the matrix of its expert [experts, in, out]."""
    return 2 * rows[0] * weight[1] * weight[2]


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _loaded(member: Member, size: Size) -> Engine:
    settings = ScoreConfig(
        gpus_per_actor=size.gpus, cpus_per_actor=size.config.score.cpus_per_actor
    )
    with torch.device(size.device):
        return load_engine(EngineGroup(member.checkpoint, (member,)), settings)
