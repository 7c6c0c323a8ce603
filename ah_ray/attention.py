"""Which attention kernel a machine can run: the same rule for training and for scoring."""

from __future__ import annotations

import importlib.util


def attention_kernel(asked: str, use_gpu: bool) -> tuple[str, str | None]:
    """The attention kernel that can run on this machine.

    All kernels compute the same, but for rounding: a member may be trained with one and scored with
    another.

    Returns:
        Its name as transformers knows it, and why it is not the one asked for (None if it is).
    """
    if asked != "flash_attention_2":
        return asked, None
    if not use_gpu:
        return "sdpa", "FlashAttention needs a GPU: sdpa is taken instead"
    if importlib.util.find_spec("flash_attn") is None:
        return "sdpa", "flash-attn is not installed: sdpa is taken instead, which is slower"
    return asked, None
