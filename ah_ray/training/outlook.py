"""What a training will do, told before it starts."""

from __future__ import annotations

import math

from ah_ray.models.architecture import Architecture, find_architecture
from ah_ray.training.adapters import Shapes, adapter_parameters, weights_of
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.swift import SwiftJob

FEW_STEPS = 20


def parameters_text(job: SwiftJob) -> str:
    """How many parameters a training changes, of how many; nothing is loaded or downloaded.

    Raises:
        ConfigError: the recipe does not go with the checkpoint.
    """
    try:
        weights = weights_of(job.model.path)
    except Exception as error:  # whatever keeps a hub or a store from answering: it may come back
        return f"not known, for {job.model.path} cannot be read ({type(error).__name__}: {error})"
    architecture = find_architecture(job.model.architecture)
    count = trained_parameters(weights, job.recipe, architecture)
    return f"{count:,} ({job.recipe.tuner}), of {job.model.path} with {_size(weights):,}"


def trained_parameters(weights: Shapes, recipe: RecipeConfig, architecture: Architecture) -> int:
    """How many parameters a recipe trains.

    Args:
        weights: of the checkpoint; see ``weights_of``.
        recipe: an adapter's, or one of the weights themselves.
        architecture: says what its parts are.

    Raises:
        ConfigError: see ``lora_targets``.
    """
    if recipe.lora:
        return adapter_parameters(weights, recipe.lora, architecture)
    full, parts = recipe.full, architecture.parts
    assert full is not None  # a recipe has one of both
    frozen = parts.unused
    frozen += () if full.language else parts.language
    frozen += () if full.vision else parts.towers
    # The projections may lie inside of a tower.
    aligner, thaws = parts.aligner, full.aligner
    return _size(
        {
            name: shape
            for name, shape in weights.items()
            if (thaws if name.startswith(aligner) else not name.startswith(frozen))
        }
    )


def _size(weights: Shapes) -> int:
    return sum(math.prod(shape) for shape in weights.values())
