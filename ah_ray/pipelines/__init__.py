"""The stages: each reads tables of the run directory and writes tables of it, one screen each."""
