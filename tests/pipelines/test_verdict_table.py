"""Verdicts of many videos at once against the functions on one video, row for row."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ah_ray import schemas
from ah_ray.hashing import combined, float_bits, hexadecimal, mix, mixed, text_hash, text_hashes
from ah_ray.pipelines.verdict_rows import judged_one_by_one, made_from
from ah_ray.pipelines.verdict_table import make_verdicts
from ah_ray.tasks.answers import Choice, Labels
from ah_ray.tasks.judgement import Judgement, Rules
from ah_ray.tasks.opinions import Given
from ah_ray.tasks.policies import ReduceConfig

PREDICTIONS = schemas.PREDICTIONS.append(pa.field("member", pa.string()))
OPTIONS = ("yes", "no", "maybe", "dünn")
MEMBERS = ("v1", "v2", "ünal")

RULES = ["any", "all", "most", "all_else_any", {"at_least": 2}, "first", "soft"]
RULES += [
    {name: argument | of}
    for name, argument in (("mean", {}), ("noisy_or", {}), ("top_k_mean", {"k": 2}))
    for of in ({}, {"threshold": 0.5})
]
CLIP_RULES = st.sampled_from(RULES)
MEMBER_RULES = st.sampled_from(
    [*RULES, {"weighted": {"weights": {"v1": 0.7, "v2": 0.1}, "at_least": 0.8}}]
)
# Few values, so that there are ties, and some that are not as they should be.
CHANCE = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0]) | st.floats(0, 1)
ODD_CHANCE = st.sampled_from([math.nan, math.inf, -0.5, 3.0])


@st.composite
def judgements(draw) -> Judgement:
    if draw(st.integers(0, 9)) == 0:
        answer = Labels(kind="labels")
        name = st.sampled_from(["any", "all", "most"])
        return Judgement(answer=answer, rules=Rules(clips=draw(name), members=draw(name)))
    options = OPTIONS[: draw(st.integers(2, len(OPTIONS)))]
    option = st.sampled_from(options)
    absent = option | st.just("exclude")
    policies = ReduceConfig(
        invalid=draw(absent), missing=draw(absent),
        tie=draw(option | st.sampled_from(["score", "undecided"])),
    )  # fmt: skip
    rules = Rules(clips=draw(CLIP_RULES), members=draw(MEMBER_RULES))
    return Judgement(answer=Choice(kind="choice", options=options), rules=rules, policies=policies)


@st.composite
def answers(draw, judgement: Judgement, odd: bool) -> dict:
    options = judgement.answer.options or OPTIONS
    status = draw(st.sampled_from(["ok"] * 6 + ["unparseable", "error"]))
    labels = [draw(st.sampled_from(options))] if status == "ok" else None
    chances = draw(
        st.none()
        | st.permutations(options).flatmap(
            lambda some: st.tuples(*(st.tuples(st.just(one), CHANCE) for one in some))
        )
    )
    if odd:
        labels = draw(st.none() | st.lists(st.sampled_from([*OPTIONS, "other"]), unique=True))
        pair = st.tuples(st.sampled_from([*OPTIONS, "other"]), CHANCE | ODD_CHANCE)
        chances = draw(st.none() | st.lists(pair, unique_by=lambda one: one[0]))
    return {"status": status, "labels": labels, "chances": None if chances is None else [*chances]}


@st.composite
def tables(draw) -> tuple[Judgement, pa.Table, pa.Table, pa.Table]:
    """How is judged; videos, clips and predictions in any order."""
    judgement = draw(judgements())
    videos = [
        {"video_id": name, "uri": f"{name}.mp4", "participant_id": name, "split": "test"}
        for name in ("a", "b", "c", "left out")
    ]
    clips, predictions = [], []
    for video in videos[: draw(st.integers(1, 3))]:
        for number in range(draw(st.integers(1, 4))):
            clip = {"clip_id": f"{video['video_id']}{'x' * 3 * number}", "start_s": 2.5 * number}
            clips += [clip | {"video_id": video["video_id"]}]
            for member in (*MEMBERS, "elsewhere"):
                odd = draw(st.integers(0, 49)) == 0
                for _ in range(draw(st.sampled_from([0] + [1] * 28 + [2]))):
                    row = draw(answers(judgement, odd))
                    predictions.append(row | {"clip_id": clip["clip_id"], "member": member})
    predictions.append({"clip_id": "gone", "member": "v1", "status": "ok", "labels": ["yes"]})
    if draw(st.booleans()):
        clips.append(clips[0])
    made = (
        pa.Table.from_pylist(draw(st.permutations(rows)), schema=schema)
        for rows, schema in (
            (videos, schemas.VIDEOS), (clips, schemas.CLIPS), (predictions, PREDICTIONS)
        )
    )  # fmt: skip
    return judgement, *made


@settings(max_examples=100, deadline=None)
@given(tables())
def test_all_at_once_is_as_one_by_one(made):
    judgement, videos, clips, predictions = made
    if judgement.rules.clips == "first" and not judgement.answer.options:
        return
    mine = {m: predictions.filter(pc.equal(predictions["member"], m)) for m in MEMBERS}
    expected = judged_one_by_one(pc.unique(clips["video_id"]), clips, mine, judgement)
    found = make_verdicts(videos, clips, predictions, MEMBERS, judgement)
    assert found.schema == schemas.VERDICTS
    found.validate(full=True)
    assert found["uri"].to_pylist() == [f"{name}.mp4" for name in found["video_id"].to_pylist()]
    for ours, theirs in zip(found.to_pylist(), expected.to_pylist(), strict=True):
        for name in set(schemas.VERDICTS.names) - {"uri", "participant_id", "split"}:
            assert ours[name] == theirs[name], name


def test_the_usual_videos_are_judged_at_once(monkeypatch):
    """Else the test above would compare one way with itself."""
    clips = pa.Table.from_pylist(
        [{"video_id": v, "clip_id": f"{v}{n}", "start_s": float(n)} for v in "ab" for n in (0, 1)],
        schema=schemas.CLIPS,
    )
    rows = [
        {"member": member, "clip_id": clip, "status": "ok", "labels": ["yes"],
         "chances": [("yes", 0.75), ("no", 0.25)]}
        for member in MEMBERS
        for clip in clips["clip_id"].to_pylist()
    ]  # fmt: skip
    rows.append(rows[0] | {"status": "error"})  # of video a
    one_by_one = []

    def noted(ids, *others):
        one_by_one.extend(ids.to_pylist())
        return judged_one_by_one(ids, *others)

    monkeypatch.setattr("ah_ray.pipelines.verdict_table.judged_one_by_one", noted)
    videos = pa.Table.from_pylist([{"video_id": v} for v in "ab"], schema=schemas.VIDEOS)
    answer = Choice(kind="choice", options=("yes", "no"), absent="no")
    predictions = pa.Table.from_pylist(rows, schema=PREDICTIONS)
    for rule in RULES:
        judgement = Judgement(answer=answer, rules=Rules(clips=rule, members=rule))
        make_verdicts(videos, clips, predictions, MEMBERS, judgement)
        assert one_by_one == ["a"], rule
        one_by_one.clear()


NUMBERS = st.integers(0, 2**64 - 1)


@given(st.lists(NUMBERS))
def test_numbers_are_mixed_as_one_by_one(values):
    array = np.array(values, np.uint64)
    assert mixed(array).tolist() == [mix(value) for value in values]
    assert hexadecimal(array).to_pylist() == [f"{value:016x}" for value in values]


@given(st.lists(st.text(max_size=20) | st.text("0123456789abcdef", min_size=16, max_size=16)))
def test_texts_are_hashed_as_one_by_one(texts):
    array = pa.array(["skipped", *texts], pa.string()).slice(1)
    assert text_hashes(array).tolist() == [text_hash(text) for text in texts]


def test_a_text_is_not_one_with_a_zero_behind():
    assert len({text_hash(text) for text in ("", "\0", "a", "a\0", "a" * 8, "a" * 8 + "\0")}) == 6


def test_numbers_in_another_order_are_another_hash():
    assert combined([1, 2]) != combined([2, 1])
    assert float_bits(1.0) == 0x3FF0000000000000


GIVEN = Given("a0", 0.0, "ok", frozenset({"yes"}), {"yes": 0.75, "no": 0.25})


@pytest.mark.parametrize(
    "change",
    [{"source": "a1"}, {"start_s": 1.0}, {"status": "error"}, {"labels": frozenset()},
     {"labels": frozenset({"yes", "no"})}, {"chances": {}}, {"chances": {"yes": 0.75}},
     {"chances": {"yes": 0.25, "no": 0.75}}, {"chances": {"yes": 0.7500000000000001, "no": 0.25}}],
)  # fmt: skip
def test_another_answer_is_another_verdict(change):
    other = Given("a5", 5.0, "ok", frozenset({"no"}), {})
    before = made_from(1, {"v1": [GIVEN, other], "v2": [GIVEN]})
    assert made_from(1, {"v2": [GIVEN], "v1": [other, GIVEN]}) == before
    assert made_from(1, {"v1": [GIVEN._replace(**change), other], "v2": [GIVEN]}) != before
    assert made_from(1, {"v1": [other], "v2": [GIVEN, GIVEN]}) != before
    assert made_from(2, {"v1": [GIVEN, other], "v2": [GIVEN]}) != before
