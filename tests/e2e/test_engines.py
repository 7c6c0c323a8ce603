"""Engines and ways of decoding give the same answers, on the trained members of the demo."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Reply
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup, engine_groups, read_ensemble
from ah_ray.errors import ItemError
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.members import Member, asked
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.scorer import read
from ah_ray.tasks import load_task
from ah_ray.toy.archive import ArchiveSpec, plan_archive


@pytest.fixture(scope="module")
def groups(demo: Path) -> list[EngineGroup]:
    return engine_groups(read_ensemble(str(demo / "members")))


@pytest.fixture(scope="module")
def clips(demo: Path, groups: list[EngineGroup]) -> list[DecodedClip]:
    manifest = RunDirectory.at(str(demo)).clips(SCORING).to_pylist()
    # Each video's last clip is shorter than the others.
    chosen = [row for row in manifest if row["end_s"] - row["start_s"] < 2.4] + manifest
    return [decoded(row, groups[0]) for row in chosen[:56]]


def decoded(row: dict[str, Any], group: EngineGroup) -> DecodedClip:
    """The clip in a row of the manifest, as the members of ``group`` get it."""
    span = Span(row["start_s"], row["end_s"])
    ((_, clip),) = decode(row["source_uri"], [span], group.members[0].card.media)
    assert not isinstance(clip, ItemError)
    return clip


def answers(
    group: EngineGroup, clips: list[DecodedClip], engine: str, modes: list[str]
) -> dict[str, list[Reply]]:
    """The answers of a group's first member by decoding mode; the engine is loaded once."""
    loaded = load_engine(group, ScoreConfig(engine=engine))
    result = {}
    for mode in modes:
        batches = [clips[first : first + 16] for first in range(0, len(clips), 16)]
        member = asked(group.members[0], ScoreConfig(decoding=mode))
        result[mode] = [reply for batch in batches for reply in loaded.answer([member], batch)[0]]
    return result


def labels(group: EngineGroup, replies: list[Reply]) -> list[str]:
    """What each reply says."""
    answer = group.members[0].card.question.answer
    readings = [read(reply, answer) for reply in replies]
    assert None not in readings
    return [label for reading in readings for label in reading.labels]


def largest_difference(some: list[Reply], others: list[Reply]) -> float:
    return max(
        abs(one.chances[label] - other.chances[label])
        for one, other in zip(some, others, strict=True)
        for label in ("Yes", "No")
    )


def test_one_forward_pass_says_what_the_whole_reply_says(
    groups: list[EngineGroup], clips: list[DecodedClip]
) -> None:
    for group in groups:
        by_mode = answers(group, clips, "transformers", ["generate", "answer"])
        said = labels(group, by_mode["generate"])
        assert set(said) == {"Yes", "No"}
        assert said == labels(group, by_mode["answer"])
        assert all(reply.text is None for reply in by_mode["answer"])
        assert largest_difference(by_mode["generate"], by_mode["answer"]) < 1e-4


def test_members_compare_what_they_see_with_what_they_hear(
    demo: Path, groups: list[EngineGroup]
) -> None:
    """Pictures of one clip with the sound of another: the answer is whether those two disagree."""
    shown = steady_clips(demo, groups[0])
    assert {(smile, bright) for _, smile, bright in shown} == set(product((False, True), repeat=2))
    mixed = [(replace(seen, audio=heard.audio), smile != bright)
             for seen, smile, _ in shown for heard, _, bright in shown]  # fmt: skip
    for group in groups:
        engine = load_engine(group, ScoreConfig())
        answers = engine.answer(group.members, [clip for clip, _ in mixed])
        for member, given in zip(group.members, answers, strict=True):
            stated = zip(labels(group, given), mixed, strict=True)
            right = sum((label == "Yes") == expected for label, (_, expected) in stated)
            assert right / len(mixed) > 0.95, member.name


def steady_clips(demo: Path, group: EngineGroup) -> list[tuple[DecodedClip, bool, bool]]:
    """Whole clips in which no cue changes, and whether their face smiles and their tone is bright.

    Eight of them are of turns, eight are not.
    """
    plans = {plan.key: plan for plan in plan_archive(ArchiveSpec())}
    found: dict[bool, list[tuple[DecodedClip, bool, bool]]] = {False: [], True: []}  # in a turn?
    for row in RunDirectory.at(str(demo)).clips(SCORING).to_pylist():
        span = Span(row["start_s"], row["end_s"])
        plan = plans[row["source_uri"].removeprefix(f"{demo}/archive/")]
        inside = [t for t in plan.turns if t.start_s < span.start_s and span.end_s < t.end_s]
        outside = all(t.end_s < span.start_s or span.end_s < t.start_s for t in plan.turns)
        if span.duration_s < 2.4 or not (inside or outside) or len(found[bool(inside)]) == 8:
            continue
        clip = decoded(row, group)
        face, tone = (inside[0].face, inside[0].tone) if inside else (False, False)
        found[bool(inside)].append((clip, plan.glad ^ face, plan.glad ^ tone))
    return found[False] + found[True]


def test_vllm_answers_as_transformers_does(
    groups: list[EngineGroup], clips: list[DecodedClip]
) -> None:
    group = next(group for group in groups if group.members[0].card.weights == "adapter")
    assert len(clips) >= 50
    modes = ["generate", "answer"]
    ours = answers(group, clips, "transformers", modes)
    # In a process of its own, as in an actor: vLLM looks into every module that is loaded.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        theirs = process.submit(answers, group, clips, "vllm", modes).result()
    for mode in modes:
        assert labels(group, ours[mode]) == labels(group, theirs[mode])
        assert largest_difference(ours[mode], theirs[mode]) < 1e-2


def test_adapters_on_one_base_answer_as_they_do_alone(
    groups: list[EngineGroup], clips: list[DecodedClip]
) -> None:
    group = next(group for group in groups if group.members[0].card.weights == "adapter")
    alone = answers(group, clips[:16], "transformers", ["answer"])["answer"]
    card, task = group.members[0].card, load_task("cue_conflict")
    questions = {"x": task.question("detailed", "test"), "y": card.question}
    others = tuple(
        Member(group.members[0].uri, card.model_copy(update={"name": name, "question": question}))
        for name, question in questions.items()
    )
    three = EngineGroup(group.checkpoint, (*group.members, *others))
    engine = load_engine(three, ScoreConfig())
    first, detailed, same = engine.answer(three.members, clips[:16])
    assert first == same == alone
    assert detailed != alone
