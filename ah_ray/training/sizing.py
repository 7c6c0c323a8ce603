"""How much GPU memory the training of a Qwen3-Omni takes, from its config alone.

    python -m ah_ray.training.sizing [CHECKPOINT] [--gib 141] [--nodes 2] [--gpus 8]

prints the tables of ``docs/training.md`` for the published Qwen3-Omni-30B-A3B, or for the
``config.json`` in a checkpoint folder, and how to divide a training among so many GPUs of so much
memory, by DeepSpeed ZeRO and by Megatron. Sizes are bytes; G is 2**30.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ah_ray.models.qwen3_omni_size import PUBLISHED, lora_parameters, parameters
from ah_ray.training.recipe import FullConfig, MegatronConfig, RecipeConfig

GIB = 2**30
#: Of a conversation about a clip of 5 s with a long prompt.
TOKENS = 4096
_RESERVE = 1.1  # what the allocator and communication take beside what is counted
Stage = Literal[0, 1, 2, 3]


class Memory(NamedTuple):
    """Bytes on one GPU.

    Attributes:
        weights: bfloat16.
        gradients: of what is trained; bfloat16, float32 by Megatron.
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
    active = sum(_activations(text, tokens))
    return Memory(weights, 2.0 * trained / shared[1], 12.0 * trained / shared[2], active)


def megatron_memory(
    thinker: Mapping[str, Any], recipe: RecipeConfig, processes: int, tokens: int
) -> Memory:
    """The memory of the GPU that holds most in a training by Megatron.

    Of each trained parameter that a GPU holds it has 2 bytes of the weight and 4 of a gradient, and
    12 bytes of AdamW's state are divided among the GPUs that hold it, too: the rule of Megatron's
    distributed optimizer for bfloat16 with gradients in float32 (6 + 12/d), which MS-Swift asks for
    (``main_grads_dtype``). Experts are held by ``expert_parallel`` GPUs once together, all other
    matrices of the language model by ``tensor_parallel``; norms, routers, towers and projections
    are whole on each GPU that has them. Experts are taken to be chosen equally often; a GPU whose
    experts are chosen more often needs more for activations.

    Args:
        thinker: see ``parameters``.
        recipe: with the sizes of Megatron; an adapter is on attention.
        processes: that train together.
        tokens: of the conversations in one forward pass.
    """
    text, counts, sizes = thinker["text_config"], parameters(thinker), recipe.sizes
    hidden, head, layers = text["hidden_size"], text["head_dim"], text["num_hidden_layers"]
    stages, tensor = sizes.pipeline_parallel, sizes.tensor_parallel
    routers = layers * text["num_experts"] * hidden
    norms = layers * (2 * hidden + 2 * head)
    experts = (counts.experts - routers) / stages / sizes.expert_parallel
    matrices = (counts.attention - norms) / tensor + norms + routers
    towers = counts.vision + counts.audio
    inputs, layer, logits = _activations(text, tokens)
    along = tensor if sizes.sequence_parallel else 1

    def of_stage(first: bool, last: bool) -> Memory:
        ends = counts.embeddings / 2 * (first + last) / tensor
        dense = matrices / stages + ends
        held = dense + experts + first * (towers + counts.aligner)
        learns, learning_experts = 0.0, 0.0
        if recipe.full:
            learns += recipe.full.language * dense
            learns += first * (recipe.full.vision * towers + recipe.full.aligner * counts.aligner)
            learning_experts = recipe.full.language * experts
        elif recipe.lora:
            learns = _megatron_adapter(text, recipe.lora.rank) / stages
            held += learns
        divided = learns / (processes / (tensor * stages))
        divided += learning_experts / (processes / (sizes.expert_parallel * stages))
        # The first stage has begun as many passes as there are stages when one comes back.
        begun = inputs if first else inputs / stages
        active = begun / along + layer / tensor + last * logits / tensor
        return Memory(2.0 * held, 4.0 * (learns + learning_experts), 12.0 * divided, active)

    if stages == 1:
        return of_stage(first=True, last=True)
    return max(of_stage(True, False), of_stage(False, True), key=lambda share: share.total)


def _megatron_adapter(text: Mapping[str, int], rank: int) -> int:
    """The parameters of an adapter on attention, in which queries, keys and values share one."""
    hidden, head = text["hidden_size"], text["head_dim"]
    queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    layer = rank * (hidden + queries + 2 * keys) + rank * (queries + hidden)
    return text["num_hidden_layers"] * layer


def _activations(text: Mapping[str, Any], tokens: int) -> tuple[float, float, float]:
    """With checkpointing: each layer's input, one layer in full, and the logits in float32."""
    hidden, head = text["hidden_size"], text["head_dim"]
    inputs = 2 * tokens * hidden * text["num_hidden_layers"]
    # Norms, queries, keys, values, output; for each chosen expert its input, gate, up, product
    # and output; forward and backward.
    heads = text["num_attention_heads"] + 2 * text["num_key_value_heads"]
    expert = text["num_experts_per_tok"] * (2 * hidden + 3 * text["moe_intermediate_size"])
    layer = 2 * 2 * tokens * (4 * hidden + heads * head + expert)
    logits = 2 * 4 * tokens * text["vocab_size"]
    return float(inputs), float(layer), float(logits)


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
    tokens = 2 * TOKENS  # the paper's batch of 2
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
    print("\nfull by Megatron, which has never been run:\n")
    print(
        "| expert_parallel | GPUs | weights | gradients | optimizer | activations | GiB per GPU |"
    )
    print("|---|---|---|---|---|---|---|")
    for gpus in (8, 16):
        for expert_parallel in (n for n in (4, 8, 16) if n <= gpus):
            divided = MegatronConfig(expert_parallel=expert_parallel)
            full = RecipeConfig(
                trainer="megatron", full=FullConfig(), megatron=divided, learning_rate=1
            )
            parts = megatron_memory(thinker, full, gpus, tokens)
            cells = " | ".join(f"{part / GIB:.1f}" for part in (*parts, parts.total))
            print(f"| {expert_parallel} | {gpus} | {cells} |")
    print(f"\nOn {given.nodes} x {given.gpus} GPUs of {given.gib:g} GiB:\n")
    for recipe, trained, _ in recipes:
        found = strategy(thinker, trained, given.nodes, given.gpus, tokens, given.gib * GIB)
        told = f"{found.settings} ({found.memory.total / GIB:.1f} GiB)" if found else "does not fit"
        print(f"- {recipe}: {told}")


if __name__ == "__main__":
    main()
