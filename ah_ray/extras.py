"""What only the extras of ``pyproject.toml`` bring, and what helps where a module is missing."""

from __future__ import annotations

_BROUGHT = frozenset(
    {"accelerate", "decord", "deepspeed", "peft", "psutil", "qwen_omni_utils", "qwen_vl_utils"}
    | {"swift", "torch", "torchvision", "transformers", "vllm"}
)


def extra_of(module: str | None) -> str | None:
    """How to get ``module`` with an extra of ours; None when no extra brings it."""
    if (module or "").partition(".")[0] not in _BROUGHT:
        return None
    return "install ah-ray with its extra cpu, or gpu where there are GPUs"
