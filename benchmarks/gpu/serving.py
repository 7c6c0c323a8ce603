"""vLLM: our engine, what adapters cost in it, and the bare asynchronous engine."""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ah_ray.engines.engine import Item
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup
from ah_ray.members import Member
from benchmarks.gpu.sizes import SEED, Result, Size

_ROUNDS = 3  # through all clips, after one for nothing
_RANK = 8
_ATTENTION = r".*model\.(language_model\.)?layers\.\d+\.self_attn\.[qkvo]_proj"


class Started(NamedTuple):
    """An engine of ours as it came up, and how fast it was.

    Attributes:
        start_s: until it could be asked.
        kv_tokens: for how many tokens its cache has room.
        longest: how many a conversation takes at most.
        one: answers a second, a batch after the other.
        two: the same, while the next batch is made ready.
        arguments: that vLLM was started with.
        requests: what vLLM was asked.
    """

    start_s: float
    kv_tokens: int
    longest: int
    one: float
    two: float
    arguments: dict[str, Any]
    requests: list[tuple[Any, Any]]


def vllm(size: Size, work: Path) -> Result:
    """Each engine in a process of its own, on weights that vLLM draws.

    A merged adapter is a checkpoint like the base model, so that is what stands for it; beside it
    two adapters that one engine serves. Rates are answers a second.
    """
    if importlib.util.find_spec("vllm") is None:
        return Result([{"engine": "vLLM is not installed"}], {})
    folder = size.write_served(work / "model")
    base = size.member("base", folder, size.served)
    adapters = [
        size.member(name, folder, size.served, weights="adapter") for name in ("one", "two")
    ]
    adapters = [Member(str(work / member.name), member.card) for member in adapters]
    for member in adapters:
        _fresh(write_adapter, member)
    merged: Started = _fresh(start, size, work, (base,))
    served: Started = _fresh(start, size, work, tuple(adapters))
    start_s, bare = _fresh(bare_rate, merged.arguments, merged.requests)
    rows = [
        _row("merged, 1 batch", merged, merged.one),
        _row("merged, 2 batches", merged, merged.two),
        _row("2 adapters, 2 batches", served, served.two),
        {"engine": "bare, all at once", "start_s": start_s, "kv_tokens": None,
         "conversations": None, "answers_per_s": bare},
    ]  # fmt: skip
    figures = {
        "clips": len(merged.requests),
        "share_of_async_engine": merged.two / bare,
        "adapters_vs_merged": served.two / merged.two,
        "settings": {key: merged.arguments[key] for key in _SAID},
    }
    return Result(rows, figures)


_SAID = ("dtype", "gpu_memory_utilization", "max_model_len", "enforce_eager")


def _row(engine: str, of: Started, rate: float) -> dict[str, Any]:
    return {
        "engine": engine,
        "start_s": of.start_s,
        "kv_tokens": of.kv_tokens,
        "conversations": of.kv_tokens / of.longest,
        "answers_per_s": rate,
    }


def _fresh(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run in a process of its own, with which all memory of the device is free again."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def start(size: Size, work: Path, members: tuple[Member, ...]) -> Started:
    """Start our engine for members of one checkpoint, and ask it about all clips."""
    config = size.config.score
    settings = config.model_copy(
        update={
            "engine": "vllm",
            "gpus_per_actor": size.gpus,
            "engine_args": {"load_format": "dummy"} | config.engine_args,
        }
    )
    items = size.items(work / "clips", members[0], size.clips)
    begin = time.perf_counter()
    engine: Any = load_engine(EngineGroup(members[0].checkpoint, members), settings)
    start_s = time.perf_counter() - begin
    cache = engine.llm.llm_engine.vllm_config.cache_config
    batches = [
        items[first : first + settings.batch_size]
        for first in range(0, len(items), settings.batch_size)
    ]
    return Started(
        start_s=start_s,
        kv_tokens=cache.num_gpu_blocks * cache.block_size,
        longest=engine.arguments["max_model_len"],
        one=_rate(lambda: _one_by_one(engine, members, batches), len(items) * len(members)),
        two=_rate(lambda: _overlapped(engine, members, batches), len(items) * len(members)),
        arguments=engine.arguments,
        requests=[(prompt, params) for prompt, params, *_ in engine.requests(members[:1], items)],
    )


def _rate(ask: Callable[[], None], answers: int) -> float:
    """Answers a second in the best of some rounds."""
    seconds = []
    for _ in range(_ROUNDS + 1):
        begin = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - begin)
    return answers / min(seconds[1:])


def _one_by_one(engine: Any, members: Sequence[Member], batches: Sequence[list[Item]]) -> None:
    for batch in batches:
        engine.answer(members, batch)


def _overlapped(engine: Any, members: Sequence[Member], batches: Sequence[list[Item]]) -> None:
    """As the actors of scoring do; see ``OverlappingEngine``."""
    with ThreadPoolExecutor(1) as beginning:
        for ready in beginning.map(lambda batch: engine.begin(members, batch), batches):
            ready()


def bare_rate(
    arguments: dict[str, Any], requests: Sequence[tuple[Any, Any]]
) -> tuple[float, float]:
    """How long vLLM's asynchronous engine takes to start, and how many answers it then gives.

    Args:
        arguments: that it is started with.
        requests: prompts, each with its sampling parameters; all are in flight at once.
    """
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB, as for ours

    async def measure() -> tuple[float, float]:
        begin = time.perf_counter()
        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        start_s = time.perf_counter() - begin

        async def answer(name: str, prompt: Any, params: Any) -> None:
            async for _ in engine.generate(prompt, params, name):
                pass

        seconds = []
        for turn in range(_ROUNDS + 1):
            begin = time.perf_counter()
            await asyncio.gather(
                *(
                    answer(f"{turn}-{number}", _anew(prompt, turn), params)
                    for number, (prompt, params) in enumerate(requests)
                )
            )
            seconds.append(time.perf_counter() - begin)
        engine.shutdown()
        return start_s, len(requests) / min(seconds[1:])

    return asyncio.run(measure())


def _anew(prompt: dict[str, Any], turn: int) -> dict[str, Any]:
    """The prompt with other names of its media: what was seen of the last ones is remembered."""
    names = prompt.get("multi_modal_uuids", {})
    renamed = {kind: [f"{turn}-{name}" for name in of_kind] for kind, of_kind in names.items()}
    return prompt | {"multi_modal_uuids": renamed}


def write_adapter(member: Member) -> None:
    """Write a random adapter on the attention of the language model; nothing large is built."""
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file

    from benchmarks.gpu.sizes import draw

    with torch.device("meta"):
        model = draw(member.card.model.path, member.card.model.dtype, "sdpa")
        names = [name for name, _ in model.named_modules() if re.fullmatch(_ATTENTION, name)]
        model = get_peft_model(model, LoraConfig(r=_RANK, target_modules=names))
    folder = Path(member.uri)
    folder.mkdir()
    torch.manual_seed(SEED)
    weights = get_peft_model_state_dict(model)
    drawn = {name: 0.01 * torch.randn(weight.shape) for name, weight in weights.items()}
    save_file(drawn, folder / "adapter_model.safetensors")
    model.peft_config["default"].save_pretrained(folder)
