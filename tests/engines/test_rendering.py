"""Prompts that several of vLLM's renderers make are those of one."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.rendering import Renderers, threads_of
from ah_ray.engines.wording import wording
from tests.engines.tiny_models import architecture_at, member, random_clips

CLIPS = 5


@pytest.mark.parametrize(
    ("cpus", "gpus", "threads"),
    [(0.5, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 0.5, 3), (8, 0, 1)],
)
def test_one_core_is_left_to_a_gpu_and_all_to_a_model_on_cores(
    cpus: float, gpus: float, threads: int
) -> None:
    assert threads_of(ScoreConfig(cpus_per_actor=cpus, gpus_per_actor=gpus)) == threads


@pytest.fixture(scope="module", params=[0, 1], ids=["none kept", "kept"])
def config(omni: Path, request: pytest.FixtureRequest) -> Any:
    """vLLM's settings, with so many GB for the media that it keeps."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from vllm import EngineArgs

    return EngineArgs(
        model=str(omni), dtype="float32", max_model_len=4096, enforce_eager=True,
        limit_mm_per_prompt={"video": 1, "audio": 1, "image": 0},
        mm_processor_cache_gb=request.param,
    ).create_engine_config()  # fmt: skip


def renderers(config: Any, threads: int) -> Renderers:
    from vllm.renderers import renderer_from_config

    return Renderers(config, renderer_from_config(config), threads)


def prompts(omni: Path, batch: int) -> tuple[list[dict[str, Any]], list[int]]:
    """Two questions about each clip, and which it is."""
    architecture = architecture_at(omni)
    processor = architecture.load_processor(str(omni))
    asked = [wording(processor, member(omni, "m", prompt)) for prompt in ("short", "detailed")]
    clips = random_clips(CLIPS, seed=batch)
    return [
        {
            "prompt_token_ids": [*words.ids],
            **architecture.vllm_media(words.kinds, clip),
            "multi_modal_uuids": {kind: [f"{kind}-{batch}-{number}"] for kind in words.kinds},
        }
        for words in asked
        for number, clip in enumerate(clips)
    ], [*range(CLIPS)] * 2


def told(rendered: Any) -> list[Any]:
    """What the model is given."""
    media = rendered["mm_kwargs"].get_data()
    return [rendered["prompt_token_ids"], rendered["mm_hashes"], rendered["mm_placeholders"], media]


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return bool(torch.equal(one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def test_several_make_what_one_makes(omni: Path, config: Any) -> None:
    several = renderers(config, 3)
    for batch in range(2):
        asked, clips = prompts(omni, batch)
        found = [told(one) for one in several.render(asked, clips)]
        # Each prompt alone, by a renderer that remembers nothing of others.
        for prompt, one in zip(asked, found, strict=True):
            (expected,) = renderers(config, 1).render([prompt], [0])
            assert alike(told(expected), one)


def test_what_is_wrong_with_a_prompt_is_told_and_ends_nothing(omni: Path, config: Any) -> None:
    several = renderers(config, 2)
    asked, clips = prompts(omni, 7)
    broken = [*asked]
    broken[3] = {**asked[3], "multi_modal_data": {"video": "no video"}}
    with pytest.raises(Exception, match=r".") as caught:
        several.render(broken, clips)
    with pytest.raises(type(caught.value)):
        several.render([broken[3]], [3])
    assert len(several.render(asked, clips)) == len(asked)
