"""Prompts rendered in several threads, for a GPU that answers faster than one core renders."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from ah_ray.engines.config import ScoreConfig


def threads_of(settings: ScoreConfig) -> int:
    """How many threads render: on a GPU's host all cores of the engine but one, elsewhere one.

    Where the model itself runs on the cores, more would only be in its way.
    """
    return max(1, int(settings.cpus_per_actor) - 1) if settings.gpus_per_actor else 1


class Renderers:
    """vLLM's renderers, one for each thread: their processors and tokenizers cannot be shared.

    Most of rendering is resizing, normalising and cutting up pictures, which lets other threads on.
    vLLM's own ``renderer_num_workers`` is for its asynchronous engine, and not for media.
    """

    def __init__(self, config: Any, first: Any, threads: int) -> None:
        """Make the others.

        Args:
            config: vLLM's.
            first: a renderer that was made from it.
            threads: how many there are to be.
        """
        from vllm.renderers import renderer_from_config

        self._all = [first, *(renderer_from_config(config) for _ in range(threads - 1))]
        self._others = ThreadPoolExecutor(max(1, threads - 1))  # beside the thread that asks

    def render(self, prompts: Sequence[Any], clips: Sequence[int]) -> list[Any]:
        """Prompts as vLLM takes them, in their order.

        Args:
            prompts: what ``render_cmpl`` takes.
            clips: what each is about, a number of its own. What a renderer remembers of a clip no
                other one does: so all that is about a clip goes to one.
        """
        count = len(self._all)
        rows = [[row for row, clip in enumerate(clips) if clip % count == k] for k in range(count)]

        def share(k: int) -> list[Any]:
            # vLLM's usual cache is mirrored in its engine, which has room for one such mirror.
            return [
                self._all[k].render_cmpl([prompts[row]], skip_mm_cache=count > 1)[0]
                for row in rows[k]
            ]

        others = [self._others.submit(share, k) for k in range(1, count)]
        try:
            mine = share(0)
        finally:
            wait(others)  # no renderer is used by two threads
        rendered: list[Any] = [None] * len(prompts)
        for at, done in zip(rows, [mine, *(other.result() for other in others)], strict=True):
            for row, prompt in zip(at, done, strict=True):
                rendered[row] = prompt
        return rendered
