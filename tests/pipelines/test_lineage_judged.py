"""Nothing stale: verdicts, metrics and what members were trained on, when what is below changes."""

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import schemas, storage
from ah_ray.contents import content_hash
from ah_ray.errors import ConfigError
from ah_ray.evaluation.leaks import LeakError
from ah_ray.evaluation.seen import changed_videos, known_videos, require_unseen, seen_rows
from ah_ray.members import (
    card_of,
    member_fingerprint,
    model_fingerprint,
    read_member,
    read_seen,
    require_settings,
)
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.evaluate import METRICS_FILE, evaluate
from ah_ray.pipelines.reduce import noted_judgement, reduce, require_current
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.pipelines.seen import changed_since, require_up_to_date
from ah_ray.pipelines.status import stale_verdicts, status
from ah_ray.pipelines.train_member import write_base
from ah_ray.tasks import load_task
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.policies import ReduceConfig
from tests.pipelines.lineage_run import (
    VIDEOS,
    answer_all,
    changed,
    config_of,
    make_member,
    prepared_run,
    write_videos,
)

JUDGEMENT = load_task("cue_conflict").judged(ReduceConfig())


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    return prepared_run(tmp_path)


def told(run, stage: str) -> tuple[int, int, int]:
    """Done, stale and to do of a stage, as ``status`` says."""
    (line,) = (line for line in status(run) if line.stage == stage)
    return line.done, line.stale, line.to_do


@pytest.mark.parametrize("change", ["weights", "base", "gone"])
def test_metrics_hold_no_longer_than_the_verdicts_and_answers_under_them(run, tmp_path, change):
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"base")
    how = {"weights": "adapter", "model": ModelConfig(path=str(base)),
           "trained": {"base": model_fingerprint(str(base))}}  # fmt: skip
    member = make_member(tmp_path / "v1", **how)
    answer_all(run, member)
    reduce(run, [member], JUDGEMENT)
    evaluate(run, ("test",), JUDGEMENT)
    assert [told(run, stage) for stage in ("reduce", "evaluate")] == [(3, 0, 0), (1, 0, 0)]
    assert stale_verdicts(run) == 0
    report = storage.read_bytes(run.path(METRICS_FILE))
    storage.write_bytes(run.path(METRICS_FILE), report[:-9])
    assert told(run, "evaluate") == (0, 1, 0)
    storage.write_bytes(run.path(METRICS_FILE), report)
    if change == "gone":
        (tmp_path / "v1").rename(tmp_path / "ensemble")
    else:
        folder = base if change == "base" else tmp_path / "v1"
        (folder / "model.safetensors").write_bytes(b"other")
    assert [told(run, stage) for stage in ("reduce", "evaluate")] == [(0, 3, 0), (0, 1, 0)]
    assert stale_verdicts(run) == 3
    storage.remove(run.path("verdicts", "part-0.parquet"))
    assert told(run, "evaluate") == (0, 1, 0)


def test_verdicts_without_the_answers_they_need_are_told(run, tmp_path, capsys):
    member = make_member(tmp_path / "v1")
    answer_all(run, member)
    reduce(run, [member], JUDGEMENT)
    assert "lack clip answers" not in capsys.readouterr().out
    (tmp_path / "v1" / "model.safetensors").write_bytes(b"other")
    reduce(run, [member], JUDGEMENT)
    said = " ".join(capsys.readouterr().out.split())
    assert "warning 3 of 3 verdicts lack clip answers" in said


@pytest.mark.parametrize(
    "change", [{"policies": {"missing": "Yes"}}, {"rules": {"clips": "most", "members": "all"}}]
)
def test_other_rules_and_policies_judge_the_same_answers_again(run, tmp_path, change):
    member = make_member(tmp_path / "v1")
    answer_all(run, member)
    reduce(run, [member], JUDGEMENT)
    evaluate(run, ("test",), JUDGEMENT)
    answers = storage.read_bytes(storage.join(run.predictions_path("v1"), "part-0.parquet"))
    other = Judgement(**JUDGEMENT.model_dump() | change)
    with pytest.raises(ConfigError, match="3 of 3 verdicts are not made from"):
        require_current(run, [member], other)
    reduce(run, [member], other)
    require_current(run, [member], other)
    assert noted_judgement(run) == other
    stages = ("score v1", "reduce", "evaluate")
    assert [told(run, stage) for stage in stages] == [(3, 0, 0), (3, 0, 0), (0, 1, 0)]
    evaluate(run, ("test",), other)
    assert told(run, "evaluate") == (1, 0, 0)
    part = storage.join(run.predictions_path("v1"), "part-0.parquet")
    assert storage.read_bytes(part) == answers


@pytest.mark.parametrize(
    "change",
    [{"intervals": [{"start_s": 0.0, "end_s": 1.0, "label": None}]},
     {"attributes": [("question", "4")]}],
)  # fmt: skip
def test_metrics_of_other_intervals_and_groups_are_stale(run, tmp_path, change):
    member = make_member(tmp_path / "v1")
    answer_all(run, member)
    reduce(run, [member], JUDGEMENT)
    evaluate(run, ("test",), JUDGEMENT)
    assert told(run, "evaluate") == (1, 0, 0)
    rows = [row | change for row in run.videos().to_pylist()]
    run.write_videos(pa.Table.from_pylist(rows, schema=schemas.VIDEOS))
    assert [told(run, stage) for stage in ("reduce", "evaluate")] == [(3, 0, 0), (0, 1, 0)]
    evaluate(run, ("test",), JUDGEMENT)
    assert told(run, "evaluate") == (1, 0, 0)


def test_metrics_by_groups_that_have_changed_are_stale(run, tmp_path):
    member = make_member(tmp_path / "v1")
    answer_all(run, member)
    reduce(run, [member], JUDGEMENT)
    groups = tmp_path / "groups.json"
    by_groups = ({"label_sets": {"groups": str(groups)}}, {"label_sets": {"groups": "none"}})
    judgement = JUDGEMENT.model_copy(update={"metrics": by_groups})
    for content in ('[["Yes"]]', '[["Yes", "No"]]'):
        groups.write_text(content)
        if storage.exists(run.path(METRICS_FILE)):
            assert told(run, "evaluate") == (0, 1, 0)
        evaluate(run, ("test",), judgement)
        assert told(run, "evaluate") == (1, 0, 0)
    groups.unlink()
    line = list(status(run))[-1]
    assert (line.stale, line.note) == (1, "the groups or wheels that it is by have changed since")


def test_verdicts_by_groups_that_have_changed_are_stale(run, tmp_path):
    member = make_member(tmp_path / "v1", task="emotion_labels")
    answer_all(run, member)
    groups = tmp_path / "groups.json"
    rules = {"clips": "any", "members": {"grouped": {"rule": "all", "by": str(groups)}}}
    judgement = Judgement(answer=member.card.question.answer, rules=rules)
    for content in ('[["Yes"]]', '[["Yes", "No"]]'):
        groups.write_text(content)
        if storage.exists(run.path("verdicts")):
            assert told(run, "reduce") == (0, 3, 0)
        reduce(run, [member], judgement)
        assert told(run, "reduce") == (3, 0, 0)
    groups.unlink()
    line = next(line for line in status(run) if line.stage == "reduce")
    assert (line.stale, line.note) == (3, f"{groups} cannot be read: No such file or directory")


def test_another_question_is_not_judged_by_the_rules_of_this_one(run, tmp_path):
    member = make_member(tmp_path / "v1", task="cues")
    answer_all(run, member)
    with pytest.raises(ConfigError, match=r"v1: question\.answer: is .*smile.* judged is .*Yes"):
        reduce(run, [member], JUDGEMENT)


def test_who_reads_a_member_is_stale_when_that_one_changes(run, tmp_path):
    reads = {"a": (), "b": ("a",), "c": ("b",)}
    members = [make_member(tmp_path / n, name=n, reads=read) for n, read in reads.items()]
    before = [member_fingerprint(member) for member in members]
    answer_all(run, *members)
    assert [told(run, f"score {name}") for name in "abc"] == [(3, 0, 0)] * 3
    (tmp_path / "b" / "model.safetensors").write_bytes(b"other")
    after = [member_fingerprint(member) for member in members]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]
    assert [told(run, f"score {name}") for name in "abc"] == [(3, 0, 0), (0, 3, 3), (0, 3, 3)]
    (tmp_path / "b").rename(tmp_path / "x")
    with pytest.raises(ConfigError, match="there is no member b"):
        member_fingerprint(members[2])
    assert told(run, "score c") == (0, 3, 3)


def test_who_reads_itself_through_others_is_named(run, tmp_path):
    for name, read in (("a", "b"), ("b", "a")):
        member = make_member(tmp_path / name, name=name, reads=(read,))
    with pytest.raises(ConfigError, match="member b reads a reads b"):
        member_fingerprint(member)
    run.remember({"ensemble": str(tmp_path), "voters": ["a", "b"]})
    assert told(run, "score a") == (0, 0, 3)


def test_a_base_model_as_it_is_has_seen_nothing_and_is_never_stale(run, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"base")
    config = config_of({"raw": {"prompt": "short"}}, base)
    assert card_of(config, "raw").weights == "base"
    write_base(run, card_of(config, "raw"))
    run.remember({"members": ["raw"]})
    member = read_member(run.path("members", "raw"))
    assert len(read_seen(member)) == 0
    require_settings(member, config)
    require_up_to_date(run, config, ["raw"])
    write_videos(run, changed("a", labels=["No"]))
    require_up_to_date(run, config, ["raw"])
    assert told(run, "train raw") == (1, 0, 0)
    first = member_fingerprint(member)
    (base / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ConfigError, match="has changed since"):
        member_fingerprint(member)
    (base / "model.safetensors").write_bytes(b"base")
    assert member_fingerprint(member) == first


# What members have seen


def seen(run) -> pa.Table:
    rows = seen_rows(run.clips(TRAINING).to_pylist(), "training")
    return pa.Table.from_pylist(rows, schema=schemas.SEEN)


def test_a_member_is_stale_when_other_clips_would_be_trained_on(run):
    table = seen(run)
    assert changed_since(run, table) == []
    write_videos(run, changed("a", labels=["No"]))
    assert changed_since(run, table) == ["a"]
    write_videos(run, [*VIDEOS, VIDEOS[1] | {"video_id": "new"}])
    assert changed_since(run, table) == ["new"]
    write_videos(run, VIDEOS[1:])
    assert changed_since(run, table) == ["a"]


def test_nobody_who_was_trained_on_is_judged(run):
    table = seen(run)
    moved = run.videos().filter(pa.array([True, False, False]))
    for video, told in (
        ({}, "archive/a.mp4 itself"),
        ({"video_id": "x"}, "a copy of it"),
        ({"video_id": "x", "content": "other"}, "participant 1"),
    ):
        rows = pa.Table.from_pylist([moved.to_pylist()[0] | video], schema=schemas.VIDEOS)
        assert len(known_videos(table, rows, "training")) == 1
        assert known_videos(table, rows, "validation") == []
        with pytest.raises(LeakError, match=f"(?s)member v1 was trained on 1 .*{told}"):
            require_unseen({"v1": table, "v2": None}, rows)
    unknown = {"video_id": "x", "content": None, "participant_id": None}
    rows = pa.Table.from_pylist([moved.to_pylist()[0] | unknown], schema=schemas.VIDEOS)
    require_unseen({"v1": table}, rows)


PAIRS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xyz"))


@given(PAIRS, PAIRS, st.randoms())
def test_what_changed_is_the_difference_whatever_the_order(then, now, chance: random.Random):
    before, after = (
        [{"video_id": v, "role": "training", "made_from": m} for v, m in state.items()]
        for state in (then, now)
    )
    expected = sorted(v for v in then.keys() | now if then.get(v) != now.get(v))
    chance.shuffle(before)
    assert changed_videos(before, after) == changed_videos(after, before) == expected


def test_contents_tell_files_apart_and_copies_not(tmp_path):
    for name, data in (("a", b"1" * 9), ("b", b"1" * 9), ("c", b"2" * 9)):
        (tmp_path / name).write_bytes(data)
    one, copy, other = (content_hash(str(tmp_path / name)) for name in "abc")
    assert one == copy != other
