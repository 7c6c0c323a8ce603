"""Engines: a member's clips in, its answers out."""

from ah_ray.engines.engine import Answer, Engine, load_engine

__all__ = ["Answer", "Engine", "load_engine"]
