"""How much GPU memory the training of a Qwen3-Omni takes, from its config alone.

    python -m ah_ray.training.sizing [CHECKPOINT]

prints the tables of ``docs/training.md`` for the published Qwen3-Omni-30B-A3B, or for the
``config.json`` in a checkpoint folder. Sizes are bytes; G is 2**30.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ah_ray.models.qwen3_omni_size import PUBLISHED, lora_parameters, parameters

GIB = 2**30
Stage = Literal[0, 1, 2, 3]


class Memory(NamedTuple):
    """Bytes on one GPU.

    Attributes:
        weights: bfloat16.
        gradients: bfloat16, of what is trained.
        optimizer: AdamW's two moments and a master copy, float32, of what is trained.
        activations: what the backward pass needs, with gradient checkpointing.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """Without the allocator's reserve and communication buffers: plan 10 % more."""
        return sum(self)


def memory(
    thinker: Mapping[str, Any],
    trained: int,
    zero: Stage,
    gpus: int,
    tokens: int,
) -> Memory:
    """The memory of one GPU in a training with mixed precision and DeepSpeed ZeRO.

    Stage 1 divides the optimizer's state among the GPUs, stage 2 the gradients too, stage 3 the
    weights too (of which two layers at a time are whole on each GPU).

    Args:
        thinker: see ``parameters``.
        trained: how many parameters are trained.
        zero: ZeRO stage; 0 for none.
        gpus: that share the training.
        tokens: of the conversations in one forward pass of one GPU.
    """
    text = thinker["text_config"]
    sizes = parameters(thinker)
    shared = [gpus if zero >= stage else 1 for stage in (3, 2, 1)]
    weights = 2.0 * (sizes.language + sizes.vision + sizes.audio + sizes.aligner)
    if zero == 3:
        layer = (sizes.attention + sizes.experts) / text["num_hidden_layers"]
        whole = 2 * max(2 * layer, sizes.embeddings / 2)
        weights = weights / gpus + whole
    else:
        weights /= shared[0]
    return Memory(
        weights, 2.0 * trained / shared[1], 12.0 * trained / shared[2], _activations(text, tokens)
    )


def _activations(text: Mapping[str, Any], tokens: int) -> float:
    """With checkpointing: each layer's input, one layer in full, and the logits in float32."""
    hidden, head = text["hidden_size"], text["head_dim"]
    inputs = 2 * tokens * hidden * text["num_hidden_layers"]
    # Norms, queries, keys, values, output; for each chosen expert its input, gate, up, product
    # and output; forward and backward.
    heads = text["num_attention_heads"] + 2 * text["num_key_value_heads"]
    expert = text["num_experts_per_tok"] * (2 * hidden + 3 * text["moe_intermediate_size"])
    layer = 2 * 2 * tokens * (4 * hidden + heads * head + expert)
    logits = 2 * 4 * tokens * text["vocab_size"]
    return float(inputs + layer + logits)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="How much GPU memory a training takes.")
    parser.add_argument("checkpoint", nargs="?", help="a folder with the config.json of a thinker")
    folder = parser.parse_args(arguments).checkpoint
    thinker: Mapping[str, Any] = PUBLISHED
    if folder is not None:
        try:
            config = json.loads(Path(folder, "config.json").read_text())
            thinker = config.get("thinker_config", config)
            parameters(thinker)
        except (OSError, ValueError) as error:
            parser.error(f"{folder}: {error}")
        except (AttributeError, KeyError, TypeError) as error:
            parser.error(f"{folder}/config.json is not that of a Qwen3-Omni thinker: {error}")
    sizes = parameters(thinker)
    print("| part | parameters |\n|---|---|")
    for name, count in [*sizes._asdict().items(), ("all", sum(sizes))]:
        print(f"| {name} | {count:,} |")
    tokens = 2 * 4096  # the paper's batch of 2, for clips of 5 s with a long prompt
    recipes: tuple[tuple[str, int, tuple[Stage, ...]], ...] = (
        ("lora attention", lora_parameters(thinker, 8, "attention"), (0, 3)),
        ("lora all-linear", lora_parameters(thinker, 8, "all-linear"), (0, 3)),
        ("full", sizes.language, (0, 1, 2, 3)),
    )
    print(
        "\n| recipe | ZeRO | GPUs | weights | gradients | optimizer | activations | GiB per GPU |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for recipe, trained, stages in recipes:
        for zero in stages:
            for gpus in (1,) if not zero else (8, 16):
                parts = memory(thinker, trained, zero, gpus, tokens)
                cells = " | ".join(f"{part / GIB:.1f}" for part in (*parts, parts.total))
                print(f"| {recipe} | {zero or '-'} | {gpus} | {cells} |")


if __name__ == "__main__":
    main()
