"""Captions: what models write of clips, and which of them are worth training on."""
