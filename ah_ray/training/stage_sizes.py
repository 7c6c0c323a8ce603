"""How much the stages of a hybrid at full size train, and what GPU memory that takes.

    python -m ah_ray.training.stage_sizes [jobs/hybrid.yaml] [--member hybrid] [--gpus 8]

prints the table of ``docs/hybrid.md`` for a model made of the published Qwen2.5-VL-7B, counted on
transformers' model without its weights. Sizes are bytes; G is 2**30.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from ah_ray.config import load_config
from ah_ray.models.architecture import find_architecture
from ah_ray.training.adapters import Shapes
from ah_ray.training.outlook import trained_parameters
from ah_ray.training.parts import part_of
from ah_ray.training.sizing import GIB, Memory

#: Of Qwen2.5-VL-7B as published; what transformers' defaults have otherwise.
PUBLISHED: dict[str, dict[str, Any]] = {
    "text_config": {
        **{"vocab_size": 152064, "hidden_size": 3584, "num_hidden_layers": 28},
        **{"num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944},
    },
    "vision_config": {"hidden_size": 1280, "out_hidden_size": 3584},
}


def shapes(config: Mapping[str, Any] = PUBLISHED) -> dict[str, tuple[int, ...]]:
    """The shapes of a hybrid's weights by name; nothing is allocated.

    Args:
        config: with ``text_config`` and ``vision_config``.
    """
    import torch

    from ah_ray.models.hybrid_modeling import HybridConfig, HybridForConditionalGeneration

    with torch.device("meta"):
        model = HybridForConditionalGeneration(HybridConfig(**config))
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def size(weights: Shapes) -> dict[str, int]:
    """How many parameters each part has, the finest parts there are."""
    architecture, found = find_architecture("qwen2_5_vl_hybrid"), dict[str, int]()
    for name, shape in weights.items():
        part, count = part_of(architecture, name) or "other", 1
        for length in shape:
            count *= length
        found[part] = found.get(part, 0) + count
    return found


def memory(text: Mapping[str, int], total: int, trained: int, gpus: int, tokens: int) -> Memory:
    """What one of so many GPUs holds with ZeRO 2, which shares gradients and optimizer.

    Args:
        text: the config of the language model.
        total: parameters of the model.
        trained: how many of them, or of adapters, are trained.
        gpus: that share the training.
        tokens: of the conversations in one forward pass of one GPU.
    """
    # With checkpointing: each layer's input, one layer in full, and the logits in float32.
    hidden, inner = text["hidden_size"], text["intermediate_size"]
    inputs = 2 * tokens * hidden * text["num_hidden_layers"]
    layer = 2 * 2 * tokens * (6 * hidden + 3 * inner)
    logits = 2 * 4 * tokens * text["vocab_size"]
    return Memory(
        2.0 * total, 2.0 * trained / gpus, 12.0 * trained / gpus, float(inputs + layer + logits)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What the stages of a hybrid train.")
    parser.add_argument("config", nargs="?", default="jobs/hybrid.yaml")
    parser.add_argument("--member", default="hybrid", help="that is trained in stages")
    parser.add_argument("--gpus", type=int, default=8, help="that share a training")
    given = parser.parse_args(arguments)
    recipe = load_config(given.config, "run").recipe(given.member)
    weights, architecture = shapes(), find_architecture("qwen2_5_vl_hybrid")
    sizes = size(weights)
    print("| part | parameters |\n|---|---|")
    for name, count in [*sizes.items(), ("all", sum(sizes.values()))]:
        print(f"| {name} | {count:,} |")
    tokens = recipe.batch_size * recipe.max_length
    print(f"\nZeRO 2 on {given.gpus} GPUs, passes of {tokens:,} tokens:\n")
    print("| stage | trains | parameters | weights | gradients | optimizer | activations | GiB |")
    print("|---|---|---|---|---|---|---|---|")
    for stage in recipe.stages:
        of_stage = recipe.of_stage(stage)
        trained = trained_parameters(weights, of_stage, architecture, stage.trains)
        parts = memory(PUBLISHED["text_config"], sum(sizes.values()), trained, given.gpus, tokens)
        cells = " | ".join(f"{part / GIB:.2f}" for part in (*parts, parts.total))
        how = f"{', '.join(stage.trains)}{' by lora' if stage.lora else ''}"
        print(f"| {stage.name} | {how} | {trained:,} | {cells} |")


if __name__ == "__main__":
    main()
