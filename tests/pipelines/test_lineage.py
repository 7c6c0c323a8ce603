"""Nothing stale: what happens when an archive, a member or a setting changes in mid-run.

On the tables, with the functions that write them; `tests/e2e/test_stale.py` does the same to a
whole run from the command line.
"""

import random

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import lineage, schemas, storage, tables
from ah_ray.config import RunConfig
from ah_ray.contents import content_hash
from ah_ray.errors import ConfigError
from ah_ray.evaluation.leaks import LeakError
from ah_ray.evaluation.seen import changed_videos, known_videos, require_unseen, seen_rows
from ah_ray.findings import note
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.media.decode import DecodedClip
from ah_ray.members import (
    MEMBER_FILE,
    SEEN_FILE,
    MemberCard,
    card_of,
    member_fingerprint,
    model_fingerprint,
    read_member,
    read_seen,
    require_settings,
    write_card,
)
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.asking import drop_stale as drop_stale_answers
from ah_ray.pipelines.decoder import decode_source
from ah_ray.pipelines.evaluate import METRICS_FILE, evaluate
from ah_ray.pipelines.ledger import prepared_videos, require_prepared
from ah_ray.pipelines.manifest import Manifest, Outcome, drop_stale, make_write
from ah_ray.pipelines.reduce import noted_judgement, reduce, require_current
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory, answers_made_from
from ah_ray.pipelines.seen import changed_since, require_up_to_date
from ah_ray.pipelines.status import stale_verdicts, status
from ah_ray.pipelines.train_member import write_base
from ah_ray.tasks import load_task
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.policies import ReduceConfig
from tests.media.coded_video import steady, tone, write_video

VIDEOS = [
    {"video_id": "a", "uri": "archive/a.mp4", "content": "ca", "participant_id": "1",
     "split": "train", "labels": ["Yes"],
     "intervals": [{"start_s": 1.0, "end_s": 4.0, "label": None}]},
    {"video_id": "b", "uri": "archive/b.mp4", "content": "cb", "participant_id": "2",
     "split": "train", "labels": ["No"], "intervals": []},
    {"video_id": "c", "uri": "/elsewhere/c.mp4", "content": None, "participant_id": "3",
     "split": "test", "labels": ["No"], "intervals": []},
]  # fmt: skip
MANY = ("train", "test")


def manifest(segmentation: str, limits: LimitsConfig | None = None) -> Manifest:
    rule, media = SegmentationConfig(), MediaConfig()
    limits = limits or LimitsConfig()
    return Manifest(segmentation, MANY, rule, media, PrepareConfig(clips="virtual"), limits)


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """A prepared run: one clip of each video, but for c, which training has left out."""
    run = RunDirectory.at(str(tmp_path / "run"))
    write_videos(run, VIDEOS)
    for segmentation in (TRAINING, SCORING):
        what = manifest(segmentation)
        noted = run.settings().get("manifests", {}) | {segmentation: what.facts(())}
        run.remember({"manifests": noted})
        outcomes = []
        for video in run.videos().to_pylist():
            if segmentation == TRAINING and video["video_id"] == "c":
                outcomes.append(Outcome([], [note("c", "unreadable", "m")]))
                continue
            facts = ("video_id", "participant_id", "split", "content")
            clip = {name: video[name] for name in facts} | {
                "clip_id": f"{video['video_id']} {segmentation}", "source_uri": video["uri"],
                "start_s": 0.0, "labels": video["labels"] if segmentation == TRAINING else None,
            }  # fmt: skip
            outcomes.append(Outcome([clip], [note(video["video_id"], "interval_past_end", "m")]))
        make_write(run, what, ())(run.videos(), outcomes)
    return run


def write_videos(run: RunDirectory, videos) -> None:
    run.write_videos(run.resolved(pa.Table.from_pylist(videos, schema=schemas.VIDEOS)))


def changed(video_id: str, **facts):
    return [row | facts if row["video_id"] == video_id else row for row in VIDEOS]


@pytest.mark.parametrize(
    ("facts", "training", "scoring"),
    [
        ({}, True, True),
        ({"attributes": [("age", "7")]}, True, True),
        ({"labels": ["No"]}, False, True),
        ({"intervals": [{"start_s": 1.0, "end_s": 3.0}]}, False, True),
        ({"intervals": [{"start_s": 1.0, "end_s": 4.0, "label": "Yes"}]}, False, True),
        ({"split": "test"}, False, False),
        ({"participant_id": "9"}, False, False),
        ({"content": "other"}, False, False),
        ({"uri": "archive/other.mp4"}, False, False),
        ({"subtitles": []}, True, True),
        ({"subtitles": [{"start_s": None, "end_s": None, "text": "Hi!"}]}, False, False),
    ],
)
def test_a_video_that_changed_is_prepared_again_and_no_other(run, facts, training, scoring):
    write_videos(run, changed("a", **facts))
    for segmentation, holds in ((TRAINING, training), (SCORING, scoring)):
        expected = {"b", "c"} | ({"a"} if holds else set())
        assert prepared_videos(run, segmentation) == expected
        in_manifest = set(run.clips(segmentation)["video_id"].to_pylist())
        assert ("a" in in_manifest) == holds
        if not holds:
            with pytest.raises(ConfigError, match=r"1 of 3 videos .*\(a…\)"):
                require_prepared(run, segmentation, MANY)
        assert drop_stale(run, segmentation) == (0 if holds else 1)
        rows = tables.read_table(run.clips_path(segmentation), schemas.CLIPS)
        assert ("a" in rows["video_id"].to_pylist()) == holds
        notes = run.findings().to_pylist()
        mine = [n for n in notes if n["stage"] == f"prepare_{segmentation}"]
        assert ("a" in {row["item_id"] for row in mine}) == holds
        assert {"b", "c"} <= {row["item_id"] for row in mine}


def test_a_video_that_was_left_out_is_tried_again_when_it_or_the_limits_changed(run):
    assert run.left_out(TRAINING) == {"c"}
    write_videos(run, changed("c", content="mended"))
    assert run.left_out(TRAINING) == set()
    write_videos(run, VIDEOS)
    more = manifest(TRAINING, LimitsConfig(max_duration_s=1e6)).facts(())
    run.remember({"manifests": run.settings()["manifests"] | {TRAINING: more}})
    assert run.left_out(TRAINING) == set()
    assert prepared_videos(run, TRAINING) == {"a", "b"}


def test_files_of_clips_that_hold_no_more_are_deleted(run):
    for video in "ab":
        storage.write_bytes(run.path("media", video, "clip.mp4"), b"clip")
    write_videos(run, changed("a", labels=["No"]))
    drop_stale(run, TRAINING)
    assert storage.list_files(run.path("media")) == [run.path("media", "b", "clip.mp4")]


def test_a_manifest_of_somebody_else_is_taken_as_it_is(run):
    run.remember({"manifests": {}})
    with pytest.raises(ConfigError, match="does not say any more"):
        run.clips(TRAINING)
    for part in storage.list_files(run.clips_path(TRAINING)):
        rows = tables.read_table(part, schemas.CLIPS).to_pylist()
        tables.write_rows([row | {"made_from": None} for row in rows], schemas.CLIPS, part)
    write_videos(run, changed("a", labels=["No"]))
    assert set(run.clips(TRAINING)["video_id"].to_pylist()) == {"a", "b"}
    require_prepared(run, TRAINING, MANY)


def test_a_run_that_was_moved_is_the_same_run(run, tmp_path):
    before = {s: run.clips(s).to_pylist() for s in (TRAINING, SCORING)}
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = RunDirectory.at(str(tmp_path / "moved"))
    for segmentation, clips in before.items():
        assert prepared_videos(moved, segmentation) == {"a", "b", "c"}
        for old, new in zip(clips, moved.clips(segmentation).to_pylist(), strict=True):
            assert new["source_uri"] == old["source_uri"].replace("/run/", "/moved/")
    for file in storage.list_files(moved.uri):
        assert str(tmp_path).encode() not in storage.read_bytes(file), file


def test_answers_are_never_of_another_file_than_the_manifest_s(tmp_path):
    path = str(write_video(tmp_path / "a.mp4", steady(6, 10), tone(6), sound_codec="aac"))
    clips = [{"clip_id": n, "start_s": float(n), "end_s": n + 2.5} for n in (0, 2)]
    source = {"source_uri": path, "content": content_hash(path), "clips": clips}
    media, limits = MediaConfig(fps=1, min_frames=2, max_frames=4), LimitsConfig()
    for content in (source["content"], None):
        found = decode_source(source | {"content": content}, media, limits)
        assert [type(clip) for clip in found.values()] == [DecodedClip, DecodedClip]
    # Replaced in the meantime by a video of the same length.
    write_video(tmp_path / "a.mp4", steady(6, 12), tone(6), sound_codec="aac")
    found = decode_source(source, media, limits)
    assert [(index, clip.kind) for index, clip in found.items()] == [(0, "changed"), (1, "changed")]


# Members


def config_of(members: dict, base) -> RunConfig:
    """A run with the settings of the manifest above."""
    values = {"catalog": {"entry": "e", "root": "r"}, "task": "cue_conflict",
              "model": {"path": str(base)}, "members": members,
              "train": {"splits": MANY}, "score": {"splits": ["test"]}}  # fmt: skip
    return RunConfig.model_validate(values)


def make_member(folder, data: bytes = b"w1", name="v1", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(data)
    values = {"name": name, "weights": "full", "task": "cue_conflict", "prompt": "short",
              "model": ModelConfig(path="base"), "media": MediaConfig(),
              "segmentation": SegmentationConfig()}  # fmt: skip
    (folder / MEMBER_FILE).write_bytes(write_card(MemberCard(**values | changes)))
    return read_member(str(folder))


def test_a_fingerprint_is_of_all_that_answers_depend_on(tmp_path):
    first = member_fingerprint(make_member(tmp_path / "a" / "v1"))
    assert member_fingerprint(make_member(tmp_path / "b" / "v1")) == first
    member = make_member(tmp_path / "a" / "v1")
    (tmp_path / "a" / "v1" / SEEN_FILE).write_bytes(b"PAR1")
    assert member_fingerprint(member) == first
    base = ModelConfig(path="base")
    others = [
        make_member(tmp_path / "c" / "v1", b"w2"),
        make_member(tmp_path / "d" / "v1", prompt="detailed"),
        make_member(tmp_path / "e" / "v1", media=MediaConfig(fps=1)),
        make_member(tmp_path / "h" / "v1", trained={"seconds": 3}),
        make_member(tmp_path / "f" / "v1", model=base.model_copy(update={"dtype": "float32"})),
        make_member(tmp_path / "i" / "v1", decoding="generate"),
        make_member(tmp_path / "j" / "v1", max_new_tokens=99),
        make_member(tmp_path / "k" / "v1", weights="base", model=ModelConfig(path="org/base")),
    ]
    assert len({first, *map(member_fingerprint, others)}) == 9
    sdpa = base.model_copy(update={"attention": "eager"})
    assert member_fingerprint(make_member(tmp_path / "g" / "v1", model=sdpa)) == first


def test_an_adapter_stands_on_the_base_that_it_was_trained_on(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"base")
    on_base = {"weights": "adapter", "model": ModelConfig(path=str(base)),
               "trained": {"base": model_fingerprint(str(base))}}  # fmt: skip
    member = make_member(tmp_path / "v1", **on_base)
    first = member_fingerprint(member)
    (base / "model.safetensors").write_bytes(b"trained again")
    with pytest.raises(ConfigError, match="has changed since the member"):
        member_fingerprint(member)
    loose = make_member(tmp_path / "v1", **on_base | {"trained": {}})
    assert member_fingerprint(loose) != first


def test_a_card_names_a_model_beside_it_relative_to_itself(tmp_path):
    root, folder = str(tmp_path / "run"), tmp_path / "run" / "members" / "v1"
    card = make_member(folder).card.model_copy(update={"model": ModelConfig(path=f"{root}/base")})
    (folder / MEMBER_FILE).write_bytes(write_card(card, str(folder), root))
    assert root.encode() not in (folder / MEMBER_FILE).read_bytes()
    assert read_member(str(folder)).card == card
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = read_member(str(tmp_path / "moved" / "members" / "v1"))
    assert moved.card.model.path == str(tmp_path / "moved" / "base")
    elsewhere = card.model_copy(update={"model": ModelConfig(path="s3://bucket/base")})
    assert b"path: s3://bucket/base" in write_card(elsewhere, str(folder), root)


def test_answers_of_other_weights_or_of_another_file_are_dropped(run):
    clips, asked = run.clips(SCORING), {"engine": "x"}
    run.remember({"asked": asked})
    rows = [
        {"clip_id": clip["clip_id"], "video_id": clip["video_id"], "status": "ok",
         "made_from": lineage.answer_made_from("w1", asked, clip)}
        for clip in clips.to_pylist()
    ]  # fmt: skip
    path = storage.join(run.predictions_path("v1"), "part-0.parquet")
    tables.write_rows(rows, schemas.PREDICTIONS, path)
    assert len(run.answers({"v1": "w1"}, clips)) == 3
    assert len(run.answers({"v1": "w2"}, clips)) == 0
    write_videos(run, changed("b", content="other"))
    drop_stale(run, SCORING)
    left = run.clips(SCORING)
    assert drop_stale_answers(run, "v1", ("w1", asked), left) == 1
    assert set(run.answers({"v1": "w1"}, left)["video_id"].to_pylist()) == {"a", "c"}
    assert drop_stale_answers(run, "v1", ("w1", {"engine": "y"}), left) == 2
    assert storage.list_files(run.predictions_path("v1")) == []


def test_who_reads_subtitles_answers_again_to_clips_whose_subtitles_have_changed(run, tmp_path):
    task = load_task("cue_conflict").model_dump(mode="json")
    task["prompts"] = {"spoken": {"system": "", "user": "{subtitle}?"}}
    (tmp_path / "spoken.yaml").write_text(yaml.safe_dump(task))
    told = {"task": str(tmp_path / "spoken.yaml"), "prompt": "spoken"}
    changes = {"told": told, "deaf": {}, "reads": {"reads": ("told",)}}
    members = [make_member(tmp_path / "m" / n, name=n, **how) for n, how in changes.items()]
    answer_all(run, *members)
    before, how = run.clips(SCORING), run.settings()["asked"]
    texts = pa.array(["Hi!", "Bye!", None])
    place = before.column_names.index("subtitle")
    after = before.set_column(place, "subtitle", texts)
    swapped = before.set_column(place, "subtitle", texts.take([1, 0, 2]))

    def stale(member, old, new) -> list[bool]:
        fingerprint = member_fingerprint(member)
        now = answers_made_from(fingerprint, how, new)
        return [
            lineage.answer_made_from(fingerprint, how, clip) not in now for clip in old.to_pylist()
        ]

    told, deaf, reader = members
    for one in (told, reader):
        assert stale(one, before, after) == [True, True, False]
        assert stale(one, after, swapped) == [True, True, False]
        assert stale(one, after, after) == [False] * 3
    assert stale(deaf, before, after) == [False] * 3


def test_a_clip_that_was_answered_after_an_error_is_not_lost(run, tmp_path):
    """Another batch size puts the second try into another part."""
    member, clips, asked = make_member(tmp_path / "v1"), run.clips(SCORING), {"engine": "x"}
    run.remember({"asked": asked, "ensemble": str(tmp_path), "voters": ["v1"]})
    made_from = member_fingerprint(member), asked
    for part, ends in (("old", ["error", "error"]), ("new", ["ok"])):
        rows = [
            {"clip_id": clip["clip_id"], "video_id": clip["video_id"], "status": end,
             "made_from": lineage.answer_made_from(*made_from, clip)}
            for clip, end in zip(clips.to_pylist(), ends, strict=False)
        ]  # fmt: skip
        path = storage.join(run.predictions_path("v1"), f"part-{part}.parquet")
        tables.write_rows(rows, schemas.PREDICTIONS, path)
    (line,) = (line for line in status(run) if line.stage == "score v1")
    assert (line.done, line.stale, line.to_do, line.lost) == (1, 0, 1, 1)


def test_status_reports_on_an_adapter_whose_base_has_changed(run, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"other")
    model = ModelConfig(path=str(base))
    make_member(tmp_path / "v1", weights="adapter", model=model, trained={"base": "before"})
    run.remember({"ensemble": str(tmp_path), "voters": ["v1"]})
    (line,) = (line for line in status(run) if line.stage == "score v1")
    assert (line.done, line.to_do) == (0, 3)
    assert "base" in line.note


JUDGEMENT = load_task("cue_conflict").judged(ReduceConfig())


def answer_all(run, *members) -> None:
    """Score: each of the members, which vote together, says Yes to every clip."""
    folder = members[0].uri.rpartition("/")[0]
    run.remember({"asked": {}, "ensemble": folder, "voters": [m.name for m in members]})
    clips = run.clips(SCORING)
    for member in members:
        made_from = member_fingerprint(member), {}
        rows = [
            {"clip_id": clip["clip_id"], "video_id": clip["video_id"], "status": "ok",
             "labels": ["Yes"], "made_from": lineage.answer_made_from(*made_from, clip)}
            for clip in clips.to_pylist()
        ]  # fmt: skip
        part = storage.join(run.predictions_path(member.name), "part-0.parquet")
        tables.write_rows(rows, schemas.PREDICTIONS, part)


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
