"""Chances of whole replies, against a plain forward pass over each whole conversation."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoProcessor

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item
from ah_ray.engines.registry import load_engine
from ah_ray.engines.transformers_engine import TransformersEngine, to_model
from ah_ray.engines.wording import Wording, part_replies, scores_of_reply, weigh, wording
from ah_ray.ensemble import EngineGroup
from ah_ray.members import Member
from ah_ray.pipelines.scorer import prediction
from ah_ray.tasks.answers import Choice, Reading
from tests.engines.tiny_models import changed, member, random_clips, reading

UNITS = {"omni": 32, "real_omni": 32, "real_vision": 28}
# One step with the toy's vocabulary, two with the real one; several for words that part at once;
# a word that goes on as the other one; and four words that part at several places.
WORDS = [
    ("Yes", "No"),
    ("Ambivalence", "Hesitancy"),
    ("Yes, but", "Yes"),
    ("glad", "sad", "glad and sad", "glad and then bad"),
]


def asking(folder: Path, options: tuple[str, ...]) -> Member:
    """A member that is to answer with one of these words."""
    one = member(folder, folder.name)
    answer = Choice(kind="choice", options=options, reply="<answer>{answer}</answer>")
    return changed(one, question=one.card.question.model_copy(update={"answer": answer}))


def replies(one: Member) -> dict[str, str]:
    """The whole reply of each option."""
    answer = one.card.question.answer
    return {label: answer.write(Reading(frozenset({label}))) for label in answer.options}


def loaded(one: Member) -> TransformersEngine:
    engine = load_engine(EngineGroup(one.checkpoint, (one,)), ScoreConfig())
    assert isinstance(engine, TransformersEngine)
    return engine


def by_brute_force(
    engine: TransformersEngine, one: Member, clip: Item
) -> tuple[dict[str, float], float]:
    """The chances and the mass, from one pass over each whole conversation."""
    words = wording(engine.processor, one, clip.texts)
    assert words.labels == one.card.question.answer.options
    chances = []
    for reply, option in zip(replies(one).values(), words.options, strict=True):
        reply += engine.processor.tokenizer.eos_token
        whole = words._replace(text=words.text + reply)
        architecture = engine.architecture
        encoded = architecture.encode(engine.processor, whole.text, whole.kinds, [clip])
        inputs = to_model(encoded, engine.model, architecture.times)
        engine.core.scored_positions = 10_000
        with torch.inference_mode():
            logits = engine.core(**inputs, use_cache=False).logits[0].double()
        engine.core.scored_positions = 1
        ids = inputs["input_ids"][0].tolist()
        tokens = engine.processor.tokenizer(reply, add_special_tokens=False).input_ids
        start = len(ids) - len(tokens)
        assert ids[start:] == tokens
        assert tokens[: len(words.prefix)] == words.prefix
        first = start + len(words.prefix)
        assert tuple(ids[first : first + len(option)]) == option
        steps = logits.log_softmax(-1)
        chances.append(
            math.exp(sum(float(steps[first + n - 1, token]) for n, token in enumerate(option)))
        )
    weighed = (chance / sum(chances) for chance in chances)
    return dict(zip(words.labels, weighed, strict=True)), sum(chances)


@pytest.mark.parametrize(("model", "unit"), UNITS.items(), ids=UNITS)
@pytest.mark.parametrize("options", WORDS, ids=[first for first, *_ in WORDS])
def test_chances_are_those_of_whole_replies(
    model: str, unit: int, options: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    one = asking(request.getfixturevalue(model), options)
    engine = loaded(one)
    # Without rounding nothing but an error is a difference.
    engine.model.set_experts_implementation("eager")
    engine.model.double()
    clips = random_clips(4, unit, seed=7)  # after some of which text begins between two positions
    (together,) = engine.answer([one], clips)
    for padded, clip in zip(together, clips, strict=True):
        chances, mass = by_brute_force(engine, one, clip)
        ((alone,),) = engine.answer([one], [clip])
        for answer, tolerance in ((alone, 1e-7), (padded, 1e-3)):
            assert answer.chances == pytest.approx(chances, rel=tolerance, abs=0)
            assert answer.mass == pytest.approx(mass, rel=tolerance, abs=0)
            assert answer.text is None


@pytest.mark.parametrize(("model", "unit"), UNITS.items(), ids=UNITS)
def test_who_reads_alone_weighs_what_it_has_read(
    model: str, unit: int, request: pytest.FixtureRequest
) -> None:
    one = reading(request.getfixturevalue(model))
    engine = loaded(one)
    engine.model.set_experts_implementation("eager")
    engine.model.double()
    texts = ["They smile.", "", "Something is said that is much longer than what was said before."]
    items = [
        replace(clip, texts={"other": text})
        for clip, text in zip(random_clips(3, unit), texts, strict=True)
    ]
    (together,) = engine.answer([one], items)
    for padded, item in zip(together, items, strict=True):
        chances, mass = by_brute_force(engine, one, item)
        ((alone,),) = engine.answer([one], [item])
        # Padding moves positions, whose angles are rounded; such unlikely replies show it more.
        for answer, tolerance in ((alone, 1e-7), (padded, 5e-3)):
            assert answer.chances == pytest.approx(chances, rel=tolerance, abs=0)
            assert answer.mass == pytest.approx(mass, rel=tolerance, abs=0)
    assert together[0].mass != pytest.approx(together[2].mass, rel=1e-2, abs=0)


def test_the_real_vocabulary_joins_the_bracket_with_one_word_alone(real_omni: Path) -> None:
    processor = AutoProcessor.from_pretrained(real_omni)
    words = wording(processor, member(real_omni, "real_omni"))

    def pieces(tokens: list[int] | tuple[int, ...]) -> list[str]:
        return [processor.tokenizer.decode([token]) for token in tokens]

    assert pieces(words.prefix) == ["<", "answer"]
    assert [pieces(option) for option in words.options] == [[">", "Yes"], [">No"]]
    assert len(words.branches) == 1, "one pass shows both"


def test_a_bracket_is_no_yes(real_omni: Path) -> None:
    """A model that always closes the bracket and then says something else has not said Yes."""
    one = member(real_omni, "real_omni")
    engine = loaded(one)
    bracket = engine.wordings[one.name].options[0][0]

    def insist(head: object, args: object, logits: torch.Tensor) -> torch.Tensor:
        raised = logits.clone()
        raised[..., bracket] += 30
        return raised

    engine.core.get_output_embeddings().register_forward_hook(insist)
    (answers,) = engine.answer([one], random_clips(4))
    for answer in answers:
        assert answer.chances is not None
        assert answer.chances["Yes"] < 0.9
        assert answer.mass is not None
        assert answer.mass < 1e-6


def writing(one: Member) -> Member:
    return changed(one, decoding="generate", max_new_tokens=12)


@pytest.mark.parametrize("model", ["omni", "real_omni"])
def test_a_written_reply_shows_its_chances_where_it_states_its_word(
    model: str, request: pytest.FixtureRequest
) -> None:
    """Models that are made to write either reply, token by token."""
    one = writing(member(request.getfixturevalue(model), model))
    engine = loaded(one)
    words = engine.wordings[one.name]
    clips = random_clips(3)
    end = engine.processor.tokenizer.eos_token
    head, forced = engine.core.get_output_embeddings(), iter(())
    shown: list[torch.Tensor] = []

    def insist(head: object, args: object, logits: torch.Tensor) -> torch.Tensor:
        raised = logits.clone()
        raised[..., next(forced)] += 1e-3 + float(raised.max() - raised.min())
        shown.append(raised[:, -1].double().log_softmax(-1))
        return raised

    for label, reply in replies(one).items():
        tokens = engine.processor.tokenizer(reply + end).input_ids
        forced = iter(tokens)
        shown.clear()
        handle = head.register_forward_hook(insist)
        (answers,) = engine.answer([one], clips)
        handle.remove()
        for row, answer in enumerate(answers):
            assert answer.text == reply
            if words.branches[0] and label == "No":
                # Who writes ">No" does not show how ">" would have gone on.
                assert answer.chances is answer.mass is None
                continue
            yes, no = (
                math.exp(sum(shown[len(words.prefix) + n][row, t] for n, t in enumerate(option)))
                for option in words.options
            )
            assert answer.chances == pytest.approx({"Yes": yes / (yes + no), "No": no / (yes + no)})
            assert answer.mass == pytest.approx(yes + no)


# Scores that are no numbers


@pytest.mark.parametrize("decoding", ["answer", "generate"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_broken_model_gives_no_answer(omni: Path, decoding: str, value: float) -> None:
    one = changed(member(omni, "omni"), decoding=decoding)
    engine = loaded(one)

    def broken(head: object, args: object, logits: torch.Tensor) -> torch.Tensor:
        return torch.full_like(logits, value)

    engine.core.get_output_embeddings().register_forward_hook(broken)
    (answers,) = engine.answer([one], random_clips(2))
    for answer in answers:
        row = prediction({"clip_id": "c", "video_id": "v", "damage": 0}, answer, one, 1)
        assert (row["status"], row["error_kind"]) == ("error", "not_finite")
        assert not {"labels", "chances", "mass"} & row.keys()


@pytest.mark.parametrize("decoding", ["answer", "generate"])
def test_a_clip_that_breaks_a_model_costs_only_itself(omni: Path, decoding: str) -> None:
    one = changed(member(omni, "omni"), decoding=decoding)
    engine = loaded(one)
    clips = random_clips(3)
    whole = engine.answer([one], clips)[0]
    clips[1] = replace(clips[1], audio=clips[1].audio * math.nan)
    broken = engine.answer([one], clips)[0]
    assert broken[1].chances is not None
    assert all(map(math.isnan, broken[1].chances.values()))
    for index in (0, 2):
        assert broken[index].text == whole[index].text
        assert broken[index].chances == pytest.approx(whole[index].chances)


# The functions by themselves: any number of replies


REPLIES = st.lists(
    st.lists(st.integers(0, 2), max_size=4).map(lambda tokens: (*tokens, 9)),
    min_size=2,
    max_size=5,
    unique=True,
)


def chance(context: tuple[int, ...], token: int) -> float:
    """A language of the tokens 0 to 2 and 9, the end."""
    weights = {t: 1 + hash((context, t)) % 97 for t in (0, 1, 2, 9)}
    return weights[token] / sum(weights.values())


@given(REPLIES, st.data())
def test_options_are_weighed_by_all_their_tokens(replies, data) -> None:
    ends = [data.draw(st.integers(1, len(reply))) for reply in replies]
    prefix, options = part_replies(replies, ends)
    for reply, option, end in zip(replies, options, ends, strict=True):
        begun = prefix + option
        assert option
        assert reply[: len(begun)] == begun
        assert len(begun) >= end
        assert sum(other[: len(begun)] == begun for other in replies) == 1, "told from the others"
    words = Wording("", [], (), list(prefix), tuple(map(str, options)), options)
    contexts = words.contexts
    scores = {
        context: {token: math.log(chance(context, token)) for token in tokens}
        for context, tokens in contexts.items()
    }
    weighed = weigh(options, scores)
    exact = [
        math.prod(chance(option[:n], token) for n, token in enumerate(option)) for option in options
    ]
    assert weighed.mass == pytest.approx(sum(exact))
    assert weighed.mass <= 1
    assert weighed.chances == pytest.approx([one / sum(exact) for one in exact])
    # Each context is read once, by the branch that begins with it.
    shown = {branch[:n] for branch in words.branches for n in range(len(branch) + 1)}
    assert shown == contexts.keys()
    assert not any(
        a != b and b[: len(a)] == a for a, b in itertools.permutations(words.branches, 2)
    )
    broken = data.draw(st.sampled_from(list(scores)))
    token = data.draw(st.sampled_from(list(scores[broken])))
    scores[broken] = {**scores[broken], token: data.draw(st.sampled_from([math.nan, -math.inf]))}
    assert math.isnan(weigh(options, scores).mass)


@given(REPLIES, st.data())
def test_a_reply_shows_the_contexts_that_it_passes(replies, data) -> None:
    prefix, options = part_replies(replies, [1] * len(replies))
    words = Wording("", [], (), list(prefix), tuple(map(str, options)), options)
    written = data.draw(
        st.one_of(st.sampled_from(replies), st.lists(st.integers(0, 2), max_size=6))
    )
    steps = [{place: 0.0} for place in range(len(written))]
    scores = scores_of_reply(words, written, steps)
    passed = {tuple(written[len(prefix) : n]) for n in range(len(prefix), len(written))}
    begins = tuple(written[: len(prefix)]) == prefix
    assert (scores is not None) == (begins and passed >= words.contexts.keys())
    if scores is not None:
        assert all(scores[context] == {len(prefix) + len(context): 0.0} for context in scores)
