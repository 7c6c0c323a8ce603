"""What a training will do, told before it starts."""

from __future__ import annotations

import math

from ah_ray.models.config import ModelConfig
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
    count = trained_parameters(weights, job.recipe, job.model)
    return f"{count:,} ({job.recipe.tuner}), of {job.model.path} with {_size(weights):,}"


def trained_parameters(weights: Shapes, recipe: RecipeConfig, model: ModelConfig) -> int:
    """How many parameters a recipe trains.

    Args:
        weights: of the checkpoint; see ``weights_of``.
        recipe: an adapter's, or one of the weights themselves.
        model: how MS-Swift names the architecture, which says what its parts are.

    Raises:
        ConfigError: see ``lora_targets``.
    """
    if recipe.lora:
        return adapter_parameters(weights, recipe.lora)
    full = recipe.full
    assert full is not None  # a recipe has one of both
    from swift.model import MODEL_MAPPING  # seconds

    parts = MODEL_MAPPING[model.model_type].model_arch
    frozen = [*parts.generator]
    frozen += [] if full.language else parts.language_model
    frozen += [] if full.vision else parts.vision_tower
    # The projections may lie inside of a tower.
    aligner, thaws = tuple(parts.aligner), full.aligner
    return _size(
        {
            name: shape
            for name, shape in weights.items()
            if (thaws if name.startswith(aligner) else not name.startswith(tuple(frozen)))
        }
    )


def _size(weights: Shapes) -> int:
    return sum(math.prod(shape) for shape in weights.values())
