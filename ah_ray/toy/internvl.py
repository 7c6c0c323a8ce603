"""A random InternVL of 0.6 million parameters, saved as an ordinary checkpoint folder.

It has every part of the published ones that follow transformers (vision tower, pixel shuffle,
projector, a Qwen2 that answers), so what trains and serves it treats the real one alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
)

from ah_ray.toy.parts import chat_template, train_tokenizer, write_random
from ah_ray.toy.text import LANGUAGE

_PATCH = 14
_MEDIA_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


def write_tiny_internvl(
    folder: Path,
    texts: Iterable[str],
    *,
    merges: int = 400,
    square: int = 56,
    seed: int = 0,
) -> None:
    """Write config, random weights, tokenizer and processors of a tiny InternVL to ``folder``.

    Args:
        folder: for the checkpoint.
        texts: what the tokenizer learns its words from.
        merges: how many words and parts of words it learns at most.
        square: width and height of its pictures, in pixels: a multiple of 28. A picture takes
            ``(square / 28)²`` tokens.
        seed: of the weights.
    """
    tokenizer = train_tokenizer(texts, merges, _MEDIA_TOKENS)
    config = _config(len(tokenizer), tokenizer.context_image_token_id, square)
    write_random(InternVLForConditionalGeneration, config, tokenizer, folder, seed)
    pictures: dict[str, Any] = {
        "size": {"height": square, "width": square},
        "image_mean": [0.485, 0.456, 0.406],  # as published: those of ImageNet
        "image_std": [0.229, 0.224, 0.225],
    }
    InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(**pictures),
        video_processor=InternVLVideoProcessor(**pictures),
        tokenizer=tokenizer,
        image_seq_length=config.image_seq_length,
        chat_template=chat_template({"image": "<IMG_CONTEXT>\n", "video": "<video>\n"}),
    ).save_pretrained(folder)


def _config(vocabulary: int, image_token: int, square: int) -> InternVLConfig:
    return InternVLConfig(
        vision_config={
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "attention_bias": True,
            "intermediate_size": 128,
            "image_size": [square, square],
            "patch_size": [_PATCH, _PATCH],
        },
        text_config={"model_type": "qwen2", "vocab_size": vocabulary, **LANGUAGE},
        image_token_id=image_token,
        image_seq_length=(square // _PATCH // 2) ** 2,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
        dtype="float32",
    )
