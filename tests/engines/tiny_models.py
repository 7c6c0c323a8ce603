"""Tiny random checkpoints of two architectures, and clips to show them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from ah_ray.engines.engine import Item
from ah_ray.engines.transformers_engine import load_model
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import Member, MemberCard, write_card
from ah_ray.models.architecture import Architecture, architecture_of_type, find_architecture
from ah_ray.models.config import ModelConfig
from ah_ray.tasks import Prompt, Question, load_task
from ah_ray.tasks.answers import Choice

ATTENTION = r".*model\.layers\.\d+\.self_attn\.[qv]_proj"


def name_of_architecture(folder: Path) -> str:
    """Of a checkpoint of ours."""
    config = json.loads((folder / "config.json").read_text())
    return architecture_of_type(config["model_type"]) or ""


def architecture_at(folder: Path) -> Architecture:
    """The same, itself."""
    return find_architecture(name_of_architecture(folder))


def media_of(folder: Path) -> MediaConfig:
    """All that the architecture of a checkpoint takes."""
    architecture = architecture_at(folder)
    hears = "audio" in architecture.kinds
    return MediaConfig(size_multiple=architecture.unit, audio="separate" if hears else "none")


def member(
    folder: Path, name: str, prompt: str = "short", media: MediaConfig | None = None
) -> Member:
    """A member with weights of its own in ``folder``, and its card there."""
    card = MemberCard(
        name=name, weights="full", question=load_task("cue_conflict").question(prompt, "prompt"),
        model=ModelConfig(
            path=str(folder), dtype="float32", architecture=name_of_architecture(folder)
        ),
        media=media or media_of(folder),
        segmentation=SegmentationConfig(clip_s=2.5, min_tail_s=1.5),
    )  # fmt: skip
    (folder / "member.yaml").write_bytes(write_card(card))
    return Member(str(folder), card)


def changed(one: Member, **values: Any) -> Member:
    """A member with other values on its card."""
    return Member(one.uri, one.card.model_copy(update=values))


def reading(folder: Path) -> Member:
    """A member that sees and hears nothing and reads what ``other`` wrote; it has four options."""
    media = media_of(folder).model_copy(update={"picture": "none", "audio": "none"})
    question = Question(
        name="mood",
        answer=Choice(
            kind="choice",
            options=("glad", "sad", "glad and sad", "glad and then bad"),
            reply="<answer>{answer}</answer>",
        ),
        prompt=Prompt(system="You read.", user="Of a clip is said: {other} How are they?"),
    )
    return changed(member(folder, folder.name, media=media), question=question, reads=("other",))


def random_adapter(
    folder: Path, base: Member, seed: int, *, targets: str = ATTENTION, **values: Any
) -> Member:
    """A member with a random adapter on ``base``, and other values on its card."""
    model = load_model(base.checkpoint, base.card.model)
    torch.manual_seed(seed)
    adapter = LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    get_peft_model(model, adapter).save_pretrained(folder)
    card = changed(base, name=folder.name, weights="adapter", **values).card
    return Member(str(folder), card)


def random_clips(
    count: int, unit: int = 32, seed: int = 0, frames: int | None = None
) -> list[Item]:
    """Clips of various lengths, rates and sizes; both sides are multiples of ``unit`` pixels.

    With ``frames`` each has as many.
    """
    rng = np.random.default_rng(seed)
    return [
        Item(
            video_id=str(number),
            frames=rng.integers(
                0,
                255,
                (frames or 2 * rng.integers(1, 4), *(unit * rng.integers(1, 4, 2)), 3),
                np.uint8,
            ),
            fps=float(rng.uniform(0.5, 3)),
            audio=rng.normal(0, 0.1, 160 * int(rng.integers(50, 300))).astype(np.float32),
        )
        for number in range(count)
    ]


def write_tiny_qwen2_5_vl(folder: Path, omni: Path) -> None:
    """A random Qwen2.5-VL, which sees and does not hear, with the tokenizer of ``omni``."""
    tokenizer = AutoTokenizer.from_pretrained(omni)
    ids = {
        f"{kind}_token_id": tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>")
        for kind in ("image", "video")
    } | {
        f"vision_{end}_token_id": tokenizer.convert_tokens_to_ids(f"<|vision_{end}|>")
        for end in ("start", "end")
    }
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": 4096, "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6],
            },
        },
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4,
            "out_hidden_size": 64, "patch_size": 14, "window_size": 56,
            "fullatt_block_indexes": [1], "tokens_per_second": 2,
        },
        **ids,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=14),
        video_processor=Qwen2VLVideoProcessor(patch_size=14),
        tokenizer=tokenizer,
        chat_template=(omni / "chat_template.jinja").read_text(),
    ).save_pretrained(folder)
    shutil.copy(omni / "tokenizer.json", folder)
