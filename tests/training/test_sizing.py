"""The formulas against models that transformers builds on the meta device, without memory."""

import re

import pytest
import torch
from transformers import Qwen3OmniMoeThinkerConfig, Qwen3OmniMoeThinkerForConditionalGeneration

from ah_ray.models.qwen3_omni_size import PUBLISHED, lora_parameters, parameters
from ah_ray.training.sizing import GIB, memory, strategy

SMALL = {
    "text_config": {
        **{"vocab_size": 99, "hidden_size": 48, "num_hidden_layers": 3},
        **{"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16},
        **{"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    },
    "vision_config": {
        **{"depth": 4, "hidden_size": 32, "intermediate_size": 56, "num_heads": 4},
        **{"in_channels": 3, "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2},
        **{"num_position_embeddings": 144, "out_hidden_size": 48},
        "deepstack_visual_indexes": [1, 2],
    },
    "audio_config": {
        **{"encoder_layers": 2, "d_model": 40, "encoder_ffn_dim": 72, "num_mel_bins": 100},
        **{"downsample_hidden_size": 12, "output_dim": 48, "encoder_attention_heads": 4},
    },
}


@pytest.mark.parametrize("config", [PUBLISHED, SMALL], ids=["published", "small"])
def test_the_formulas_count_what_transformers_builds(config):
    with torch.device("meta"):
        thinker = Qwen3OmniMoeThinkerForConditionalGeneration(Qwen3OmniMoeThinkerConfig(**config))
    counted = dict.fromkeys(("embeddings", "attention", "experts", "vision", "audio", "aligner"), 0)
    for name, weight in thinker.named_parameters():
        counted[part_of(name)] += weight.numel()
    assert parameters(config)._asdict() == counted


def part_of(name: str) -> str:
    tower = {"visual": "vision", "audio_tower": "audio"}.get(name.split(".")[0])
    if tower is not None:
        return "aligner" if any(part in name for part in ("merger", "proj1", "proj2")) else tower
    if "embed_tokens" in name or "lm_head" in name:
        return "embeddings"
    return "experts" if ".mlp." in name else "attention"


def test_the_language_model_has_the_published_size():
    # Qwen3-30B-A3B has 30,532,122,624 with a vocabulary of 151,936.
    assert parameters(PUBLISHED).language - 2 * 2048 * (152_064 - 151_936) == 30_532_122_624


@pytest.mark.parametrize("targets", ["attention", "all-linear"])
def test_an_adapter_has_the_parameters_that_peft_makes(targets):
    from peft import LoraConfig, get_peft_model

    with torch.device("meta"):
        thinker = Qwen3OmniMoeThinkerForConditionalGeneration(Qwen3OmniMoeThinkerConfig(**SMALL))
        # Full names, as we give them: of a pattern PEFT keeps the ends, which the towers have too.
        pattern = r"model\.layers\.\d+\.self_attn\.[qkvo]_proj"
        names = [name for name, _ in thinker.named_modules() if re.fullmatch(pattern, name)]
        fused = ["gate_proj", "up_proj", "down_proj", "gate"] if targets == "all-linear" else []
        adapted = get_peft_model(thinker, LoraConfig(r=3, target_modules=[*names, *fused]))
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert lora_parameters(SMALL, 3, targets) == trained


def test_each_stage_and_each_gpu_saves_memory():
    language = parameters(PUBLISHED).language
    totals = [memory(PUBLISHED, language, zero, 16, 4096).total for zero in (0, 1, 2, 3)]
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) == 4
    few, many = (memory(PUBLISHED, language, 3, gpus, 4096) for gpus in (8, 16))
    assert few.optimizer == 2 * many.optimizer
    assert few.activations == many.activations
    # 16 bytes per trained parameter and 2 per frozen one, whole on one GPU.
    everything = memory(PUBLISHED, language, 0, 1, 0)
    frozen = sum(parameters(PUBLISHED)) - language
    assert everything.total == 16 * language + 2 * frozen


@pytest.mark.parametrize(
    ("trained", "nodes", "gib", "settings"),
    [
        # Twice 4,096 tokens; the memory is that of the table in docs/training.md.
        ("all-linear", 1, 141, "deepspeed: null"),
        ("all-linear", 1, 80, "deepspeed: zero2"),
        ("all-linear", 1, 40, "deepspeed: zero3"),
        ("full", 2, 141, "deepspeed: zero2"),
        ("full", 1, 141, "deepspeed: zero2"),
        ("full", 2, 80, "deepspeed: zero3, extra_args: {zero_hpz_partition_size: 8}"),
        ("full", 1, 80, "deepspeed: zero3"),
        ("full", 2, 50, "deepspeed: zero3"),  # no room for a copy in each node
        ("full", 1, 60, None),
    ],
)
def test_a_training_is_divided_no_more_than_it_has_to_be(trained, nodes, gib, settings):
    full = parameters(PUBLISHED).language
    count = full if trained == "full" else lora_parameters(PUBLISHED, 8, trained)
    found = strategy(PUBLISHED, count, nodes, 8, 2 * 4096, gib * GIB)
    assert (found and found.settings) == settings
