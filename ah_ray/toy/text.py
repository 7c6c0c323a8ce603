"""A random text model of half a million parameters, saved as an ordinary checkpoint folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from ah_ray.toy.parts import chat_template, train_tokenizer, write_random

#: The language model of the tiny models that are not a mixture of experts.
LANGUAGE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "bos_token_id": None,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
}


def write_tiny_text(
    folder: Path,
    texts: Iterable[str],
    *,
    merges: int = 400,
    architecture: str = "qwen3_text",
    seed: int = 0,
) -> None:
    """Write config, random weights and tokenizer of a tiny text model to ``folder``.

    Args:
        folder: for the checkpoint.
        texts: what the tokenizer learns its words from.
        merges: how many words and parts of words it learns at most.
        architecture: ``qwen2_5_text`` or ``qwen3_text``.
        seed: of the weights.
    """
    thinks = architecture == "qwen3_text"
    think = {"think_token": "<think>", "end_think_token": "</think>"} if thinks else {}
    tokenizer = train_tokenizer(texts, merges, think)
    tokenizer.chat_template = chat_template({}, "<think>\n\n</think>\n\n" if thinks else "")
    configs, models = (Qwen3Config, Qwen3ForCausalLM) if thinks else (Qwen2Config, Qwen2ForCausalLM)
    config = configs(
        **LANGUAGE,
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    write_random(models, config, tokenizer, folder, seed)
    tokenizer.save_pretrained(folder)
