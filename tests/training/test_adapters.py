import json

import numpy as np
import pytest
from safetensors.numpy import save

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.models.qwen3_omni import QWEN3_OMNI
from ah_ray.models.qwen3_omni_size import PUBLISHED, lora_parameters, parameters
from ah_ray.training.adapters import adapter_parameters, lora_targets, weights_of
from ah_ray.training.outlook import trained_parameters
from ah_ray.training.recipe import FullConfig, LoraConfig, RecipeConfig

QKVO = [f"thinker.model.layers.{n}.self_attn.{p}_proj" for n in (0, 1) for p in "qkvo"]
GATES = [f"thinker.model.layers.{n}.mlp.gate" for n in (0, 1)]
EXPERTS = [
    f"thinker.model.layers.{n}.mlp.experts.{e}.{p}_proj"
    for n in (0, 1) for e in (0, 1, 2) for p in ("gate", "up", "down")
]  # fmt: skip
OTHERS = [
    *("thinker.audio_tower.layers.0.self_attn.q_proj", "thinker.lm_head"),
    *("talker.model.layers.0.self_attn.q_proj", "talker.model.layers.0.mlp.gate"),
    *("talker.model.layers.0.mlp.experts.0.up_proj", "xthinker.model.layers.0.self_attn.q_proj"),
]
WEIGHTS = {f"{name}.weight": (6, 4) for name in (*QKVO, *GATES, *EXPERTS, *OTHERS)} | {
    "thinker.model.layers.0.input_layernorm.weight": (4,),
    "thinker.model.layers.0.self_attn.q_proj.bias": (6,),
}


def adapter(targets: str, dropout: float = 0) -> LoraConfig:
    return LoraConfig(targets=targets, dropout=dropout)


@pytest.mark.parametrize(
    ("targets", "modules", "fused"),
    [
        ("attention", QKVO, []),
        ("experts", [], ["down_proj", "gate_proj", "up_proj"]),
        ("all-linear", QKVO, ["down_proj", "gate", "gate_proj", "up_proj"]),
        (r".*layers\.1\.self_attn\.[qk]_proj", [QKVO[5], QKVO[4]], []),
        (r"thinker.*\.mlp\.gate", [], ["gate"]),
        (r"thinker.*\.experts\..*\.down_proj", [], ["down_proj"]),
    ],
)
def test_targets_by_name_or_by_whole_names(targets, modules, fused):
    found = lora_targets(WEIGHTS, adapter(targets), QWEN3_OMNI)
    assert found == (sorted(modules), fused)


def test_a_pattern_that_matches_nothing_shows_a_name():
    for weights, pattern, shown in (
        (WEIGHTS, "q_proj", "self_attn.q_proj"), ({}, "attention", "safetensors"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            lora_targets(weights, adapter(pattern), QWEN3_OMNI)
        assert "lora.targets" in caught.value.where
        assert shown in caught.value.fix


@pytest.mark.parametrize(
    "part",
    [r"thinker\.model\.layers\.1\.mlp\.gate", r".*experts\.0\..*", r".*experts.*\.up_proj"],
)
def test_a_part_of_what_is_fused_is_refused(part):
    with pytest.raises(ConfigError) as caught:
        lora_targets(WEIGHTS, adapter(part), QWEN3_OMNI)
    assert "has its adapter together with others" in caught.value.problem


def test_a_pattern_that_reaches_experts_has_no_dropout_either():
    with pytest.raises(ConfigError, match="dropout"):
        lora_targets(WEIGHTS, adapter(r".*experts.*", dropout=0.05), QWEN3_OMNI)


def test_of_a_remote_checkpoint_the_heads_alone_are_read(monkeypatch):
    tensors = {name: np.zeros(shape, np.float32) for name, shape in WEIGHTS.items()}
    parts = [dict(list(tensors.items())[n::2]) for n in (0, 1)]
    for number, part in enumerate(parts):
        file = f"memory:///adapters/base/model-{number}.safetensors"
        storage.write_bytes(file, save(part, {"format": "pt"}))
    read: list[int] = []
    ranges = storage.read_ranges
    monkeypatch.setattr(
        storage, "read_ranges", lambda uri, asked: read.extend(b - a for a, b in asked)
        or ranges(uri, asked),
    )  # fmt: skip
    assert weights_of("memory:///adapters/base") == WEIGHTS
    assert sum(read) < len(json.dumps({name: [9, 9, "F32", 99999] for name in WEIGHTS})) * 3


def published() -> dict[str, tuple[int, ...]]:
    """The matrices of the published thinker's language model by the names of its checkpoint."""
    text = PUBLISHED["text_config"]
    hidden, inner, head = text["hidden_size"], text["moe_intermediate_size"], text["head_dim"]
    queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    ends = (text["vocab_size"], hidden)
    shapes = {"thinker.model.embed_tokens.weight": ends, "thinker.lm_head.weight": ends}
    shapes["thinker.model.norm.weight"] = (hidden,)
    for n in range(text["num_hidden_layers"]):
        layer = f"thinker.model.layers.{n}"
        for name, shape in {
            **{"q_proj": (queries, hidden), "k_proj": (keys, hidden), "v_proj": (keys, hidden)},
            **{"o_proj": (hidden, queries), "q_norm": (head,), "k_norm": (head,)},
        }.items():
            shapes[f"{layer}.self_attn.{name}.weight"] = shape
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{layer}.{name}.weight"] = (hidden,)
        shapes[f"{layer}.mlp.gate.weight"] = (text["num_experts"], hidden)
        for e in range(text["num_experts"]):
            for name, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)),
                                ("down", (hidden, inner))):  # fmt: skip
                shapes[f"{layer}.mlp.experts.{e}.{name}_proj.weight"] = shape
    return shapes


def test_what_the_papers_recipes_train():
    weights = published()
    for targets in ("attention", "all-linear"):
        counted = adapter_parameters(weights, adapter(targets), QWEN3_OMNI)
        assert counted == lora_parameters(PUBLISHED, 8, targets)
    assert len(lora_targets(weights, adapter("attention"), QWEN3_OMNI).modules) == 192
    towers = {
        "thinker.visual.blocks.0.attn.qkv.weight": (3, 5), "thinker.visual.merger.mlp.0.bias": (7,),
        "thinker.visual.merger_list.0.ln_q.weight": (11,),
        "thinker.audio_tower.proj1.weight": (1, 13), "thinker.audio_tower.conv_out.weight": (1, 17),
        "talker.model.norm.weight": (999,), "code2wav.x.weight": (999,),
    }  # fmt: skip
    language = parameters(PUBLISHED).language
    for trains, more in (
        ({}, 0),
        ({"vision": True}, 15 + 17),
        ({"aligner": True}, 7 + 11 + 13),
        ({"language": False, "aligner": True}, 31 - language),
    ):
        full = RecipeConfig(full=FullConfig(**trains), learning_rate=1)
        assert trained_parameters(weights | towers, full, QWEN3_OMNI) == language + more
