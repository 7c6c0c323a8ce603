"""How much GPU memory the training of a Qwen3-Omni takes, from its config alone.

    python -m ah_ray.training.sizing [CHECKPOINT] [--gib 141] [--nodes 2] [--gpus 8]

prints the tables of ``docs/training.md`` for the published Qwen3-Omni-30B-A3B, or for the
``config.json`` in a checkpoint folder, and how to divide a training among so many GPUs of so much
memory. Sizes are bytes; G is 2**30.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ah_ray.models.qwen3_omni_size import PUBLISHED, lora_parameters, parameters

GIB = 2**30
_RESERVE = 1.1  # what the allocator and communication take beside what is counted
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
        """Without the allocator's reserve and communication buffers (``_RESERVE``)."""
        return sum(self)


class Strategy(NamedTuple):
    """How a training is divided.

    Attributes:
        zero: the stage of DeepSpeed ZeRO; 0 for plain data-parallel training.
        within: GPUs that hold the weights once together, besides all that do
            (``zero_hpz_partition_size``): those of a node, so that none is fetched from another
            node in the backward pass. None for no such copy.
        memory: on each GPU.
    """

    zero: Stage
    within: int | None
    memory: Memory

    @property
    def settings(self) -> str:
        """As a recipe states it."""
        stated = f"deepspeed: {f'zero{self.zero}' if self.zero else 'null'}"
        copy = f", extra_args: {{zero_hpz_partition_size: {self.within}}}"
        return stated + (copy if self.within else "")


def strategy(
    thinker: Mapping[str, Any], trained: int, nodes: int, gpus: int, tokens: int, room: float
) -> Strategy | None:
    """The lowest stage that fits: each one more divides more, and says more between the GPUs.

    Args:
        thinker: see ``parameters``.
        trained: how many parameters are trained.
        nodes: that share the training.
        gpus: of each.
        tokens: of the conversations in one forward pass of one GPU.
        room: bytes of a GPU.

    Returns:
        None when nothing fits.
    """
    for zero in get_args(Stage):
        plain = memory(thinker, trained, zero, nodes * gpus, tokens)
        copied = plain._replace(weights=plain.weights + _weights(thinker) / gpus)
        over_nodes = [(gpus, copied)] if zero == 3 and nodes > 1 and gpus > 1 else []
        for within, needed in (*over_nodes, (None, plain)):
            if needed.total * _RESERVE <= room:
                return Strategy(zero, within, needed)
    return None


def _weights(thinker: Mapping[str, Any]) -> float:
    sizes = parameters(thinker)
    return 2.0 * (sizes.language + sizes.vision + sizes.audio + sizes.aligner)


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
    weights = _weights(thinker)
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
    parser.add_argument("--gib", type=float, default=141, help="memory of a GPU; 141 of an H200")
    parser.add_argument("--nodes", type=int, default=2, help="that share a training")
    parser.add_argument("--gpus", type=int, default=8, help="of each node")
    given = parser.parse_args(arguments)
    folder = given.checkpoint
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
    print(f"\nOn {given.nodes} x {given.gpus} GPUs of {given.gib:g} GiB:\n")
    for recipe, trained, _ in recipes:
        found = strategy(thinker, trained, given.nodes, given.gpus, tokens, given.gib * GIB)
        told = f"{found.settings} ({found.memory.total / GIB:.1f} GiB)" if found else "does not fit"
        print(f"- {recipe}: {told}")


if __name__ == "__main__":
    main()
