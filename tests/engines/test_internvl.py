"""InternVL, which sees squares: both engines beside each other, and beside a model that reads."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item, Reply
from ah_ray.engines.registry import load_engine, plan_passes
from ah_ray.engines.transformers_engine import reword
from ah_ray.engines.wording import wording
from ah_ray.ensemble import EngineGroup
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig
from ah_ray.members import Member
from ah_ray.models.internvl import INTERNVL
from ah_ray.tasks import load_task
from ah_ray.toy.internvl import write_tiny_internvl
from ah_ray.toy.text import write_tiny_text
from tests.engines.tiny_models import changed, member, random_adapter, random_clips, reading

MEDIA = MediaConfig(picture="images", images=3, square=56, size_multiple=28, audio="none")
TEXTS = ["Does the face smile? <answer>Yes</answer> <answer>No</answer>"] * 3
TOWER = r".*vision_tower\.encoder\.layer\.\d+\.attention\.[qv]_proj"
ARGUMENTS = {"block_size": 32}  # a CPU remembers 128 tokens or nothing, unless it is told to
DECODINGS = ("answer", "generate")


def squares(count: int, media: MediaConfig = MEDIA) -> list[Item]:
    rng = np.random.default_rng(0)
    shape = (media.images, media.square, media.square, 3)
    return [
        replace(clip, frames=rng.integers(0, 255, shape, np.uint8)) for clip in random_clips(count)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Member:
    folder = tmp_path_factory.mktemp("models") / "internvl"
    write_tiny_internvl(folder, TEXTS)
    return changed(member(folder, "internvl", media=MEDIA), weights="base", max_new_tokens=8)


@pytest.fixture(scope="module")
def language(base: Member, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """With an adapter on the language model, and another prompt."""
    question = load_task("cue_conflict").question("detailed", "prompt")
    folder = tmp_path_factory.mktemp("adapters") / "language"
    return random_adapter(folder, base, seed=1, question=question)


@pytest.fixture(scope="module")
def tower(base: Member, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """With an adapter on what sees alone."""
    folder = tmp_path_factory.mktemp("adapters") / "tower"
    return random_adapter(folder, base, seed=2, targets=TOWER)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Member:
    """A model that only reads."""
    folder = tmp_path_factory.mktemp("models") / "reader"
    write_tiny_text(folder, TEXTS)
    return changed(reading(folder), max_new_tokens=8)


@pytest.mark.parametrize(("square", "tokens"), [(56, 4), (112, 16), (448, 256)])
def test_a_picture_is_one_tile_of_as_many_tokens_as_its_checkpoint_says(
    tmp_path: Path, square: int, tokens: int
) -> None:
    write_tiny_internvl(tmp_path, TEXTS, square=square)
    media = MEDIA.model_copy(update={"square": square})
    processor = INTERNVL.load_processor(str(tmp_path))
    words = wording(processor, member(tmp_path, tmp_path.name, media=media))
    inputs = INTERNVL.encode(processor, words.text, words.kinds, squares(2, media))
    assert inputs["pixel_values"].shape == (2 * 3, 3, square, square)
    shown = inputs["input_ids"] == processor.image_token_id
    assert shown.sum(dim=1).tolist() == [3 * tokens] * 2


def test_another_prompt_on_the_same_pictures_is_as_if_encoded_alone(base: Member) -> None:
    processor = INTERNVL.load_processor(base.checkpoint)
    short, detailed = (
        wording(processor, member(Path(base.checkpoint), "internvl", prompt, MEDIA))
        for prompt in ("short", "detailed")
    )
    alone, ours = (
        INTERNVL.encode(processor, words.text, words.kinds, squares(2))
        for words in (detailed, short)
    )
    shared = reword(processor, ours, short, [detailed] * 2, [])
    assert alone.keys() == shared.keys()
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_clip_answers_alone_as_in_a_batch(base: Member, language: Member, decoding: str) -> None:
    members = [changed(one, decoding=decoding) for one in (base, language)]
    engine = load_engine(EngineGroup(base.checkpoint, tuple(members)), ScoreConfig())
    clips = squares(4)
    together = engine.answer(members, clips)
    for number, clip in enumerate(clips):
        for (alone,), of_member in zip(engine.answer(members, [clip]), together, strict=True):
            require_alike(alone, of_member[number], rel=1e-4)
    assert together[0] != together[1]


def require_alike(one: Reply, other: Reply, rel: float) -> None:
    # vLLM holds back what may be the beginning of a character; of random weights most may be.
    texts = sorted(
        ((reply.text or "").rstrip("\N{REPLACEMENT CHARACTER}") for reply in (one, other)), key=len
    )
    assert texts[1].startswith(texts[0])
    assert one.chances == (other.chances and pytest.approx(other.chances, rel=rel, abs=0))
    assert one.mass == (other.mass and pytest.approx(other.mass, rel=rel, abs=0))


def test_pictures_of_another_size_are_refused_before_any_is_answered(base: Member) -> None:
    media = MEDIA.model_copy(update={"square": 84})
    group = EngineGroup(base.checkpoint, (changed(base, media=media),))
    with pytest.raises(ConfigError, match=r"(?s)media\.square.*is 84.*pictures of 56 .*to 56"):
        load_engine(group, ScoreConfig())


def test_an_adapter_on_what_sees_is_not_served(
    base: Member, language: Member, tower: Member
) -> None:
    def passes(*members: Member) -> list[list[str]]:
        found = plan_passes(members, ScoreConfig(engine="vllm"))
        return [[one.name for one in group.members] for group in found]

    assert passes(base, language) == [["internvl", "language"]]
    assert passes(base, tower) == [["internvl"], ["tower"]]


def asked(members: tuple[Member, ...], engine: str) -> list[list[Reply]]:
    """What the members of one pass answer, decoded in each way."""
    settings = ScoreConfig(engine=engine, engine_args=ARGUMENTS if engine == "vllm" else {})
    texts = ("They smile.", "Something is said that is much longer than that.", "")
    clips = [
        replace(clip, texts={"other": text}) for clip, text in zip(squares(3), texts, strict=True)
    ]
    loaded = load_engine(EngineGroup(members[0].checkpoint, members), settings)
    return [
        replies
        for decoding in DECODINGS
        for replies in loaded.answer([changed(one, decoding=decoding) for one in members], clips)
    ]


def test_vllm_answers_as_transformers_does(
    base: Member, language: Member, tower: Member, reader: Member
) -> None:
    groups = ((base, language), (tower,), (reader,))
    # In a process of its own, as in an actor: vLLM looks into every module that is loaded.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        theirs = [process.submit(asked, group, "vllm") for group in groups]
        ours = [asked(group, "transformers") for group in groups]
        for some, others in zip(ours, theirs, strict=True):
            for a, b in zip(some, others.result(), strict=True):
                for one, other in zip(a, b, strict=True):
                    require_alike(one, other, rel=1e-3)
            written = [
                reply.text for of in others.result()[len(others.result()) // 2 :] for reply in of
            ]
            assert all(written), "each writes a text"
    weighed = [replies[0].mass for group in ours for replies in group[: len(group) // 2]]
    assert len(set(weighed)) == 4, "each member answers for itself"
