"""How much GPU memory a training takes, from the model's config alone. Nothing is loaded.

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

GIB = 2**30
Stage = Literal[0, 1, 2, 3]

#: The thinker of Qwen3-Omni-30B-A3B as published; what transformers' defaults have otherwise.
PUBLISHED: dict[str, dict[str, Any]] = {
    "text_config": {
        **{"vocab_size": 152064, "hidden_size": 2048, "num_hidden_layers": 48},
        **{"num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128},
        **{"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
    },
    "vision_config": {
        **{"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16},
        **{"in_channels": 3, "patch_size": 16, "temporal_patch_size": 2, "spatial_merge_size": 2},
        **{"num_position_embeddings": 2304, "out_hidden_size": 2048},
        "deepstack_visual_indexes": [8, 16, 24],
    },
    "audio_config": {
        **{"encoder_layers": 32, "d_model": 1280, "encoder_ffn_dim": 5120, "num_mel_bins": 128},
        **{"downsample_hidden_size": 480, "output_dim": 2048},
    },
}


class Parameters(NamedTuple):
    """How many parameters each part of the thinker has.

    Attributes:
        embeddings: of the vocabulary, at both ends of the language model.
        attention: of all its layers, norms included.
        experts: of all its layers, routers included.
        vision: the vision tower, without what projects into the language model.
        audio: the audio tower, likewise.
        aligner: these projections.
    """

    embeddings: int
    attention: int
    experts: int
    vision: int
    audio: int
    aligner: int

    @property
    def language(self) -> int:
        """The language model."""
        return self.embeddings + self.attention + self.experts


def parameters(thinker: Mapping[str, Mapping[str, Any]]) -> Parameters:
    """The parameters of a Qwen3-Omni thinker.

    Args:
        thinker: its config with ``text_config``, ``vision_config`` and ``audio_config``.
    """
    text, vision, audio = (thinker[f"{part}_config"] for part in ("text", "vision", "audio"))
    hidden, layers = text["hidden_size"], text["num_hidden_layers"]
    head = text["head_dim"]
    queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    attention = 2 * hidden * queries + 2 * hidden * keys + 2 * head + 2 * hidden
    experts = text["num_experts"] * (3 * hidden * text["moe_intermediate_size"] + hidden)
    wide = vision["hidden_size"] * vision["spatial_merge_size"] ** 2
    out = _linear(wide, wide) + _linear(wide, vision["out_hidden_size"])
    deepstack = len(vision["deepstack_visual_indexes"])
    # The projection of the last layer normalises before it merges patches, the others after.
    projections = (1 + deepstack) * out + 2 * vision["hidden_size"] + deepstack * 2 * wide
    model = audio["d_model"]
    return Parameters(
        embeddings=2 * text["vocab_size"] * hidden,
        attention=layers * attention + hidden,
        experts=layers * experts,
        vision=_vision_tower(vision),
        audio=_audio_tower(audio),
        aligner=projections + _linear(model, model) + _linear(model, audio["output_dim"]),
    )


def _vision_tower(vision: Mapping[str, int]) -> int:
    hidden, inner = vision["hidden_size"], vision["intermediate_size"]
    patch = vision["in_channels"] * vision["temporal_patch_size"] * vision["patch_size"] ** 2
    block = _linear(hidden, 3 * hidden) + _linear(hidden, hidden) + 4 * hidden
    block += _linear(hidden, inner) + _linear(inner, hidden)
    positions = vision["num_position_embeddings"] * hidden
    return _linear(patch, hidden) + positions + int(vision["depth"]) * block


def _audio_tower(audio: Mapping[str, int]) -> int:
    model, inner, small = (
        audio["d_model"],
        audio["encoder_ffn_dim"],
        audio["downsample_hidden_size"],
    )
    bins = audio["num_mel_bins"]
    for _ in range(3):  # each convolution halves the spectrogram, rounding up
        bins = (bins + 1) // 2
    block = 4 * _linear(model, model) + _linear(model, inner) + _linear(inner, model) + 4 * model
    convolutions = _linear(9, small) + 2 * _linear(9 * small, small) + small * bins * model
    return int(convolutions) + int(audio["encoder_layers"]) * block + int(2 * model)


def _linear(wide: int, narrow: int) -> int:
    return int((wide + 1) * narrow)


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


def lora_parameters(
    thinker: Mapping[str, Any], rank: int, targets: Literal["attention", "all-linear"]
) -> int:
    """The parameters of an adapter on the named targets (see ``adapters.LORA_TARGETS``)."""
    text = thinker["text_config"]
    hidden, head = text["hidden_size"], text["head_dim"]
    queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    layer = 2 * rank * (hidden + queries) + 2 * rank * (hidden + keys)
    if targets == "all-linear":
        inner, experts = text["moe_intermediate_size"], text["num_experts"]
        # Gate and up are one matrix of twice the height, with twice the rank.
        layer += experts * rank * (2 * (hidden + 2 * inner) + inner + hidden)
        layer += rank * (hidden + experts)
    return int(text["num_hidden_layers"] * layer)


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
