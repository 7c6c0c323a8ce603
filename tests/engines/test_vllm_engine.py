"""vLLM (its CPU build) beside transformers, on a random model that sees and does not hear."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from ah_ray.config import ScoreConfig
from ah_ray.engines import Answer, Clip, load_engine, plan_passes
from ah_ray.engines.transformers_engine import load_model
from ah_ray.members import EngineGroup, Member
from tests.engines.tiny_models import member, random_clips


@pytest.fixture(scope="module")
def members(vision_only: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Member]:
    """Two adapters that were drawn at random, on one base."""
    found = []
    for seed, prompt in enumerate(("short", "detailed")):
        folder = tmp_path_factory.mktemp("adapters") / f"m{seed}"
        card = member(vision_only, folder.name, prompt).card
        model = load_model(str(vision_only), card.model)
        torch.manual_seed(seed)
        targets = r".*language_model\.layers\.\d+\.self_attn\.[qv]_proj"
        adapter = LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
        get_peft_model(model, adapter).save_pretrained(folder)
        found.append(Member(str(folder), card.model_copy(update={"weights": "adapter"})))
    return found


def clips() -> list[Clip]:
    """Clips whose last picture's position in time does not exceed those in space.

    After longer ones, transformers 5 and vLLM put the text at different positions.
    """
    return [
        clip
        for clip in random_clips(20, unit=28)
        if 2 * (len(clip.frames) - 2) / clip.fps < max(clip.frames.shape[1:3]) / 28
    ]


def answers(group: EngineGroup, engine: str) -> list[list[Answer]]:
    return load_engine(group, ScoreConfig(engine=engine)).answer(group.members, clips())


def test_two_adapters_on_one_base_answer_as_with_transformers(members: list[Member]) -> None:
    (group,) = plan_passes(members, ScoreConfig(engine="vllm"))
    assert list(group.members) == members
    assert len(clips()) > 5
    ours = answers(group, "transformers")
    # In a process of its own, as in an actor: vLLM looks into every module that is loaded.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        theirs = process.submit(answers, group, "vllm").result()
    for some, others in zip(ours, theirs, strict=True):
        assert [a.text for a in some] == [b.text for b in others]
        assert [a.p_yes for a in some] == pytest.approx([b.p_yes for b in others], abs=1e-4)
    first, second = ([answer.p_yes for answer in of_member] for of_member in ours)
    assert first != pytest.approx(second, abs=1e-3)
