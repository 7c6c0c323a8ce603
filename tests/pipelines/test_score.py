"""Scoring on a real Ray with engines that load at once; every failure is a real one."""

import contextlib
import itertools
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from ah_ray import storage
from ah_ray.cluster import connect
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.prior import write_prior
from ah_ray.errors import ConfigError, StageError
from ah_ray.media.config import MediaConfig
from ah_ray.members import MEMBER_FILE, Member, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.storage_errors import StorageError
from ah_ray.tasks import Prompt, Question
from ah_ray.tasks.answers import Text
from ah_ray.toy.model import write_tiny_checkpoint
from tests.engines.tiny_models import member as a_member
from tests.engines.tiny_models import write_tiny_qwen2_5_vl
from tests.pipelines.scoring import predictions, settings, without, write_manifest
from tests.s3 import Fault, S3Server, healthy, new_bucket, s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server(AWS_MAX_ATTEMPTS="2") as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[str]:
    """A new bucket; what went wrong with the server is over at the end of a test."""
    yield new_bucket()
    s3.plan = healthy


@pytest.fixture(scope="module")
def local_ray(s3: S3Server) -> Iterator[None]:
    """Ray on this machine, with the server's address in its workers' environment."""
    connect()
    yield
    ray.shutdown()


def said_yes(row: dict[str, Any]) -> float:
    """P(Yes) of a prediction."""
    return float(dict(row["chances"])["Yes"])


def only_video_1_fails(
    run: RunDirectory, undisturbed: list[dict[str, Any]], kind: str
) -> list[dict[str, Any]]:
    """Check that the clips of video 1 are errors of a kind and all others as ever."""
    rows = predictions(run)
    for row, expected in zip(rows, undisturbed, strict=True):
        if row["video_id"] == "1":
            assert (row["status"], row["error_kind"]) == ("error", kind)
        else:
            assert row == expected
    return rows


@pytest.fixture
def run(tmp_path: Path, videos: list[Path]) -> RunDirectory:
    directory = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(directory, videos, [])
    return directory


@pytest.fixture(scope="module")
def undisturbed(
    local_ray: None, member: Member, videos: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    directory = RunDirectory.at(str(tmp_path_factory.mktemp("undisturbed")))
    write_manifest(directory, videos, [])
    score(directory, [member], settings())
    rows = predictions(directory)
    assert len(rows) == 3 * len(videos)
    assert {row["status"] for row in rows} == {"ok"}
    assert len({said_yes(row) for row in rows}) == len(rows)
    return rows


def test_a_second_run_has_nothing_to_do(
    run: RunDirectory, member: Member, undisturbed: list[dict[str, Any]]
) -> None:
    score(run, [member], settings())
    files = {path: storage.read_bytes(path) for path in storage.list_files(run.uri)}
    assert predictions(run) == undisturbed
    score(run, [member], settings(batch_size=3, engine_args={"max_num_seqs": 1}))
    assert {path: storage.read_bytes(path) for path in storage.list_files(run.uri)} == files


def test_clips_that_kill_or_hang_the_engine_are_given_up_and_the_others_are_scored(
    local_ray: None, tmp_path: Path, member: Member, videos: list[Path]
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos, ["deadly", "hanging"])
    score(run, [member], settings("FatalEngine", batch_timeout_s=6, max_attempts=2))
    rows = {row["clip_id"]: row for row in predictions(run)}
    assert len(rows) == 3 * len(videos)
    for clip_id, row in rows.items():
        if clip_id in ("0-0", "0-1"):
            assert (row["status"], row["error_kind"]) == ("error", "engine_died")
            assert row["attempts"] == 2
        else:
            assert row["status"] == "ok"


def test_a_clip_on_which_the_engine_fails_costs_only_itself(
    local_ray: None, tmp_path: Path, member: Member, videos: list[Path]
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos, ["deadly"])
    score(run, [member], settings("NervousEngine"))
    failed = [row for row in predictions(run) if row["status"] != "ok"]
    assert [(row["clip_id"], row["error_kind"]) for row in failed] == [("0-0", "engine_failed")]
    assert "too short" in failed[0]["error"]


@pytest.mark.parametrize(
    ("engine", "kind"), [("MumblingEngine", "engine_failed"), ("QuittingEngine", "engine_died")]
)
def test_an_engine_that_gives_no_answer_or_quits_costs_one_clip(
    local_ray: None, tmp_path: Path, member: Member, videos: list[Path], engine: str, kind: str
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos, ["deadly"])
    score(run, [member], settings(engine))
    failed = [row for row in predictions(run) if row["status"] != "ok"]
    assert [(row["clip_id"], row["error_kind"]) for row in failed] == [("0-0", kind)]


def test_a_clip_without_a_finite_chance_is_an_error_and_no_answer(
    local_ray: None, tmp_path: Path, member: Member, videos: list[Path]
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos, ["deadly"])
    score(run, [member], settings("LostEngine"))
    failed = [row for row in predictions(run) if row["status"] != "ok"]
    assert [(row["clip_id"], row["error_kind"]) for row in failed] == [("0-0", "not_finite")]
    assert failed[0]["labels"] is failed[0]["chances"] is failed[0]["mass"] is None


def test_an_engine_is_never_asked_about_nothing(
    local_ray: None, tmp_path: Path, member: Member, videos: list[Path]
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, [tmp_path / "gone.mp4", *videos[1:]], [])
    score(run, [member], settings("PeevishEngine", batch_size=3))
    rows = predictions(run)
    assert len(rows) == 3 * len(videos)
    for row in rows:
        expected = ("error", "missing") if row["video_id"] == "0" else ("ok", None)
        assert (row["status"], row["error_kind"]) == expected
        assert row["attempts"] == 1


def test_an_engine_that_does_not_answer_all_is_asked_clip_by_clip(
    run: RunDirectory, member: Member, undisturbed: list[dict[str, Any]]
) -> None:
    score(run, [member], settings("ForgetfulEngine"))
    assert without(predictions(run), "made_from") == without(undisturbed, "made_from")


def test_an_engine_that_dies_while_loading_ends_the_stage(
    local_ray: None, run: RunDirectory, member: Member
) -> None:
    with pytest.raises(StageError, match="died 2 times while loading"):
        score(run, [member], settings("StillbornEngine"))
    assert not storage.exists(run.path("predictions"))


def test_a_setting_that_only_the_engine_can_check_is_a_setting_error(
    local_ray: None, run: RunDirectory, member: Member
) -> None:
    with pytest.raises(ConfigError, match="ask for less"):
        score(run, [member], settings("ChoosyEngine"))


def test_a_model_that_is_not_there_fails_before_anything_is_decoded(
    run: RunDirectory, member: Member, tmp_path: Path
) -> None:
    card = member.card.model_copy(
        update={"weights": "adapter", "model": ModelConfig(path=str(tmp_path / "none"))}
    )
    broken = Member(str(tmp_path / "z"), card.model_copy(update={"name": "z"}))
    with pytest.raises(ConfigError, match=r"none[^$]*fix: name a folder"):
        score(run, [member, broken], settings())
    assert not storage.exists(run.path("predictions"))


def test_a_killed_engine_comes_back_with_the_same_batch(
    run: RunDirectory,
    member: Member,
    undisturbed: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed = []
    begun = tmp_path / "begun"

    def kill_once() -> None:
        while not begun.exists():
            time.sleep(0.01)
        while not killed:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "ray::MapWorker(MapBatches(Scorer)" in " ".join(process.cmdline()):
                        process.kill()
                        killed.append(process.pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_once, daemon=True)
    killer.start()
    score(run, [member], settings("SlowEngine", max_attempts=3, engine_args={"begun": str(begun)}))
    killer.join(timeout=10)
    assert killed
    mine = ("attempts", "made_from")  # by another engine
    assert without(predictions(run), *mine) == without(undisturbed, *mine)
    redone = len(begun.read_text().splitlines()) - len(undisturbed)
    assert redone == 3, "the batch that it had begun"
    assert f"{redone} clips were answered again" in capsys.readouterr().out
    assert sum(row["attempts"] == 2 for row in predictions(run)) == redone


def test_a_video_that_is_gone_is_an_error_row_until_it_is_back(
    tmp_path: Path, member: Member, videos: list[Path], undisturbed: list[dict[str, Any]]
) -> None:
    copies = [tmp_path / f"{number}.mp4" for number in range(len(videos))]
    for video, copy in zip(videos, copies, strict=True):
        copy.write_bytes(video.read_bytes())
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, copies, [])
    copies[1].unlink()
    score(run, [member], settings())
    rows = only_video_1_fails(run, undisturbed, "missing")
    copies[1].write_bytes(videos[1].read_bytes())
    score(run, [member], settings())
    assert predictions(run) == rows  # an error is a result, until one asks for another try
    score(run, [member], settings(retry_errors=True))
    assert predictions(run) == undisturbed


def test_a_video_on_which_decoding_hangs_is_given_up(
    s3: S3Server,
    bucket: str,
    tmp_path: Path,
    member: Member,
    videos: list[Path],
    undisturbed: list[dict[str, Any]],
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    stalls = f"{bucket}/v.mp4"
    storage.write_bytes(stalls, videos[1].read_bytes())
    write_manifest(run, [videos[0], stalls, *videos[2:]], [])
    s3.stall_s = 60
    s3.plan = lambda method, path, nth: Fault.STALL if "v.mp4" in path else None
    score(run, [member], settings(batch_timeout_s=4))
    only_video_1_fails(run, undisturbed, "decoder_died")


def test_videos_behind_a_bad_connection_are_scored_as_others(
    s3: S3Server,
    bucket: str,
    tmp_path: Path,
    member: Member,
    videos: list[Path],
    undisturbed: list[dict[str, Any]],
) -> None:
    uris = [f"{bucket}/{number}.mp4" for number in range(len(videos))]
    for uri, video in zip(uris, videos, strict=True):
        storage.write_bytes(uri, video.read_bytes())
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, uris, [])
    faults = itertools.cycle(Fault)

    def every_first_request(method: str, path: str, nth: int) -> Fault | None:
        return next(faults) if ".mp4" in path and nth == 0 else None

    s3.stall_s = 1
    s3.injected.clear()
    s3.plan = every_first_request
    score(run, [member], settings())
    assert s3.injected.total() >= len(videos)
    assert predictions(run) == undisturbed


def test_writes_that_fail_end_the_stage_and_the_next_run_completes_it(
    s3: S3Server,
    bucket: str,
    member: Member,
    videos: list[Path],
    undisturbed: list[dict[str, Any]],
) -> None:
    run = RunDirectory.at(f"{bucket}/run")
    write_manifest(run, videos, [])

    def refused(method: str, path: str, nth: int) -> Fault | None:
        return Fault.SLOW_DOWN if method == "PUT" and "/predictions/" in path else None

    s3.plan = refused
    with pytest.raises(StorageError, match="predictions"):
        score(run, [member], settings())
    assert not storage.list_files(run.path("predictions"))
    # An engine of the stage that ended may still be about to write: it is refused once as well.
    tried: set[str] = set()

    def refused_once(method: str, path: str, nth: int) -> Fault | None:
        fault = None if path in tried else refused(method, path, nth)
        tried.update([path] if fault else [])
        return fault

    s3.plan = refused_once
    score(run, [member], settings())  # passes by itself
    assert len(tried) == len(storage.list_files(run.path("predictions"))) > 0
    assert predictions(run) == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with room for little more than a manifest."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a disk here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_ends_the_stage_and_the_next_run_completes_it(
    local_ray: None,
    small_disk: Path,
    member: Member,
    videos: list[Path],
    undisturbed: list[dict[str, Any]],
) -> None:
    run = RunDirectory.at(str(small_disk / "run"))
    write_manifest(run, videos, [])
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(StorageError, match="No space left on device"):
        score(run, [member], settings())
    assert not storage.exists(run.path("predictions")) or not predictions(run)
    filler.unlink()
    score(run, [member], settings())
    assert predictions(run) == undisturbed
    left = [path.name for path in (small_disk / "run" / "predictions").rglob("*") if path.is_file()]
    assert all(name.startswith("part-") for name in left)


def test_members_without_a_model_look_at_no_video(
    local_ray: None, tmp_path: Path, member: Member, videos: list[Path]
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, [tmp_path / f"gone{n}.mp4" for n in range(len(videos))], [])
    card = member.card.model_copy(update={"name": "prior", "weights": "prior"})
    chances = {
        str(number): {"Yes": number / 10, "No": 1 - number / 10} for number in range(len(videos))
    }
    prior = write_prior(str(tmp_path / "prior"), card, chances)
    score(run, [prior], settings())
    rows = predictions(run)
    assert {row["clip_id"]: said_yes(row) for row in rows} == {
        f"{number}-{index}": number / 10 for number in range(len(videos)) for index in range(3)
    }
    assert {row["raw_text"] for row in rows} == {None}


@pytest.fixture
def describer_and_reader(tmp_path: Path, member: Member) -> tuple[Member, Member]:
    """One that writes what it sees, and one that gets nothing of a clip but that text."""
    look = Prompt(system="You look.", user="What is there?")
    read = Prompt(system="You judge.", user="{z}. Do they disagree?")
    text = Question(name="describe", answer=Text(kind="text"), prompt=look)
    asked = member.card.question.model_copy(update={"prompt": read})
    blind = member.card.media.model_copy(update={"picture": "none", "audio": "none"})
    changes = {"z": {"question": text}, "a": {"question": asked, "media": blind, "reads": ("z",)}}
    members = []
    for name, values in changes.items():
        card = member.card.model_copy(update={"name": name} | values)
        storage.write_bytes(str(tmp_path / "members" / name / MEMBER_FILE), write_card(card))
        storage.write_bytes(str(tmp_path / "members" / name / "config.json"), b"{}")
        members.append(read_member(str(tmp_path / "members" / name)))
    return members[0], members[1]


def test_who_reads_a_member_comes_after_it_and_gets_what_it_wrote(
    local_ray: None,
    tmp_path: Path,
    describer_and_reader: tuple[Member, Member],
    videos: list[Path],
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos, ["deadly"])
    describer, reader = describer_and_reader
    score(run, [reader, describer], settings("NervousEngine"))
    rows = {(row["member"], row["clip_id"]): row for row in predictions(run)}
    assert len(rows) == 2 * 3 * len(videos)
    failed = {key: row["error_kind"] for key, row in rows.items() if row["status"] != "ok"}
    assert failed == {("z", "0-0"): "engine_failed", ("a", "0-0"): "not_read"}
    assert rows["a", "0-0"]["error"] == "z has no usable answer to this clip"
    written = {clip: row["text"] for (name, clip), row in rows.items() if name == "z"}
    assert len(set(written.values())) == len(written), "each clip has a text of its own"
    for (name, clip), row in rows.items():
        if name == "a" and clip != "0-0":
            assert row["raw_text"] == f"<answer>Yes</answer> for {written[clip]}"
            assert row["labels"] == ["Yes"]
        if name == "z":
            assert (row["labels"], row["chances"]) == (None if clip == "0-0" else [], None)


def test_what_is_said_is_asked_with_and_asked_anew_when_it_changes(
    local_ray: None, tmp_path: Path, member: Member, videos: list[Path]
) -> None:
    asks = Prompt(system="You listen.", user="They say: {subtitle}. Do they disagree?")
    told = member.card.question.model_copy(update={"prompt": asks})
    members = []
    for name, question in (("deaf", member.card.question), ("told", told)):
        card = member.card.model_copy(update={"name": name, "question": question})
        storage.write_bytes(str(tmp_path / "members" / name / MEMBER_FILE), write_card(card))
        storage.write_bytes(str(tmp_path / "members" / name / "config.json"), b"{}")
        members.append(read_member(str(tmp_path / "members" / name)))
    run = RunDirectory.at(str(tmp_path / "run"))
    rows: list[dict[tuple[str, str], dict[str, Any]]] = []
    for said in ({"0-0": "Hi!", "1-1": "Bye!"}, {"0-0": "Hi there!", "1-1": "Bye!"}):
        write_manifest(run, videos, [], said)
        score(run, members, settings())
        rows.append({(row["member"], row["clip_id"]): row for row in predictions(run)})
        for (name, clip), row in rows[-1].items():
            if name == "told":
                heard = f" for {said[clip]}" if clip in said else ""
                assert row["raw_text"] == f"<answer>Yes</answer>{heard}"
    before, after = rows
    assert {key for key in before if before[key] != after[key]} == {("told", "0-0")}


def test_texts_are_found_however_batches_were_planned_and_wherever_the_videos_are_now(
    local_ray: None,
    tmp_path: Path,
    describer_and_reader: tuple[Member, Member],
    videos: list[Path],
) -> None:
    copies = [tmp_path / f"{number}.mp4" for number in range(len(videos))]
    for video, copy in zip(videos, copies, strict=True):
        copy.write_bytes(video.read_bytes())
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, copies, [])
    describer, reader = describer_and_reader
    score(run, [describer], settings())
    for copy in copies:
        copy.unlink()
    with pytest.raises(ConfigError, match=r"member a reads z, which is not among them"):
        score(run, [reader], settings())
    score(run, [describer, reader], settings(batch_size=2))
    rows = {(row["member"], row["clip_id"]): row for row in predictions(run)}
    assert {row["status"] for row in rows.values()} == {"ok"}
    for (name, clip), row in rows.items():
        if name == "a":
            assert row["raw_text"].endswith(f" for {rows['z', clip]['text']}")


def test_a_member_of_another_architecture_that_does_not_hear(
    local_ray: None, tmp_path: Path, videos: list[Path]
) -> None:
    write_tiny_checkpoint(tmp_path / "omni")
    write_tiny_qwen2_5_vl(tmp_path / "m", tmp_path / "omni")
    media = MediaConfig(
        fps=1,
        min_frames=2,
        max_frames=4,
        min_pixels=784,
        max_pixels=7840,
        size_multiple=28,
        audio="none",
    )
    member = a_member(tmp_path / "m", "m", media=media)
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos, [])
    score(run, [member], ScoreConfig(cpus_per_actor=0.5, cpus_per_decoder=0.5))
    rows = predictions(run)
    assert len(rows) == 3 * len(videos)
    assert {row["status"] for row in rows} == {"ok"}
    assert len({said_yes(row) for row in rows}) > 1
