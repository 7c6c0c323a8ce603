"""A random Qwen2.5-VL of 0.6 million parameters, saved as an ordinary checkpoint folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from ah_ray.toy.parts import chat_template, train_tokenizer, write_random
from ah_ray.toy.text import LANGUAGE

_PATCH = 14
_HIDDEN = 64  # of the tower
_MEDIA_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
}


def write_tiny_vision(
    folder: Path, texts: Iterable[str], *, merges: int = 400, seed: int = 0
) -> None:
    """Write config, random weights, tokenizer and processors of a tiny model to ``folder``.

    Args:
        folder: for the checkpoint.
        texts: what the tokenizer learns its words from.
        merges: how many words and parts of words it learns at most.
        seed: of the weights.
    """
    tokenizer = train_tokenizer(texts, merges, _MEDIA_TOKENS)
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(_MEDIA_TOKENS[f"{of}_token"])
        for name, of in (
            ("image", "image"),
            ("video", "video"),
            ("vision_start", "vision_bos"),
            ("vision_end", "vision_eos"),
        )
    }
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]}
    text = {**LANGUAGE, "vocab_size": len(tokenizer), "rope_parameters": rope}
    text["eos_token_id"] = tokenizer.eos_token_id
    text["pad_token_id"] = tokenizer.pad_token_id
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "hidden_size": _HIDDEN,
            "intermediate_size": 2 * _HIDDEN,
            "num_heads": 4,
            "out_hidden_size": text["hidden_size"],
            "patch_size": _PATCH,
            "window_size": 4 * _PATCH,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
        tie_word_embeddings=False,
        dtype="float32",
        **ids,
    )
    write_random(Qwen2_5_VLForConditionalGeneration, config, tokenizer, folder, seed)
    pictures = {
        kind: f"<|vision_start|><|{kind}_pad|><|vision_end|>" for kind in ("image", "video")
    }
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=_PATCH),
        video_processor=Qwen2VLVideoProcessor(patch_size=_PATCH),
        tokenizer=tokenizer,
        chat_template=chat_template(pictures),
    ).save_pretrained(folder)
