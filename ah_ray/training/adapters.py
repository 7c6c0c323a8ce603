"""Which matrices of a checkpoint an adapter is put on, by the names that the checkpoint has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ah_ray import storage
from ah_ray.checkpoints import is_hub_id
from ah_ray.errors import ConfigError
from ah_ray.models.architecture import Architecture
from ah_ray.training.recipe import LoraConfig

Shapes = Mapping[str, tuple[int, ...]]

# What transformers 5 holds in one tensor per layer, or in no linear layer.
_FUSED = re.compile(r".+\.mlp\.(experts\.\d+\.(?P<expert>(gate|up|down)_proj)|(?P<router>gate))")


class Targets(NamedTuple):
    """What gets an adapter.

    Attributes:
        modules: full names of linear layers, as the checkpoint has them.
        fused: last parts of the names of experts and routers, in all layers. PEFT knows them by
            these, from before they were fused, and puts its ``target_parameters`` in their place;
            ``gate_proj`` and ``up_proj``, which are one tensor now, get twice the rank there.
    """

    modules: list[str]
    fused: list[str]


def weights_of(checkpoint: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a checkpoint's weights by name, from the heads of its safetensors files.

    Nothing else of them is read, wherever they are.

    Args:
        checkpoint: a folder (any fsspec URI) or a hub id.
    """
    folder = f"hf://{checkpoint}" if is_hub_id(checkpoint) else checkpoint
    shapes: dict[str, tuple[int, ...]] = {}
    for file in storage.list_files(folder):
        if file.endswith(".safetensors"):
            (size,) = storage.read_ranges(file, [(0, 8)])
            (head,) = storage.read_ranges(file, [(8, 8 + int.from_bytes(size, "little"))])
            tensors = json.loads(head)
            tensors.pop("__metadata__", None)
            shapes |= {name: tuple(tensor["shape"]) for name, tensor in tensors.items()}
    return shapes


def lora_targets(weights: Shapes, lora: LoraConfig, architecture: Architecture) -> Targets:
    """What of a checkpoint the ``targets`` of an adapter mean.

    MS-Swift takes a pattern too, but for mixture-of-experts models PEFT reduces it to the last
    part of the names it matches, and ``q_proj`` is found again in the audio tower.

    Args:
        weights: see ``weights_of``.
        lora: its targets are a name or a regular expression, which must match whole names.
        architecture: says what the names mean, and what is never loaded.

    Raises:
        ConfigError: nothing matches, or only a part of what is fused does, or it is to have
            dropout.
    """
    where, named = "recipes: lora.targets", architecture.lora_targets
    pattern = named.get(lora.targets, lora.targets)
    unused = architecture.parts.unused
    names = sorted(
        name.removesuffix(".weight")
        for name in weights
        if name.endswith(".weight") and not name.startswith(unused)
    )
    matched = [name for name in names if re.fullmatch(pattern, name)]
    if not matched:
        raise ConfigError(
            where, f"{pattern} matches no weight of the checkpoint",
            f"match names like {names[0] if names else 'those in its safetensors files'}, or name "
            f"one of {', '.join(named)}",
        )  # fmt: skip
    fused = {_fused(name) for name in matched} - {None}
    if fused & {"gate_proj", "up_proj"}:
        fused |= {"gate_proj", "up_proj"}
    if missed := [n for n in names if _fused(n) in fused and not re.fullmatch(pattern, n)]:
        raise ConfigError(
            where, f"{pattern} does not match {missed[0]}, which has its adapter together with "
            "others that it matches", f"match all of {', '.join(sorted(filter(None, fused)))}",
        )  # fmt: skip
    if fused and lora.dropout:
        raise ConfigError(
            where, f"{pattern} reaches experts, whose adapters cannot have dropout",
            "set lora.dropout to 0",
        )  # fmt: skip
    modules = [name for name in matched if _fused(name) is None]
    return Targets(modules, sorted(filter(None, fused)))


def _fused(name: str) -> str | None:
    """The last part of a name if it stands for a piece of a fused tensor, or for a router."""
    match = _FUSED.fullmatch(name)
    return match and (match["expert"] or match["router"])


def adapter_parameters(
    weights: Shapes, lora: LoraConfig, architecture: Architecture, one_input: bool = False
) -> int:
    """How many parameters an adapter has; see ``Targets`` for the rank of experts.

    Args:
        weights: of the checkpoint; see ``weights_of``.
        lora: its targets.
        architecture: says what they mean.
        one_input: whether queries, keys and values share what reads their input, as by Megatron,
            where they are one matrix.

    Raises:
        ConfigError: see ``lora_targets``.
    """
    targets = lora_targets(weights, lora, architecture)
    modules, count = set(targets.modules), 0
    for name, shape in weights.items():
        module = name.removesuffix(".weight")
        part = _fused(module)
        if name.startswith(architecture.parts.unused) or len(shape) != 2:
            continue
        outputs, inputs = shape
        if part in ("gate_proj", "up_proj") and part in targets.fused:
            # Half of a matrix that both share, of twice the height and twice the rank.
            count += lora.rank * (inputs + 2 * outputs)
        elif part in targets.fused or module in modules:
            shared = one_input and module.endswith((".k_proj", ".v_proj"))
            count += lora.rank * (outputs if shared else inputs + outputs)
    return count


def adapted_modules(adapter: Shapes) -> list[str]:
    """The full names of what the adapter in a checkpoint is on, from the names of its weights."""
    names = (re.fullmatch(r"base_model\.model\.(.+)\.lora_A\.weight", name) for name in adapter)
    return sorted(match[1] for match in names if match)


def name_adapted(folder: Path) -> None:
    """State in the settings of an adapter the full names of what it is on, as we give them.

    mcore-bridge states the last parts alone, which the audio tower has too.

    Args:
        folder: with ``adapter_config.json`` and ``adapter_model.safetensors``; on a disk.

    Raises:
        ValueError: the weights in it are of no such adapter.
    """
    file = folder / "adapter_config.json"
    names = adapted_modules(weights_of(str(folder)))
    if not names:
        raise ValueError(f"{folder} has no weights of an adapter under names of PEFT's")
    settings = json.loads(file.read_text()) | {"target_modules": names}
    file.write_text(json.dumps(settings, indent=2))
