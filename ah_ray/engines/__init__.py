"""Engines: clips in, the answers of the members out."""

from ah_ray.engines.engine import Answer, Clip, Engine
from ah_ray.engines.registry import engine_of, load_engine, plan_passes

__all__ = ["Answer", "Clip", "Engine", "engine_of", "load_engine", "plan_passes"]
