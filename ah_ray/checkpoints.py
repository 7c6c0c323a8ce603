"""Model checkpoints: a folder on any fsspec URI, or a model of a hub by its id."""

from __future__ import annotations

import re
from pathlib import Path

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.places import place

CONFIG = "config.json"


def is_hub_id(path: str) -> bool:
    """Whether ``path`` reads like ``Qwen/Qwen3-Omni-30B-A3B-Instruct`` and is no local folder."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path)) and not storage.exists(path)


def require_checkpoint(path: str, where: str) -> None:
    """Fail unless ``path`` is a checkpoint folder or a hub id; nothing is downloaded.

    Raises:
        ConfigError: ``where`` names a folder that is not there.
    """
    place(path, where)
    if not is_hub_id(path) and not storage.exists(storage.join(path, CONFIG)):
        raise ConfigError(
            where,
            f"there is no checkpoint at {path}",
            "name a folder with a config.json, or a hub id (an adapter that was copied out of its "
            "run needs its base model: copy it too, or write its place into member.yaml)",
        )


def local_config(path: str) -> Path:
    """The ``config.json`` of a checkpoint on this machine's disk, without anything else of it."""
    if is_hub_id(path):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(path, CONFIG))
    return storage.localize(storage.join(path, CONFIG))


def local_checkpoint(path: str) -> Path:
    """The checkpoint on this machine's disk; downloaded once when it is remote."""
    if is_hub_id(path):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(path))
    return storage.localize(path)
