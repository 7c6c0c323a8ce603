"""Qwen's text models: they read, and neither see nor hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ah_ray.models import qwen
from ah_ray.models.architecture import Architecture, Parts

if TYPE_CHECKING:
    from ah_ray.media.decode import DecodedClip

_LAYER = r"model\.layers\.\d+"
_ATTENTION = r"self_attn\.[qkvo]_proj"


class TextProcessor:
    """A tokenizer in the place of the processor that models with media have."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.batch_decode = tokenizer.batch_decode
        self.save_pretrained = tokenizer.save_pretrained

    def apply_chat_template(self, messages: Sequence[dict[str, Any]], **options: Any) -> str:
        """The conversation as text; templates of text models take no lists of parts.

        Models that may think before they reply are to reply at once.
        """
        plain = [
            {"role": one["role"], "content": "".join(part["text"] for part in one["content"])}
            for one in messages
        ]
        text: str = self.tokenizer.apply_chat_template(plain, enable_thinking=False, **options)
        return text


def _load_processor(path: str) -> TextProcessor:
    from transformers import AutoTokenizer

    return TextProcessor(AutoTokenizer.from_pretrained(path, padding_side="left"))


def _encode(
    processor: TextProcessor, text: str, kinds: Sequence[str], clips: Sequence[DecodedClip]
) -> Any:
    from transformers import BatchFeature

    asked = processor.tokenizer([text] * len(clips), padding=True, return_tensors="pt")
    return BatchFeature(dict(asked))


QWEN2_5_TEXT = Architecture(
    model_type="qwen2",
    kinds=(),
    unit=1,
    swift_model="qwen2",
    swift_template="qwen2_5",
    parts=Parts(language=("model.", "lm_head."), towers=(), aligner=()),
    lora_targets={
        "attention": rf"{_LAYER}\.{_ATTENTION}",
        "all-linear": rf"{_LAYER}\.({_ATTENTION}|mlp\.(gate|up|down)_proj)",
    },
    name_in_memory=lambda name: name,
    load_processor=_load_processor,
    load_model=qwen.load_model,
    core=lambda model: model,
    encode=_encode,
    times=(),
    vllm_limits=lambda kinds, longest: {},
    vllm_media=lambda kinds, clip: {},
    swift_environment=lambda media, reader: {},
    read_with=lambda name, pictures, sound: None,
)

# MS-Swift's template, as ours, writes an empty thought before the reply. Models that never think
# ("Instruct-2507") are trained with ``extra_args: {template: qwen3_nothinking}``.
QWEN3_TEXT = replace(QWEN2_5_TEXT, model_type="qwen3", swift_model="qwen3", swift_template="qwen3")
