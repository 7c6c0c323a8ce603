"""A training of MS-Swift, with what a test says of its recipe."""

from ah_ray.media.config import MediaConfig
from ah_ray.models.config import ModelConfig
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.swift import SwiftJob


def job(**recipe) -> SwiftJob:
    values = {"learning_rate": 1e-6, "batch_size": 1} | recipe
    if "lora" not in values:
        values.setdefault("full", {})
    media = MediaConfig(min_pixels=131_072, max_pixels=262_145)
    model = ModelConfig(path="base")
    return SwiftJob("v1", model, RecipeConfig(**values), media, "rows", "/store")
