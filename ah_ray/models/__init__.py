"""Models: what is particular to a base model and its architecture."""
