"""How many parameters a Qwen3-Omni has, counted from its config alone. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

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


def lora_parameters(
    thinker: Mapping[str, Any], rank: int, targets: Literal["attention", "all-linear"]
) -> int:
    """The parameters of an adapter on the named targets (see ``qwen3_omni``)."""
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
