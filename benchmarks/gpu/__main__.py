"""The acceptance run of a machine with one GPU, in five parts of minutes each.

    python -m benchmarks.gpu PART [--size toy] [--work DIR]

Models have random weights in the shapes of the published Qwen3-Omni-30B-A3B, drawn on the device;
nothing is fetched. With ``--size toy`` a part runs whole on a CPU with tiny models: the same code,
whose figures say that it runs and nothing else.

    thinker   our transformers engine with all 31.7 billion parameters, by batch size
    lora      `swift sft` of an adapter at two depths, and what follows for the full one
    zero3     `swift sft` of all weights with DeepSpeed ZeRO 3, killed and resumed, and its member
    kernels   torch's attention against transformers' plain one: whether the answers agree
    vllm      our vLLM engine, with and without adapters, and the bare asynchronous one

Each prints a table, then one JSON object with the table's rows and the figures beside it.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table

from ah_ray.progress import console
from ah_ray.training.versions import package_versions
from benchmarks.gpu.sizes import SIZES, Result, Size, device_name

PARTS = {
    "thinker": "engines:thinker",
    "lora": "training:lora",
    "zero3": "training:zero3",
    "kernels": "engines:kernels",
    "vllm": "serving:vllm",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a part and print what it has found."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--size", choices=SIZES, default="real")
    parser.add_argument("--work", help="a folder with room for checkpoints; by default a temporary")
    given = parser.parse_args(arguments)
    size = SIZES[given.size]
    run: Callable[[Size, Path], Result] = pkgutil.resolve_name(
        f"benchmarks.gpu.{PARTS[given.part]}"
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        rows, figures = run(size, Path(work))
    table = Table(*rows[0], title=f"{given.part}, {given.size}, on {device_name(size)}")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    console.print(table)
    for name, value in figures.items():
        console.print(name, _text(value))
    facts = {
        "part": given.part,
        "size": given.size,
        "device": device_name(size),
        "seconds": round(time.perf_counter() - start, 1),
        "versions": package_versions(),
    }
    print(json.dumps(facts | {"rows": rows} | figures))


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
