"""The vocabulary of the published Qwen models, for tiny models that split words as those do.

The package ``dashscope`` ships it as ``qwen.tiktoken``: the byte sequences in the order in which
they are merged. The package itself is not imported.
"""

from __future__ import annotations

import base64
import importlib.util
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen3OmniMoeForConditionalGeneration,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

#: The special tokens of the published models, in order after all others.
_SPECIAL = (
    *("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start"),
    *("box_end", "quad_start", "quad_end", "vision_start", "vision_end", "vision_pad"),
    *("image_pad", "video_pad"),
)


@cache
def real_ranks() -> dict[bytes, int]:
    """The byte sequences of the vocabulary, and their places in it."""
    package = importlib.util.find_spec("dashscope")
    assert package, "the package dashscope is missing: make setup"
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0], "resources", "qwen.tiktoken")
    lines = (line.split() for line in path.read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def write_real_omni(folder: Path, omni: Path) -> None:
    """A random model like ``omni`` with the real vocabulary."""
    processor = AutoProcessor.from_pretrained(omni)
    tiny, processor.tokenizer = processor.tokenizer, real_tokenizer(omni)
    config = AutoConfig.from_pretrained(omni)
    config.thinker_config.text_config.vocab_size = len(processor.tokenizer)
    for part in (config, config.thinker_config):
        for name, value in part.to_dict().items():
            if name.endswith("_token_id") and (token := tiny.convert_ids_to_tokens(value)):
                setattr(part, name, processor.tokenizer.convert_tokens_to_ids(token))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3OmniMoeForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def real_tokenizer(folder: Path) -> Qwen2Tokenizer:
    """The tokenizer of the published models, with the special tokens of the one in ``folder``."""
    ranks = real_ranks()
    letters = bytes_to_unicode()

    def text(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = [
        tuple(map(text, _parts(token, rank, ranks)))
        for token, rank in ranks.items()
        if len(token) > 1
    ]
    named = AutoTokenizer.from_pretrained(folder).special_tokens_map
    usual = {name: named.pop(name) for name in ("eos_token", "pad_token", "unk_token")}
    # MS-Swift knows some of them by their numbers.
    special = {f"<|{name}|>": len(ranks) + place for place, name in enumerate(_SPECIAL)}
    return Qwen2Tokenizer(
        vocab={text(token): rank for token, rank in ranks.items()} | special,
        merges=merges,
        **usual,
        extra_special_tokens=named,
    )


def _parts(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    """The two tokens that are merged into ``token``: what the earlier merges make of it."""
    parts = [token[place : place + 1] for place in range(len(token))]
    while len(parts) > 2:
        merged = [ranks.get(a + b, rank) for a, b in pairwise(parts)]
        place = min(range(len(merged)), key=merged.__getitem__)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
