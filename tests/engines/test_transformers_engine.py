"""What the engine makes of clips and prompts, on random models of two architectures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item
from ah_ray.engines.registry import load_engine
from ah_ray.engines.transformers_engine import (
    load_model,
    reword,
    to_model,
)
from ah_ray.engines.wording import Wording, wording
from ah_ray.ensemble import EngineGroup
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig
from ah_ray.members import Member
from ah_ray.models.architecture import Architecture
from ah_ray.tasks import Prompt
from ah_ray.tasks.answers import Choice, Text
from tests.engines.tiny_models import (
    architecture_at,
    changed,
    member,
    random_adapter,
    random_clips,
)

UNHEARD = MediaConfig(audio="none")
IMAGES = {"picture": "images", "images": 3}
MODELS = pytest.mark.parametrize(
    ("model", "unit", "media"),
    [
        ("omni", 32, MediaConfig()),
        ("omni", 32, UNHEARD),
        ("vision_only", 28, UNHEARD),
        ("omni", 32, MediaConfig(**IMAGES)),
        ("vision_only", 28, UNHEARD.model_copy(update=IMAGES)),
    ],
    ids=["omni", "omni unheard", "vision only", "omni images", "vision only images"],
)


@pytest.fixture
def folder(model: str, request: pytest.FixtureRequest) -> Path:
    """The checkpoint that a test's parameter ``model`` names."""
    path: Path = request.getfixturevalue(model)
    return path


def asked(folder: Path, media: MediaConfig) -> tuple[Any, Wording]:
    """The processor of a checkpoint, and what it makes of a question."""
    processor = architecture_at(folder).load_processor(str(folder))
    return processor, wording(processor, member(folder, folder.name, media=media))


def shown(count: int, unit: int, media: MediaConfig) -> list[Item]:
    """Clips as ``media`` has them."""
    return random_clips(count, unit, frames=media.images if media.picture == "images" else None)


def encode(folder: Path, processor: Any, words: Wording, clips: list[Item]) -> Any:
    """The inputs of the model in ``folder``."""
    architecture: Architecture = architecture_at(folder)
    return architecture.encode(processor, words.text, words.kinds, clips)


@MODELS
def test_another_prompt_on_the_same_media_is_as_if_encoded_alone(
    folder: Path, unit: int, media: MediaConfig
) -> None:
    processor = architecture_at(folder).load_processor(str(folder))
    short, detailed = (
        wording(processor, member(folder, folder.name, prompt, media))
        for prompt in ("short", "detailed")
    )
    clips = shown(5, unit, media)
    for ours, theirs in ((short, detailed), (detailed, short), (short, short)):
        alone = encode(folder, processor, theirs, clips)
        inputs = encode(folder, processor, ours, clips)
        shared = reword(processor, inputs, ours, [theirs] * 5, [])
        assert alone.keys() == shared.keys()
        for name, value in alone.items():
            torch.testing.assert_close(shared[name], value, rtol=0, atol=0)


@MODELS
def test_a_begun_reply_stands_at_the_end_of_every_row(
    folder: Path, unit: int, media: MediaConfig
) -> None:
    processor, words = asked(folder, media)
    plain = encode(folder, processor, words, shown(4, unit, media))
    begun = reword(processor, plain, words, [words] * 4, words.prefix)
    count = len(words.prefix)
    assert count
    assert (begun["input_ids"][:, -count:] == torch.tensor(words.prefix)).all()
    assert (begun["attention_mask"][:, -count:] == 1).all()
    for name in ("input_ids", "attention_mask"):
        torch.testing.assert_close(begun[name][:, :-count], plain[name], rtol=0, atol=0)


@MODELS
@pytest.mark.parametrize("decoding", ["answer", "generate"])
def test_members_in_one_call_answer_as_they_do_alone(
    folder: Path, unit: int, media: MediaConfig, decoding: str
) -> None:
    members = [
        changed(member(folder, f"m{n}", prompt, media), decoding=decoding, max_new_tokens=8)
        for n, prompt in enumerate(("short", "detailed"))
    ]
    engine = load_engine(EngineGroup(str(folder), tuple(members)), ScoreConfig())
    clips = shown(4, unit, media)
    together = engine.answer(members, clips)
    assert [len(answers) for answers in together] == [4, 4]
    assert together == [engine.answer([one], clips)[0] for one in members]
    assert together[0] != together[1]
    assert engine.answer(members, []) == [[], []]
    if decoding == "answer":
        for answer in together[0]:
            assert answer.text is None
            assert answer.chances is not None
            assert list(answer.chances) == ["Yes", "No"]
            assert sum(answer.chances.values()) == pytest.approx(1)
            assert answer.mass is not None
            assert 0 < answer.mass <= 1


@pytest.mark.parametrize("decoding", ["answer", "generate"])
def test_a_base_model_beside_its_adapter_answers_as_alone(
    omni: Path, tmp_path: Path, decoding: str
) -> None:
    alone = changed(member(omni, "omni"), decoding=decoding, max_new_tokens=8)
    base = changed(alone, name="base", weights="base")
    tuned = random_adapter(tmp_path / "tuned", alone, seed=0)
    clips = random_clips(4)
    (plain,) = load_engine(EngineGroup(str(omni), (alone,)), ScoreConfig()).answer([alone], clips)
    members = (base, tuned, changed(base, name="again"))
    group = EngineGroup(str(omni), members)
    engine = load_engine(group, ScoreConfig())
    first, other, again = engine.answer(members, clips)
    assert first == again
    assert other != first
    for ours, theirs in zip(first, plain, strict=True):
        assert ours.text == theirs.text
        assert ours.chances == (theirs.chances and pytest.approx(theirs.chances, rel=1e-5))
    assert engine.answer([tuned], clips) == [other]


def test_one_question_with_other_options_is_another_question(omni: Path) -> None:
    members = [
        changed(one, name=f"m{n}", question=one.card.question.model_copy(update={"answer": answer}))
        for one in [member(omni, "omni")]
        for n, answer in enumerate(
            (
                Choice(kind="choice", options=("Yes", "No"), reply="<answer>{answer}</answer>"),
                Choice(kind="choice", options=("glad", "sad", "glad and sad"), reply="{answer}."),
                Text(kind="text"),
            )
        )
    ]
    engine = load_engine(EngineGroup(str(omni), tuple(members)), ScoreConfig())
    clips = random_clips(2)
    assert engine.answer(members, clips) == [engine.answer([one], clips)[0] for one in members]


def test_a_text_is_written_to_its_own_length(omni: Path) -> None:
    one = member(omni, "omni")
    described = one.card.question.model_copy(update={"answer": Text(kind="text")})
    short, long = (
        changed(one, name=f"m{length}", question=described, max_new_tokens=length)
        for length in (3, 9)
    )
    engine = load_engine(EngineGroup(str(omni), (short, long, one)), ScoreConfig())
    head, end = engine.core.get_output_embeddings(), engine.processor.tokenizer.eos_token_id
    steps = []

    def never_end(head: object, args: object, logits: torch.Tensor) -> torch.Tensor:
        steps.append(len(logits))
        return logits.index_fill(-1, torch.tensor([end]), -torch.inf)

    head.register_forward_hook(never_end)
    clips = random_clips(2)
    texts = {}
    for asked_one in (short, long):
        steps.clear()
        (texts[asked_one.name],) = engine.answer([asked_one], clips)
        assert steps == [2] * asked_one.card.max_new_tokens
    for brief, whole in zip(texts["m3"], texts["m9"], strict=True):
        assert brief.chances is whole.chances is whole.mass is None
        assert whole.text.startswith(brief.text.rstrip("\N{REPLACEMENT CHARACTER}"))
        assert len(whole.text) > len(brief.text)
    assert engine.answer([short, one, long], clips)[::2] == [texts["m3"], texts["m9"]]


def test_each_clip_is_asked_about_with_what_is_said_in_it(omni: Path) -> None:
    deaf = member(omni, "omni")
    prompt = Prompt(system="You look.", user="They say: {subtitle} Do they mean it?")
    question = deaf.card.question.model_copy(update={"prompt": prompt})
    told = changed(deaf, name="told", question=question)
    engine = load_engine(EngineGroup(str(omni), (deaf, told)), ScoreConfig())
    silent, *_ = random_clips(1)
    said = [replace(silent, texts={"subtitle": text}) for text in ("Of course!", "Never, no no.")]
    plain, heard = engine.answer([deaf, told], [silent, *said])
    assert all(reply.mass == pytest.approx(plain[0].mass) for reply in plain)
    masses = [reply.mass for reply in heard]
    assert len({round(mass, 9) for mass in masses if mass}) == 3
    for clip, reply in zip([silent, *said], heard, strict=True):
        ((alone,),) = engine.answer([told], [clip])
        assert alone.mass == pytest.approx(reply.mass, rel=1e-4)


def test_towers_look_once_at_the_clips_of_a_batch(omni: Path) -> None:
    members = [member(omni, f"m{n}", prompt) for n, prompt in enumerate(("short", "detailed"))]
    engine = load_engine(EngineGroup(str(omni), tuple(members)), ScoreConfig())
    seen = []
    engine.core.visual.register_forward_hook(lambda *_: seen.append("picture"))
    engine.core.audio_tower.register_forward_hook(lambda *_: seen.append("sound"))
    engine.answer(members, random_clips(3))
    assert sorted(seen) == ["picture", "sound"]
    engine.answer(members, random_clips(3, seed=1))
    assert sorted(seen) == ["picture", "picture", "sound", "sound"]


def test_times_stay_exact_in_a_model_of_few_digits(omni: Path) -> None:
    one = member(omni, "omni")
    processor, words = asked(omni, MediaConfig())
    clips = random_clips(4)
    model = load_model(str(omni), one.card.model.model_copy(update={"dtype": "bfloat16"}))
    times = architecture_at(omni).times
    inputs = to_model(encode(omni, processor, words, clips), model, times)
    assert inputs["pixel_values_videos"].dtype == inputs["input_features"].dtype == torch.bfloat16
    expected = [processor.video_processor.temporal_patch_size / clip.fps for clip in clips]
    assert inputs["video_second_per_grid"].tolist() == pytest.approx(expected, rel=1e-6)


def test_weights_of_another_architecture_are_refused(vision_only: Path) -> None:
    card = member(vision_only, vision_only.name).card
    model = card.model.model_copy(update={"architecture": "qwen3_omni"})
    one = Member(str(vision_only), card.model_copy(update={"model": model}))
    with pytest.raises(ConfigError, match="says qwen2_5_vl"):
        load_engine(EngineGroup(one.checkpoint, (one,)), ScoreConfig())


def test_padding_does_not_change_an_answer(omni: Path) -> None:
    one = member(omni, "omni")
    engine = load_engine(EngineGroup(str(omni), (one,)), ScoreConfig())
    clips = random_clips(6)
    (together,) = engine.answer([one], clips)
    alone = [engine.answer([one], [clip])[0][0] for clip in clips]
    for a, b in zip(together, alone, strict=True):
        assert a.chances == pytest.approx(b.chances, abs=1e-5)


def test_a_model_that_hears_is_given_audio(omni: Path) -> None:
    _, words = asked(omni, MediaConfig())
    assert words.kinds == ("video", "audio")
    assert "<|audio_pad|>" in words.text


@pytest.mark.parametrize(("model", "unit"), [("vision_only", 28), ("omni", 32)])
def test_a_model_of_no_audio_is_given_none(folder: Path, unit: int) -> None:
    processor, words = asked(folder, UNHEARD)
    assert words.kinds == ("video",)
    assert "audio" not in words.text
    loud, silent = random_clips(1, unit)[0], random_clips(1, unit)[0]
    silent = replace(silent, audio=0 * silent.audio)
    a, b = (encode(folder, processor, words, [clip]) for clip in (loud, silent))
    assert not any("audio" in name or "feature" in name for name in a)
    assert all((a[name] == b[name]).all() for name in a)


def test_the_gate_of_each_clip_is_told_and_of_none_where_nothing_is_shown(
    vision_only: Path, tmp_path: Path
) -> None:
    from ah_ray.models.hybrid_conversion import convert

    convert(vision_only, tmp_path / "hybrid")
    one = member(tmp_path / "hybrid", "hybrid")
    engine = load_engine(EngineGroup(one.checkpoint, (one,)), ScoreConfig())
    with torch.no_grad():  # a gate that tells clips apart
        engine.model.model.visual.merger.gate.last.weight.normal_()
    clips = random_clips(3, unit=28)
    ((first, *others),) = engine.answer([one], clips)
    assert set(first.gate) == {"general", "emotion"}
    gates = [reply.gate["emotion"] for reply in (first, *others)]
    assert len(set(gates)) == 3
    ((alone,),) = engine.answer([one], clips[2:])
    assert alone.gate["emotion"] == pytest.approx(gates[2], abs=1e-5)
    still = changed(one, media=one.card.media.model_copy(update={"picture": "none"}))
    engine = load_engine(EngineGroup(still.checkpoint, (still,)), ScoreConfig())
    assert engine.answer([still], clips[:1])[0][0].gate is None
    frames = changed(
        one, media=one.card.media.model_copy(update={"picture": "images", "images": 2})
    )
    engine = load_engine(EngineGroup(frames.checkpoint, (frames,)), ScoreConfig())
    ((seen, _),) = engine.answer([frames], random_clips(2, unit=28, frames=2))
    assert seen.gate == {"general": 0.5, "emotion": 0.5}
