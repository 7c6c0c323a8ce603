"""Engines: clips in, the answers of the members out."""
