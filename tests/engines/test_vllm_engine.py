"""vLLM (its CPU build) beside transformers, on a random model that sees and does not hear.

Where it is asked for words it has the vocabulary of the published models, with which one of two
replies takes two steps, and which takes seconds to load.
"""

import math
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item, Reply
from ah_ray.engines.registry import load_engine, plan_passes
from ah_ray.engines.rendering import Renderers
from ah_ray.ensemble import EngineGroup
from ah_ray.media.config import MediaConfig
from ah_ray.members import Member
from ah_ray.models.hybrid import QWEN2_5_VL_HYBRID
from ah_ray.models.hybrid_conversion import convert
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Text
from tests.engines.tiny_models import changed, member, random_adapter, random_clips, reading

DECODINGS = ("answer", "generate")
# A CPU remembers 128 tokens or nothing, unless it is told to.
ARGUMENTS = {"block_size": 32}
MEDIA = MediaConfig(min_pixels=28 * 28, max_pixels=9 * 28 * 28, size_multiple=28, audio="none")


class Told(NamedTuple):
    """What a process with an engine has to say.

    Attributes:
        answers: by way of decoding, then by member.
        several: the same of prompts that several threads rendered.
        cached: of each question, how many tokens the engine remembered from the one before.
        room: the longest conversation that it planned for, in tokens.
        broken: answers of a model whose weights are no numbers.
        read: answers of a member that only reads.
        seen: answers of a member that sees images.
        gated: answers of a member with two experts, to clips in both orders.
    """

    answers: dict[str, list[list[Reply]]]
    several: dict[str, list[list[Reply]]]
    cached: list[int]
    room: int
    broken: list[Reply]
    read: list[Reply]
    seen: list[Reply]
    gated: list[Reply]


@pytest.fixture(scope="module")
def members(real_vision: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Member]:
    """Two adapters that were drawn at random, the base that they are on, and it to write a text."""
    base = member(real_vision, real_vision.name, "short", MEDIA)
    folder = tmp_path_factory.mktemp("adapters")
    return [
        random_adapter(
            folder / f"m{seed}",
            base,
            seed,
            question=load_task("cue_conflict").question(prompt, "prompt"),
            max_new_tokens=8,
        )
        for seed, prompt in enumerate(("short", "detailed"))
    ] + [
        changed(base, name="base", weights="base", max_new_tokens=8),
        changed(
            base,
            name="teller",
            weights="base",
            max_new_tokens=6,
            question=base.card.question.model_copy(update={"answer": Text(kind="text")}),
        ),
    ]


def clips() -> list[Item]:
    """Clips whose last picture's position in time does not exceed those in space.

    After longer ones, transformers 5 and vLLM put the text at different positions.
    """
    return [
        clip
        for clip in random_clips(20, unit=28)
        if 2 * (len(clip.frames) - 2) / clip.fps < max(clip.frames.shape[1:3]) / 28
    ]


def answers(group: EngineGroup, engine: Any) -> dict[str, list[list[Reply]]]:
    return {
        decoding: engine.answer([changed(one, decoding=decoding) for one in group.members], clips())
        for decoding in DECODINGS
    }


def texts() -> list[Item]:
    """What a member that reads is asked about."""
    said = ("They smile.", "Something is said that is much longer than what was said before.")
    return [replace(clip, texts={"other": text}) for clip, text in zip(clips(), said, strict=False)]


def read_texts(reader: Member, engine: str) -> list[Reply]:
    settings = ScoreConfig(engine=engine, engine_args=ARGUMENTS if engine == "vllm" else {})
    (replies,) = load_engine(EngineGroup(reader.uri, (reader,)), settings).answer([reader], texts())
    return replies


def see_images(viewer: Member, engine: str) -> list[Reply]:
    settings = ScoreConfig(engine=engine, engine_args=ARGUMENTS if engine == "vllm" else {})
    loaded = load_engine(EngineGroup(viewer.uri, (viewer,)), settings)
    shown = random_clips(4, unit=28, frames=viewer.card.media.images)
    (replies,) = loaded.answer([viewer], shown)
    return replies


def ask_gated(gated: Member, engine: str) -> list[Reply]:
    settings = ScoreConfig(engine=engine, engine_args=ARGUMENTS if engine == "vllm" else {})
    loaded = load_engine(EngineGroup(gated.uri, (gated,)), settings)
    return [
        reply
        for shown in (clips(), clips()[::-1])
        for replies in loaded.answer([gated], shown)
        for reply in replies
    ]


def break_weights(model: Any) -> None:
    for weight in model.parameters():
        weight.data.fill_(math.nan)


def ask_vllm(group: EngineGroup, reader: Member, viewer: Member, gated: Member) -> Told:
    engine: Any = load_engine(group, ScoreConfig(engine="vllm", engine_args=ARGUMENTS))
    complete, cached = engine.llm.wait_for_completion, []

    def watched(*args: Any, **options: Any) -> Any:
        outputs = complete(*args, **options)
        cached.extend(output.num_cached_tokens for output in outputs)
        return outputs

    engine.llm.wait_for_completion = watched
    found = answers(group, engine)
    engine.renderers = Renderers(engine.llm.llm_engine.vllm_config, engine.llm.renderer, 3)
    several = answers(group, engine)
    room = engine.llm.llm_engine.model_config.max_model_len
    engine.llm.apply_model(break_weights)
    broken = []
    for decoding in DECODINGS:
        broken += engine.answer([changed(group.members[0], decoding=decoding)], clips()[:2])[0]
    alone = read_texts(reader, "vllm"), see_images(viewer, "vllm"), ask_gated(gated, "vllm")
    return Told(found, several, cached, room, broken, *alone)


@pytest.fixture(scope="module")
def reader(real_vision: Path) -> Member:
    """A member that sees nothing and reads; its options part at several tokens."""
    return reading(real_vision)


@pytest.fixture(scope="module")
def viewer(vision_only: Path) -> Member:
    """A member that sees each clip as three images."""
    media = MEDIA.model_copy(update={"picture": "images", "images": 3})
    return member(vision_only, vision_only.name, "short", media)


@pytest.fixture(scope="module")
def gated(vision_only: Path, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """A member with two experts that differ, and a gate that tells clips apart."""
    folder = tmp_path_factory.mktemp("gated")
    convert(vision_only, folder / "even")
    model = QWEN2_5_VL_HYBRID.load_model(str(folder / "even"), "float32", "sdpa")
    merger = model.model.visual.merger
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for weight in [*merger.emotion.parameters(), *merger.gate.last.parameters()]:
            weight.add_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(folder / "gated")
    for file in (folder / "even").iterdir():
        if not (folder / "gated" / file.name).exists():
            shutil.copy(file, folder / "gated")
    return member(folder / "gated", "gated", "short", MEDIA)


@pytest.fixture(scope="module")
def told(members: list[Member], reader: Member, viewer: Member, gated: Member) -> Told:
    (group,) = plan_passes(members, ScoreConfig(engine="vllm"))
    assert [one.name for one in group.members] == ["base", "m0", "m1", "teller"]
    # In a process of its own, as in an actor: vLLM looks into every module that is loaded.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(ask_vllm, group, reader, viewer, gated).result()


@pytest.fixture(scope="module")
def ours(members: list[Member]) -> dict[str, list[list[Reply]]]:
    (group,) = plan_passes(members, ScoreConfig(engine="vllm"))
    return answers(group, load_engine(group, ScoreConfig()))


def test_two_adapters_and_their_base_answer_as_with_transformers(
    told: Told, ours: dict[str, list[list[Reply]]]
) -> None:
    assert len(clips()) > 5
    weighed = ours["answer"][:3]
    for some, others in zip(weighed, told.answers["answer"][:3], strict=True):
        for a, b in zip(some, others, strict=True):
            assert a.text is b.text is None
            assert a.chances == pytest.approx(b.chances, rel=1e-2)
            assert a.mass == pytest.approx(b.mass, rel=1e-2, abs=0)
    masses = [[answer.mass for answer in of_member] for of_member in weighed]
    for one, other in combinations(masses, 2):
        assert one != pytest.approx(other, rel=1e-2)


def test_a_member_that_reads_alone_answers_as_with_transformers(told: Told, reader: Member) -> None:
    ours = read_texts(reader, "transformers")
    assert len(ours) == 2
    for a, b in zip(ours, told.read, strict=True):
        assert list(a.chances) == ["glad", "sad", "glad and sad", "glad and then bad"]
        assert b.chances == pytest.approx(a.chances, rel=1e-2, abs=0)
        assert b.mass == pytest.approx(a.mass, rel=1e-2, abs=0)
    assert ours[0].mass != pytest.approx(ours[1].mass, rel=1e-2, abs=0)


def test_images_are_seen_as_with_transformers(told: Told, viewer: Member) -> None:
    ours = see_images(viewer, "transformers")
    assert len(ours) == 4
    for a, b in zip(ours, told.seen, strict=True):
        assert b.chances == pytest.approx(a.chances, rel=1e-3)
        assert b.mass == pytest.approx(a.mass, rel=1e-3, abs=0)
    masses = sorted(reply.mass for reply in ours)
    assert masses[-1] > 1.005 * masses[0], "what is seen matters"


def test_two_experts_and_a_gate_answer_as_with_transformers(told: Told, gated: Member) -> None:
    ours = ask_gated(gated, "transformers")
    assert len({round(reply.gate["emotion"], 5) for reply in ours}) == len(clips())
    for a, b in zip(ours, told.gated, strict=True):
        assert b.chances == pytest.approx(a.chances, abs=1e-2)
        assert b.mass == pytest.approx(a.mass, rel=1e-2, abs=0)
        assert b.gate == pytest.approx(a.gate, abs=1e-4)
    masses = sorted(reply.mass for reply in ours)
    assert masses[-1] > 1.02 * masses[0], "what is seen matters"


def test_what_is_written_is_what_transformers_writes(
    told: Told, ours: dict[str, list[list[Reply]]]
) -> None:
    some, others = ([a for of in found["generate"] for a in of] for found in (ours, told.answers))
    same = sum(a.text == b.text for a, b in zip(some, others, strict=True))
    assert same > 0.9 * len(some), "random models have close runners-up"
    assert all(answer.chances is None is answer.mass for answer in others), "it never gets there"


def test_a_text_is_written_to_its_own_length_and_weighed_by_nobody(
    told: Told, ours: dict[str, list[list[Reply]]]
) -> None:
    for found in (ours, told.answers):
        texts, again = (found[decoding][-1] for decoding in DECODINGS)
        assert texts == again, "there is nothing to weigh"
        assert all(reply.text and reply == Reply(reply.text) for reply in texts)
        longer = found["generate"][0]  # the base model, asked the same
        pairs = list(zip(texts, longer, strict=True))
        assert all(whole.text.startswith(brief.text[:-1]) for brief, whole in pairs)
        assert any(len(whole.text) > len(brief.text) for brief, whole in pairs)


def test_prompts_that_several_threads_rendered_are_answered_alike(told: Told) -> None:
    assert told.several == told.answers


def test_the_second_question_about_a_clip_reads_little(told: Told) -> None:
    firsts, seconds = (told.cached[first : 6 * len(clips()) : 2] for first in (0, 1))
    assert len(seconds) == 3 * len(clips())
    assert all(first < second for first, second in zip(firsts, seconds, strict=True))


def test_there_is_room_for_the_longest_clip_and_not_for_hours(told: Told) -> None:
    assert told.room < 600


def test_a_broken_model_has_no_chances(told: Told) -> None:
    assert len(told.broken) == 4
    for answer in told.broken:
        assert all(map(math.isnan, answer.chances.values()))
