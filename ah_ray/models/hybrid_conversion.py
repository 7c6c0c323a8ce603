"""Make a hybrid of an ordinary Qwen2.5-VL that answers exactly as that one does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from ah_ray import local_files
from ah_ray.checkpoints import CONFIG
from ah_ray.errors import ConfigError
from ah_ray.models.architecture import require_type
from ah_ray.models.hybrid_modeling import (
    EXPERTS,
    HybridConfig,
    HybridForConditionalGeneration,
    HybridGate,
)

_MERGER = "model.visual.merger."


def convert(source: Path, target: Path, *, gate_heads: int | None = None, seed: int = 0) -> None:
    """Write the hybrid of a checkpoint to a folder, which appears at once or not at all.

    Both experts are the checkpoint's merger and the gate gives each one half, whatever it is shown:
    ½ a + ½ a is a, to the last bit.

    Args:
        source: a local folder with a Qwen2.5-VL.
        target: the folder to make.
        gate_heads: of the gate's attention; as many as the tower has, up to eight, by default.
        seed: of the gate's other weights.

    Raises:
        ConfigError: ``source`` is of another architecture, ``target`` is there already, or the
            heads do not divide the width of the tower.
    """
    require_type(str(source), "qwen2_5_vl", "convert")
    if target.exists():
        raise ConfigError(str(target), "is there already", "name another folder, or delete it")
    stated = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(source, dtype="auto")
    vision = stock.config.vision_config
    heads = gate_heads or min(8, vision.num_heads)
    if vision.hidden_size % heads:
        problem = f"{heads} heads do not divide the tower's width of {vision.hidden_size}"
        raise ConfigError("gate_heads", problem, "name a divisor of it")
    values = stock.config.to_dict()
    for part in (values, values["text_config"], values["vision_config"]):
        part.pop("model_type", None)
        part.pop("architectures", None)
    values["vision_config"]["gate_heads"] = heads
    values["tie_word_embeddings"] = stated.get("tie_word_embeddings", False)
    config = HybridConfig(**values)
    config.dtype = stock.dtype
    weights = dict(stock.state_dict())
    for name in [name for name in weights if name.startswith(_MERGER)]:
        merged = weights.pop(name)
        for expert in EXPERTS:
            weights[f"{_MERGER}{expert}.{name.removeprefix(_MERGER)}"] = merged.clone()
    gate = _even_gate(HybridGate(vision.hidden_size, heads, vision.hidden_size), seed)
    for name, weight in gate.state_dict().items():
        weights[f"{_MERGER}gate.{name}"] = weight.to(stock.dtype)
    with torch.device("meta"):  # nothing is computed, so nothing is held twice
        hybrid = HybridForConditionalGeneration(config)
    hybrid.load_state_dict(weights, assign=True)
    hybrid.tie_weights()
    hybrid.generation_config = stock.generation_config
    with local_files.temporary_sibling(target) as staged:
        hybrid.save_pretrained(staged)
        _copy_the_rest(source, staged)
        staged.replace(target)


def _even_gate(gate: HybridGate, seed: int) -> HybridGate:
    """The gate with weights that follow from ``seed``, and one half for each expert."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in gate.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()
    nn.init.zeros_(gate.last.weight)
    nn.init.zeros_(gate.last.bias)
    return gate


def _copy_the_rest(source: Path, target: Path) -> None:
    """Tokenizer, processors and the like: files beside the weights, not folders."""
    for file in source.iterdir():
        weights = ".safetensors" in file.name or file.suffix in {".bin", ".pt", ".pth"}
        if file.is_file() and not weights and not (target / file.name).exists():
            shutil.copyfile(file, target / file.name)
