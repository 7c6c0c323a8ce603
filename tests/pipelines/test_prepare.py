"""What prepare writes about a batch of videos; the same function runs on every worker."""

import contextlib
import random
import threading
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from ah_ray import schemas, storage, tables
from ah_ray.catalog.rows import Interval
from ah_ray.contents import content_hash
from ah_ray.errors import ConfigError
from ah_ray.findings import KINDS, note
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.pipelines.ledger import in_scope, prepared_videos
from ah_ray.pipelines.manifest import Manifest, Outcome, annotated_lengths, drop_stale, make_write
from ah_ray.pipelines.prepare import make_prepare_videos, prepare
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from tests.media.coded_video import run_ffmpeg, steady, tone, write_video

YES, NO = "Yes", "No"
MEDIA = MediaConfig(fps=1, min_frames=2, max_frames=8, min_pixels=1024, max_pixels=8192)


def manifest(
    segmentation=TRAINING, splits=("train",), limits=None, media=MEDIA, absent=NO, **settings
):
    rule = {k: settings.pop(k) for k in list(settings) if k in SegmentationConfig.model_fields}
    return Manifest(
        segmentation,
        splits,
        SegmentationConfig(**rule),
        media,
        PrepareConfig(**settings),
        limits or LimitsConfig(),
        absent,
    )


def video(uri, label: str | None = NO, intervals=(), split="train") -> dict:
    return {
        "video_id": schemas.stable_id(Path(uri).name),
        "uri": str(uri),
        "participant_id": "p",
        "split": split,
        "labels": label and [label],
        "intervals": [Interval(*interval)._asdict() for interval in intervals],
        "attributes": [],
    }


class Prepared:
    """What one call has written."""

    def __init__(self, folder: Path, what: Manifest, videos: list[dict], lengths=()) -> None:
        self.run = RunDirectory.at(str(folder))
        table = pa.Table.from_pylist(videos, schema=schemas.VIDEOS)
        self.run.write_videos(table)
        self.run.remember({"manifests": {what.purpose: what.facts(lengths)}})
        self.told = make_prepare_videos(self.run, what, lengths)(table)
        path = self.run.clips_path(what.purpose)
        self.clips = self.run.resolved(tables.read_table(path, schemas.CLIPS)).to_pylist()
        path = self.run.findings_path(f"prepare_{what.purpose}")
        self.findings = tables.read_table(path, schemas.FINDINGS).to_pylist()

    @property
    def kinds(self) -> list[str]:
        assert all(row["action"] == KINDS[row["kind"]].rule for row in self.findings)
        return sorted(row["kind"] for row in self.findings)

    @property
    def spans(self) -> list[tuple[float, float]]:
        return sorted((row["start_s"], row["end_s"]) for row in self.clips)


@pytest.fixture(scope="module")
def sounding(tmp_path_factory) -> Path:
    """Eleven seconds with sound."""
    path = tmp_path_factory.mktemp("videos") / "sounding.mp4"
    return write_video(path, steady(11, 10), tone(11), sound_codec="aac")


@pytest.fixture(scope="module")
def silent(tmp_path_factory) -> Path:
    """Six seconds without a sound track."""
    return write_video(tmp_path_factory.mktemp("videos") / "silent.mp4", steady(6, 10))


def test_training_clips_have_files_and_the_annotated_times(tmp_path, sounding):
    done = Prepared(tmp_path, manifest(), [video(sounding, YES, [(1.0, 4.5), (5.0, 10.5)])])
    assert done.spans == [(1.0, 4.5), (5.0, 10.0)]
    assert done.findings == []
    for row in done.clips:
        assert storage.exists(row["media_uri"])
        assert storage.exists(row["audio_uri"])
        assert (row["labels"], row["damage"], row["has_audio"]) == ([YES], 0, True)
    assert done.told == {"videos": [1], "errors": [0], "kinds": [""]}


def test_an_interval_may_have_a_label_of_its_own_and_no_option_but_absence_needs_one(
    tmp_path, sounding
):
    times = [(1.0, 4.0), (1.0, 4.0, "bright"), (5.0, 9.0, "frown")]
    own = video(sounding, "smile", times)
    whole = video(sounding, "dull") | {"video_id": "whole"}
    done = Prepared(tmp_path, manifest(clips="virtual", absent=None), [own, whole])
    found = {(row["start_s"], row["end_s"], *row["labels"]) for row in done.clips}
    assert found == {
        (1.0, 4.0, "smile"), (1.0, 4.0, "bright"), (5.0, 9.0, "frown"),
        (0.0, 5.0, "dull"), (5.0, 10.0, "dull"),
    }  # fmt: skip
    assert len({row["clip_id"] for row in done.clips}) == len(done.clips) == len(found)
    assert done.findings == []


def test_virtual_training_clips_are_the_same_without_files(tmp_path, sounding):
    videos = [video(sounding, YES, [(1.0, 4.5), (5.0, 10.5)])]
    files = Prepared(tmp_path / "files", manifest(), videos)
    virtual = Prepared(tmp_path / "virtual", manifest(clips="virtual"), videos)
    dropped = {"media_uri": None, "audio_uri": None, "damage": None}
    assert [row | dropped for row in files.clips] == [
        row | {"made_from": files.clips[0]["made_from"]} for row in virtual.clips
    ]
    assert not storage.exists(virtual.run.path("media"))


def test_scoring_sees_neither_label_nor_annotation(tmp_path, sounding):
    blind = Prepared(tmp_path / "a", manifest(SCORING), [video(sounding, None)])
    labelled = Prepared(tmp_path / "b", manifest(SCORING), [video(sounding, YES, [(2.0, 3.0)])])
    assert blind.clips == labelled.clips
    assert blind.spans == [(0.0, 5.0), (5.0, 10.0)]
    assert {row["media_uri"] for row in blind.clips} == {None}


@pytest.mark.parametrize("segmentation", [TRAINING, SCORING])
def test_a_clip_has_what_is_said_in_it(tmp_path, sounding, segmentation):
    said = [(0, 3, "Hello."), (4, 7, "Are you fine?"), (None, None, "Two people.")]
    subtitles = [dict(zip(("start_s", "end_s", "text"), one, strict=True)) for one in said]
    spoken = video(sounding, NO) | {"subtitles": subtitles}
    done = Prepared(tmp_path / "a", manifest(segmentation, clips="virtual"), [spoken])
    assert {row["start_s"]: row["subtitle"] for row in done.clips} == {
        0.0: "Two people. Hello. Are you fine?", 5.0: "Two people. Are you fine?",
    }  # fmt: skip
    unknown = Prepared(tmp_path / "b", manifest(segmentation, clips="virtual"), [video(sounding)])
    assert {row["subtitle"] for row in unknown.clips} == {None}
    assert [row["clip_id"] for row in unknown.clips] == [row["clip_id"] for row in done.clips]


@pytest.mark.parametrize("segmentation", [TRAINING, SCORING])
@pytest.mark.parametrize(
    ("policy", "kinds", "clips"),
    [
        ("silence", [], 1),
        ("skip", ["no_audio_skipped"], 0),
        ("error", ["no_audio"], 0),
    ],
)
def test_what_becomes_of_a_video_without_sound(
    tmp_path, silent, sounding, segmentation, policy, kinds, clips
):
    what = manifest(segmentation, no_audio=policy, clips="virtual")
    done = Prepared(tmp_path, what, [video(silent), video(sounding)])
    assert done.kinds == kinds
    of_silent = [row for row in done.clips if row["source_uri"] == str(silent)]
    assert [row["has_audio"] for row in of_silent] == [False] * clips
    assert len(done.clips) == clips + 2
    told = {"videos": [2], "errors": [kinds.count("no_audio")]}
    assert done.told.items() >= told.items()
    assert done.run.left_out(segmentation) == ({video(silent)["video_id"]} if kinds else set())


def test_every_video_is_in_the_manifest_or_in_the_findings(tmp_path, sounding):
    text = tmp_path / "text.mp4"
    text.write_text("hello")
    videos = [
        video(sounding),
        video(text),
        video(tmp_path / "gone.mp4"),
        video(sounding, None) | {"video_id": "unlabelled"},
        video(sounding, YES) | {"video_id": "nowhere"},
        video(sounding, YES, [(20.0, 22.0)]) | {"video_id": "past"},
        video(sounding, YES, [(1.0, 1.5)]) | {"video_id": "short"},
    ]
    what = manifest(clips="virtual", min_clip_s=1.0)
    done = Prepared(tmp_path / "run", what, videos)
    kinds = {row["item_id"]: row["kind"] for row in done.findings if KINDS[row["kind"]].left_out}
    assert sorted(kinds.values()) == sorted(
        ["unreadable", "missing", "no_label", "no_interval", "no_interval", "no_clip"]
    )
    assert {row["kind"] for row in done.findings} - set(kinds.values()) == {"interval_past_end"}
    assert kinds.keys() | {row["video_id"] for row in done.clips} == {v["video_id"] for v in videos}
    assert prepared_videos(done.run, TRAINING) == {v["video_id"] for v in videos}
    errors = sum(row["severity"] == "error" for row in done.findings)
    assert done.told.items() >= {"videos": [7], "errors": [errors]}.items()


@pytest.mark.parametrize(
    ("limits", "kind"),
    [({"max_duration_s": 10.0}, "too_long"), ({"max_pixels": 10_000}, "too_large")],
)
def test_what_costs_too_much_is_refused(tmp_path, sounding, limits, kind):
    what = manifest(SCORING, limits=LimitsConfig(**limits))
    assert Prepared(tmp_path, what, [video(sounding)]).kinds == [kind]


def test_damage_is_counted_in_the_clips_that_have_it(tmp_path):
    whole, path = tmp_path / "whole.mp4", tmp_path / "damaged.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=15", "-g", "25", str(whole))
    data = bytearray(whole.read_bytes())
    chance = random.Random(3)
    for _ in range(60):  # somewhere in its middle third
        data[chance.randrange(len(data) * 2 // 5, len(data) * 3 // 5)] ^= 0xFF
    path.write_bytes(data)
    done = Prepared(tmp_path / "run", manifest(), [video(path), video(whole)])
    damage = {
        row["clip_index"]: row["damage"] for row in done.clips if "damaged" in row["source_uri"]
    }
    assert damage[1] > 0
    assert damage[0] == damage[2] == 0
    assert [row["damage"] for row in done.clips if row["source_uri"] == str(whole)] == [0, 0, 0]
    (finding,) = done.findings
    assert (finding["kind"], finding["severity"]) == ("damaged", "warning")
    assert f"{damage[1]} decoding errors" in finding["message"]


@pytest.mark.parametrize("what", [manifest(), manifest(clips="virtual"), manifest(SCORING)])
@pytest.mark.parametrize("became", ["another", "broken"])
def test_a_file_that_changed_since_the_catalog_was_read_is_left_out_for_now(
    tmp_path, sounding, what, became
):
    other = tmp_path / "other.mp4"
    whole = sounding.read_bytes()
    other.write_bytes(whole if became == "another" else whole[:1000])
    same = video(sounding) | {"content": content_hash(str(sounding))}
    changed = video(other) | {"video_id": "other", "content": "0" * 32}
    done = Prepared(tmp_path / "run", what, [same, changed])
    assert done.kinds == ["changed"]
    assert {row["video_id"] for row in done.clips} == {same["video_id"]}


def test_balanced_negatives_are_cut_like_positives(tmp_path, sounding):
    videos = [
        video(sounding, YES, [(1.0, 2.5), (3.0, 10.0)]) | {"video_id": "positive"},
        video(sounding, YES, [(0.0, 4.0)], split="test") | {"video_id": "unseen"},
        *(video(sounding) | {"video_id": f"negative {n}"} for n in range(8)),
    ]
    what = manifest(clips="virtual", negatives="balanced", min_tail_s=1.0)
    table = pa.Table.from_pylist(videos, schema=schemas.VIDEOS)
    lengths = annotated_lengths(table, what)
    assert lengths == pytest.approx((1.5, 2.0, 5.0))
    training = [v for v in videos if v["split"] == "train"]
    done = Prepared(tmp_path, what, training, lengths)
    negatives = [row for row in done.clips if row["labels"] == [NO]]
    assert len(negatives) == 16
    found = {round(row["end_s"] - row["start_s"], 3) for row in negatives}
    assert found == {1.5, 2.0, 5.0}
    assert annotated_lengths(table, manifest()) == ()
    assert annotated_lengths(table, manifest(SCORING, negatives="balanced")) == ()


def test_there_must_be_something_to_balance_by(sounding):
    table = pa.Table.from_pylist([video(sounding)], schema=schemas.VIDEOS)
    with pytest.raises(ConfigError, match=r"segmentation\.negatives"):
        annotated_lengths(table, manifest(negatives="balanced"))


def test_a_second_time_writes_the_same(tmp_path, sounding, silent):
    videos = [video(sounding), video(silent), video(tmp_path / "gone.mp4")]
    first = Prepared(tmp_path / "run", manifest(), videos)
    files = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    again = Prepared(tmp_path / "run", manifest(), list(reversed(videos)))
    assert sorted(map(str, again.clips)) == sorted(map(str, first.clips))
    assert again.findings == first.findings
    assert {p for p in (tmp_path / "run").rglob("*") if p.is_file()} == files.keys()


def test_what_failed_for_the_moment_is_tried_again(tmp_path):
    run = RunDirectory.at(str(tmp_path))
    videos = [video(name) | {"video_id": name} for name in "abc"]
    tables.write_rows(videos, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    what = manifest(SCORING)
    run.remember({"manifests": {SCORING: what.facts(())}})
    batch = pa.Table.from_pylist(videos, schema=schemas.VIDEOS)
    kinds = {"a": "unreadable", "b": "changed", "c": "missing"}
    found = [Outcome([], [note(name, kind, name)]) for name, kind in kinds.items()]
    make_write(run, what, ())(batch, found)
    assert prepared_videos(run, SCORING) == {"a", "b", "c"}
    assert drop_stale(run, SCORING) == 0
    assert prepared_videos(run, SCORING) == {"a"}
    assert {row["item_id"] for row in run.findings().to_pylist()} == {"a"}
    path = run.findings_path("prepare_scoring")
    before = storage.list_files(path)
    drop_stale(run, SCORING)
    assert storage.list_files(path) == before


def test_a_trial_takes_the_first_videos_whatever_their_order(tmp_path):
    rows = [video(f"{n}.mp4") for n in range(9)] + [video("other.mp4", split="test")]
    scopes = []
    for name, shuffled in (("a", rows), ("b", rows[::-1])):
        run = RunDirectory.at(str(tmp_path / name))
        tables.write_rows(shuffled, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
        assert len(in_scope(run, ["train"], unlabelled=False)) == 9
        run.remember({"limit": 4})
        scopes.append(in_scope(run, ["train"], unlabelled=False)["video_id"].to_pylist())
    assert scopes[0] == scopes[1] == sorted(scopes[0])
    assert len(scopes[0]) == 4


def test_clips_of_videos_that_the_catalog_no_longer_has_are_not_used(tmp_path, sounding):
    videos = [video(sounding) | {"video_id": name} for name in ("stays", "withdrawn")]
    done = Prepared(tmp_path, manifest(SCORING), videos)
    tables.write_rows(videos, schemas.VIDEOS, done.run.path("videos", "part-0.parquet"))
    assert set(done.run.clips(SCORING)["video_id"].to_pylist()) == {"stays", "withdrawn"}
    tables.write_rows(videos[:1], schemas.VIDEOS, done.run.path("videos", "part-0.parquet"))
    assert set(done.run.clips(SCORING)["video_id"].to_pylist()) == {"stays"}


def test_a_video_that_takes_its_worker_down_is_left_out_and_the_others_are_not(tmp_path, sounding):
    deadly = tmp_path / "deadly.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30:d=20,noise=alls=20", str(deadly))
    videos = [video(sounding) | {"video_id": f"good {n}"} for n in range(3)]
    videos.insert(1, video(deadly) | {"video_id": "deadly"})
    run = RunDirectory.at(str(tmp_path / "run"))
    tables.write_rows(videos, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    ended = threading.Event()
    killed = set()

    def kill_its_workers() -> None:
        while not ended.wait(0.02):
            for process in psutil.process_iter(["name"]):
                if "ffmpeg" not in process.info["name"]:
                    continue
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker = process.parent()
                    mine = str(deadly) in process.cmdline() and worker.name().startswith("ray")
                    if mine and worker.pid not in killed:
                        worker.kill()
                        killed.add(worker.pid)

    killer = threading.Thread(target=kill_its_workers, daemon=True)
    killer.start()
    try:
        prepare(run, manifest(cpus_per_video=0.5))
    finally:
        ended.set()
        killer.join()
    assert len(killed) == 3
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(deadly) in command]
    findings = run.findings().to_pylist()
    assert [(row["item_id"], row["kind"]) for row in findings] == [("deadly", "worker_died")]
    assert set(run.clips(TRAINING)["video_id"].to_pylist()) == {"good 0", "good 1", "good 2"}
    assert len(run.clips(TRAINING)) == 6
    prepare(run, manifest(cpus_per_video=0.5))
    assert run.findings().to_pylist() == findings
