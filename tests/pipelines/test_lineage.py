"""Nothing stale: what happens to clips and answers when an archive, a member or a setting changes.

On the tables, with the functions that write them; `tests/e2e/test_stale.py` does the same to a
whole run from the command line.
"""

import pyarrow as pa
import pytest
import yaml

from ah_ray import lineage, schemas, storage, tables
from ah_ray.contents import content_hash
from ah_ray.errors import ConfigError
from ah_ray.media.config import LimitsConfig, MediaConfig
from ah_ray.media.decode import DecodedClip
from ah_ray.members import (
    MEMBER_FILE,
    SEEN_FILE,
    member_fingerprint,
    model_fingerprint,
    read_member,
    write_card,
)
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.asking import drop_stale as drop_stale_answers
from ah_ray.pipelines.decoder import decode_source
from ah_ray.pipelines.ledger import prepared_videos, require_prepared
from ah_ray.pipelines.manifest import drop_stale
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory, answers_made_from
from ah_ray.pipelines.status import status
from ah_ray.tasks import load_task
from tests.media.coded_video import steady, tone, write_video
from tests.pipelines.lineage_run import (
    MANY,
    VIDEOS,
    answer_all,
    changed,
    make_member,
    manifest,
    prepared_run,
    write_videos,
)


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    return prepared_run(tmp_path)


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
