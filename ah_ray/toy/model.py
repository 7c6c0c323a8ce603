"""A random Qwen3-Omni, of 0.6 million parameters or as large as asked, as a checkpoint folder.

It has every part of the published thinker (vision and audio towers, mixture of experts, deep-stack
features, interleaved rotary positions), so what trains and serves it treats the real one alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import (
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3OmniMoeConfig,
    Qwen3OmniMoeForConditionalGeneration,
    Qwen3OmniMoeProcessor,
    WhisperFeatureExtractor,
)

from ah_ray.toy.base import BOTH_QUESTION, BRIGHT_QUESTION, SMILE_QUESTION, SYSTEM_TEXT
from ah_ray.toy.parts import chat_template, greedy, train_tokenizer, write_random

_HIDDEN = 64
_PATCH = 16

#: The tiny thinker, in the form of ``models.qwen3_omni_size.PUBLISHED``.
TINY: dict[str, dict[str, Any]] = {
    "text_config": {
        **{"hidden_size": _HIDDEN, "num_hidden_layers": 2, "intermediate_size": 2 * _HIDDEN},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32},
        **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": _HIDDEN},
    },
    "vision_config": {
        **{"depth": 2, "hidden_size": _HIDDEN, "intermediate_size": 2 * _HIDDEN, "num_heads": 4},
        **{"in_channels": 3, "patch_size": _PATCH, "temporal_patch_size": 2},
        **{"spatial_merge_size": 2, "num_position_embeddings": 64, "out_hidden_size": _HIDDEN},
        "deepstack_visual_indexes": [0],
    },
    "audio_config": {
        **{"encoder_layers": 1, "num_hidden_layers": 1, "encoder_attention_heads": 4},
        **{"d_model": _HIDDEN, "encoder_ffn_dim": 2 * _HIDDEN, "num_mel_bins": 128},
        **{"downsample_hidden_size": 16, "output_dim": _HIDDEN},
    },
}

#: What the tokenizer of the demo's model learns its words from.
_TEXTS = (
    *["<answer>Yes</answer>", "<answer>No</answer>", "system\nuser\nassistant\n"] * 20,
    *[SMILE_QUESTION, BRIGHT_QUESTION, BOTH_QUESTION] * 10,
    *["<answer>smile, bright</answer>", "<answer>frown, dull</answer>"] * 10,
    SYSTEM_TEXT,
    "Smile or frown, bright or dull: do the face and the tone disagree?",
    "Do the face and the tone disagree? Does the face frown? Is the tone dull?",
    "Look at the mouth: a smile is glad, a frown is sad. Listen to the tone: bright is glad, "
    "dull is sad. Does one say glad while the other says sad?",
    "Watch the clip, listen to the voice, then answer Yes or No.",
)

_MEDIA_TOKENS = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}

_PLACEHOLDERS = {
    "image": "<|vision_start|><|image_pad|><|vision_end|>",
    "video": "<|vision_start|><|video_pad|><|vision_end|>",
    "audio": "<|audio_start|><|audio_pad|><|audio_end|>",
}


def write_tiny_checkpoint(
    folder: Path, seed: int = 0, *, texts: Iterable[str] = _TEXTS, merges: int = 200
) -> None:
    """Write config, random weights, tokenizer and processors of the tiny model to ``folder``.

    Args:
        folder: for the checkpoint.
        seed: of the weights.
        texts: what the tokenizer learns its words from.
        merges: how many words and parts of words it learns at most.
    """
    write_checkpoint(folder, TINY, seed, texts=texts, merges=merges)


def write_checkpoint(
    folder: Path,
    thinker: Mapping[str, Mapping[str, Any]],
    seed: int = 0,
    *,
    texts: Iterable[str],
    merges: int,
    dtype: str = "float32",
    weights: bool = True,
) -> None:
    """The same of any size; the weights are drawn on torch's default device.

    Args:
        folder: for the checkpoint.
        thinker: its sizes, with ``text_config``, ``vision_config`` and ``audio_config``.
        seed: of the weights.
        texts: what the tokenizer learns its words from.
        merges: how many words and parts of words it learns at most.
        dtype: number format of the weights.
        weights: whether to write any, or all the rest alone.
    """
    tokenizer = train_tokenizer(texts, merges, _MEDIA_TOKENS)
    config = _config(tokenizer, thinker, dtype)
    kind = Qwen3OmniMoeForConditionalGeneration
    if weights:
        write_random(kind, config, tokenizer, folder, seed)
    else:
        config.architectures = [kind.__name__]
        config.save_pretrained(folder)
        greedy(tokenizer).save_pretrained(folder)
    Qwen3OmniMoeProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=_PATCH),
        video_processor=Qwen2VLVideoProcessor(patch_size=_PATCH),
        feature_extractor=WhisperFeatureExtractor(feature_size=128),
        tokenizer=tokenizer,
        chat_template=chat_template(_PLACEHOLDERS),
    ).save_pretrained(folder)


def _config(
    tokenizer: Qwen2Tokenizer, thinker: Mapping[str, Mapping[str, Any]], dtype: str
) -> Qwen3OmniMoeConfig:
    """The published configuration's fields (also those that only some readers need)."""
    sizes = {name: dict(part) for name, part in thinker.items()}
    text, vision = sizes["text_config"], sizes["vision_config"]
    half = text["head_dim"] // 2  # frequencies: 24, 20 and 20 of 64 for time, height, width
    narrow = half * 20 // 64
    sizes["text_config"] = {
        "vocab_size": len(tokenizer),
        "shared_expert_intermediate_size": 0,
        "norm_topk_prob": True,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [half - 2 * narrow, narrow, narrow],
            "mrope_interleaved": True,
        },
        **text,
    }
    sizes["vision_config"] = {
        "spatial_patch_size": vision["patch_size"],
        "in_chans": vision["in_channels"],
        "image_size": vision["patch_size"] * math.isqrt(vision["num_position_embeddings"]),
        "apply_vit_abs_pos_embed": True,
        "tokens_per_second": 2,
        **vision,
    }
    sizes["audio_config"] |= {"n_window": 50, "n_window_infer": 800}
    ids: dict[str, Any] = {"position_id_per_seconds": 13, "tie_word_embeddings": False}
    for name in ("audio_token", "image_token", "video_token"):
        ids[f"{name}_id"] = tokenizer.convert_tokens_to_ids(_MEDIA_TOKENS[name])
    ids["audio_start_token_id"] = tokenizer.convert_tokens_to_ids("<|audio_start|>")
    ids["audio_end_token_id"] = tokenizer.convert_tokens_to_ids("<|audio_end|>")
    ids["vision_start_token_id"] = tokenizer.convert_tokens_to_ids("<|vision_start|>")
    ids["vision_end_token_id"] = tokenizer.convert_tokens_to_ids("<|vision_end|>")
    return Qwen3OmniMoeConfig(
        thinker_config=sizes | ids,
        enable_audio_output=False,  # no talker: the answer is text
        im_start_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        im_end_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        dtype=dtype,
    )
