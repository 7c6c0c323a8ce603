"""Models that only read."""

from dataclasses import replace

import pytest

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup
from ah_ray.members import Member
from ah_ray.toy.text import write_tiny_text
from tests.engines.tiny_models import changed, random_clips, reading

TEXTS = ["Of a clip is said: They smile. How are they?", "glad sad and then bad"] * 3
SAID = ("They smile.", "Something is said that is much longer than what was said before.", "")


@pytest.fixture(scope="module", params=["qwen2_5_text", "qwen3_text"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """A member whose options part at several tokens."""
    folder = tmp_path_factory.mktemp("models") / request.param
    write_tiny_text(folder, TEXTS, architecture=request.param)
    return reading(folder)


def items() -> list[Item]:
    return [
        replace(clip, texts={"other": text})
        for clip, text in zip(random_clips(3), SAID, strict=True)
    ]


@pytest.mark.parametrize("decoding", ["answer", "generate"])
def test_padding_does_not_change_an_answer(reader: Member, decoding: str) -> None:
    one = changed(reader, decoding=decoding, max_new_tokens=8)
    engine = load_engine(EngineGroup(one.checkpoint, (one,)), ScoreConfig())
    (together,) = engine.answer([one], items())
    alone = [engine.answer([one], [item])[0][0] for item in items()]
    for a, b in zip(together, alone, strict=True):
        assert a.text == b.text
        assert a.chances == (b.chances and pytest.approx(b.chances, rel=1e-4, abs=0))
        assert a.mass == (b.mass and pytest.approx(b.mass, rel=1e-4, abs=0))
    assert len({answer.mass or answer.text for answer in together}) == 3


def test_who_explains_writes_though_it_could_be_asked_for_its_option(reader: Member) -> None:
    question = reader.card.question
    why = question.answer.model_copy(update={"explanation": "<why>{explanation}</why>"})
    explaining = question.model_copy(update={"answer": why})
    written = changed(reader, decoding="generate", max_new_tokens=8)
    told = changed(reader, question=explaining, max_new_tokens=8)
    engine = load_engine(EngineGroup(told.checkpoint, (told,)), ScoreConfig())
    replies, plain = (engine.answer([one], items())[0] for one in (told, written))
    assert told.card.decoding == "answer"
    assert [(one.text, one.chances) for one in replies] == [(one.text, None) for one in plain]
