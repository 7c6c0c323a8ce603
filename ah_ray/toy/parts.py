"""What the tiny models have in common: a tokenizer of given texts, a chat template, weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedConfig, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

# Newlines are expressions: a literal one next to a tag is stripped by some renderers only, and one
# missing newline is another prompt to the model.
_CHAT_TEMPLATE = (
    "{{%- for message in messages -%}}"
    "{{{{ '<|im_start|>' + message['role'] + '\\n' }}}}"
    "{{%- if message['content'] is string -%}}{{{{ message['content'] }}}}{{%- else -%}}"
    "{{%- for part in message['content'] -%}}"
    "{{%- if part['type'] == 'text' -%}}{{{{ part['text'] }}}}"
    "{media}"
    "{{%- endif -%}}{{%- endfor -%}}{{%- endif -%}}"
    "{{{{ '<|im_end|>' + '\\n' }}}}"
    "{{%- endfor -%}}"
    "{{%- if add_generation_prompt -%}}{{{{ {reply} }}}}{{%- endif -%}}"
)


def chat_template(media: Mapping[str, str], begun: str = "") -> str:
    """Qwen's chat template.

    Args:
        media: what stands for a medium of each kind.
        begun: what every reply begins with.
    """
    cases = (
        f"{{%- elif part['type'] == {kind!r} -%}}{{{{ {text!r} }}}}" for kind, text in media.items()
    )
    reply = repr(f"<|im_start|>assistant\n{begun}")
    return _CHAT_TEMPLATE.format(media="".join(cases), reply=reply)


def train_tokenizer(
    texts: Iterable[str], merges: int, special: Mapping[str, str]
) -> Qwen2Tokenizer:
    """Train byte-level BPE behind Qwen's pre-tokenizer.

    Args:
        texts: what its merges are learned from; any other text still works, in more tokens.
        merges: how many, on top of the 256 bytes; fewer where the texts have no more.
        special: tokens besides those of turns, by the names that processors know them by.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=len(alphabet) + merges, initial_alphabet=alphabet, show_progress=False
        ),
    )
    learned = json.loads(bpe.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"im_start_token": "<|im_start|>", **special},
    )


def write_random(
    kind: Any, config: PreTrainedConfig, tokenizer: Qwen2Tokenizer, folder: Path, seed: int
) -> None:
    """Write a model with random weights, which answers greedily up to the end of a turn.

    Args:
        kind: its class.
        config: its sizes.
        tokenizer: says how a turn ends.
        folder: for the weights, the config and how it answers.
        seed: of the weights.
    """
    model = random_model(kind, config, seed)
    model.generation_config = greedy(tokenizer)
    model.save_pretrained(folder)


def random_model(kind: Any, config: PreTrainedConfig, seed: int, **how: Any) -> Any:
    """A model with random weights, on torch's default device.

    Args:
        kind: its class.
        config: its sizes, and its number format.
        seed: of the weights.
        how: further arguments of its class, such as ``attn_implementation``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind._from_config(config, **how)
        _scale_by_fan_in(model)
    return model


def greedy(tokenizer: Qwen2Tokenizer) -> GenerationConfig:
    """How a model answers greedily up to the end of a turn."""
    return GenerationConfig(
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _scale_by_fan_in(model: torch.nn.Module) -> None:
    """Redraw the matrices; the default spread of 0.02 lets signals die out at such widths."""
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            continue
        # Experts are stacked [expert, out, in]; all others are [out, in, …].
        fan_in = weight.shape[-1] if "experts" in name else math.prod(weight.shape[1:])
        torch.nn.init.normal_(weight, std=fan_in**-0.5)
