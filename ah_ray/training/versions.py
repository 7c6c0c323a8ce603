"""What a member was made with: packages, and the commit of this code."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "ah-ray", "deepspeed", "flash-attn", "mcore-bridge", "megatron-core", "ms-swift", "peft",
    "qwen-omni-utils", "qwen-vl-utils", "ray", "torch", "transformer-engine", "transformers", "trl",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """The versions of the packages that decide what a training does, those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit that this code runs from, ``-dirty`` when it was changed; None if unknown.

    It is known when the code lies in a git checkout, not when it was installed from a wheel.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty",
             "--exclude=*"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
