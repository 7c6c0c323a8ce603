"""Engines: a member's clips in, its answers out."""

from ah_ray.engines.engine import Answer, Engine, find_engine, load_engine

__all__ = ["Answer", "Engine", "find_engine", "load_engine"]
