"""Runs in the formats of other tools: flat tables, and annotations for ELAN."""
