"""What a training will do, told before it starts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ah_ray.models.architecture import Architecture, find_architecture
from ah_ray.training.adapters import Shapes, adapter_parameters, weights_of
from ah_ray.training.megatron_trainer import thinker_of
from ah_ray.training.parts import LANGUAGE, pattern
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.sizing import GIB, TOKENS, megatron_memory
from ah_ray.training.swift import SwiftJob

FEW_STEPS = 20


def parameters_text(job: SwiftJob, checkpoint: str | None = None) -> str:
    """How many parameters a training changes, of how many; nothing is loaded or downloaded.

    Args:
        job: the training.
        checkpoint: with weights of the same shapes, where what it starts from is not there yet.

    Raises:
        ConfigError: the recipe does not go with the checkpoint.
    """
    try:
        weights = weights_of(checkpoint or job.model.path)
    except Exception as error:  # whatever keeps a hub or a store from answering: it may come back
        why = f"{type(error).__name__}: {error}"
        return f"not known, for {checkpoint or job.model.path} cannot be read ({why})"
    architecture = find_architecture(job.model.architecture)
    count = trained_parameters(weights, job.recipe, architecture, job.parts)
    return f"{count:,} ({job.recipe.tuner}), of {job.model.path} with {_size(weights):,}"


def memory_text(job: SwiftJob, processes: int, checkpoint: str | None = None) -> str:
    """How much memory a training by Megatron takes of a GPU; see ``sizing.megatron_memory``.

    Args:
        job: the training.
        processes: that train together.
        checkpoint: see ``parameters_text``.
    """
    path, recipe = checkpoint or job.model.path, job.recipe
    try:
        thinker = thinker_of(path)
    except Exception as error:  # see above
        return f"not known, for {path} cannot be read ({type(error).__name__}: {error})"
    tokens = min(recipe.max_length, TOKENS)
    passes = f"passes of {recipe.batch_size} x {tokens:,} tokens"
    share = megatron_memory(thinker, recipe, processes, recipe.batch_size * tokens)
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in share._asdict().items())
    without = "" if recipe.gradient_checkpointing else "; more without gradient_checkpointing"
    return f"{share.total / GIB:.1f} GiB ({parts}) in {passes}, computed and not measured{without}"


def trained_parameters(
    weights: Shapes, recipe: RecipeConfig, architecture: Architecture, parts: Sequence[str] = ()
) -> int:
    """How many parameters a recipe trains.

    Args:
        weights: of the checkpoint; see ``weights_of``.
        recipe: an adapter's, or one of the weights themselves.
        architecture: says what its parts are.
        parts: the named ones that are trained; see ``SwiftJob``.

    Raises:
        ConfigError: see ``lora_targets``.
    """
    if recipe.lora:
        beside = [part for part in parts if part != LANGUAGE]
        of_megatron = recipe.trainer == "megatron"
        adapter = adapter_parameters(weights, recipe.lora, architecture, one_input=of_megatron)
        return adapter + (_of_parts(weights, architecture, beside) if beside else 0)
    if parts:
        return _of_parts(weights, architecture, parts)
    full, ours = recipe.full, architecture.parts
    assert full is not None  # a recipe has one of both
    frozen = ours.unused
    frozen += () if full.language else ours.language
    frozen += () if full.vision else ours.towers
    # The projections may lie inside of a tower.
    aligner, thaws = ours.aligner, full.aligner
    return _size(
        {
            name: shape
            for name, shape in weights.items()
            if (thaws if name.startswith(aligner) else not name.startswith(frozen))
        }
    )


def _of_parts(weights: Shapes, architecture: Architecture, parts: Sequence[str]) -> int:
    named = pattern(architecture, parts)
    return _size({name: shape for name, shape in weights.items() if re.search(named, name)})


def _size(weights: Shapes) -> int:
    return sum(math.prod(shape) for shape in weights.values())
