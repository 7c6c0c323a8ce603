"""vLLM (its CPU build) beside transformers, on a random model that sees and does not hear.

It has the vocabulary of the published models, with which one of two replies takes two steps.
"""

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from peft import LoraConfig, get_peft_model

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Answer, Clip
from ah_ray.engines.registry import load_engine, plan_passes
from ah_ray.engines.transformers_engine import load_model
from ah_ray.ensemble import EngineGroup
from ah_ray.media.config import MediaConfig
from ah_ray.members import Member
from tests.engines.tiny_models import member, random_clips

DECODINGS = ("answer", "generate")
MEDIA = MediaConfig(min_pixels=28 * 28, max_pixels=9 * 28 * 28, size_multiple=28, audio="none")


class Told(NamedTuple):
    """What a process with an engine has to say.

    Attributes:
        answers: by way of decoding, then by member.
        cached: of each question, how many tokens the engine remembered from the one before.
        room: the longest conversation that it planned for, in tokens.
        broken: answers of a model whose weights are no numbers.
    """

    answers: dict[str, list[list[Answer]]]
    cached: list[int]
    room: int
    broken: list[Answer]


@pytest.fixture(scope="module")
def members(real_vision: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Member]:
    """Two adapters that were drawn at random, on one base."""
    found = []
    for seed, prompt in enumerate(("short", "detailed")):
        folder = tmp_path_factory.mktemp("adapters") / f"m{seed}"
        card = member(real_vision, folder.name, prompt, MEDIA).card
        model = load_model(str(real_vision), card.model)
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


def answers(group: EngineGroup, engine: Any) -> dict[str, list[list[Answer]]]:
    found = {}
    for engine.decoding in DECODINGS:
        found[engine.decoding] = engine.answer(group.members, clips())
    return found


def break_weights(model: Any) -> None:
    for weight in model.parameters():
        weight.data.fill_(math.nan)


def ask_vllm(group: EngineGroup) -> Told:
    # A CPU remembers 128 tokens or nothing, unless it is told to.
    settings = ScoreConfig(engine="vllm", max_new_tokens=8, engine_args={"block_size": 32})
    engine: Any = load_engine(group, settings)
    generate, cached = engine.llm.generate, []

    def watched(*args: Any, **options: Any) -> Any:
        outputs = generate(*args, **options)
        cached.extend(output.num_cached_tokens for output in outputs)
        return outputs

    engine.llm.generate = watched
    found = answers(group, engine)
    room = engine.llm.llm_engine.model_config.max_model_len
    engine.llm.apply_model(break_weights)
    broken = []
    for engine.decoding in DECODINGS:
        broken += engine.answer(group.members[:1], clips()[:2])[0]
    return Told(found, cached, room, broken)


@pytest.fixture(scope="module")
def told(members: list[Member]) -> Told:
    (group,) = plan_passes(members, ScoreConfig(engine="vllm"))
    assert list(group.members) == members
    # In a process of its own, as in an actor: vLLM looks into every module that is loaded.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(ask_vllm, group).result()


@pytest.fixture(scope="module")
def ours(members: list[Member]) -> dict[str, list[list[Answer]]]:
    (group,) = plan_passes(members, ScoreConfig(engine="vllm"))
    return answers(group, load_engine(group, ScoreConfig(max_new_tokens=8)))


def test_two_adapters_on_one_base_answer_as_with_transformers(
    told: Told, ours: dict[str, list[list[Answer]]]
) -> None:
    assert len(clips()) > 5
    for some, others in zip(ours["answer"], told.answers["answer"], strict=True):
        assert [a.text for a in some] == [b.text for b in others]
        for name in ("p_yes", "mass"):
            assert [getattr(a, name) for a in some] == pytest.approx(
                [getattr(b, name) for b in others], rel=1e-2
            )
    first, second = ([answer.p_yes for answer in of_member] for of_member in ours["answer"])
    assert first != pytest.approx(second, rel=1e-2)


def test_what_is_written_is_what_transformers_writes(
    told: Told, ours: dict[str, list[list[Answer]]]
) -> None:
    some, others = ([a for of in found["generate"] for a in of] for found in (ours, told.answers))
    same = sum(a.text == b.text for a, b in zip(some, others, strict=True))
    assert same > 0.9 * len(some), "random models have close runners-up"
    assert all(answer.p_yes is None is answer.mass for answer in others), "it never gets there"


def test_the_second_question_about_a_clip_reads_little(told: Told) -> None:
    firsts, seconds = (told.cached[first : 4 * len(clips()) : 2] for first in (0, 1))
    assert all(first < second for first, second in zip(firsts, seconds, strict=True))


def test_there_is_room_for_the_longest_clip_and_not_for_hours(told: Told) -> None:
    assert told.room < 600


def test_a_broken_model_has_no_chances(told: Told) -> None:
    assert len(told.broken) == 4
    assert all(math.isnan(answer.p_yes or 0) for answer in told.broken)
