"""Prepare over object storage that fails: nothing lost, nothing tried for ever, runs resume."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import boto3
import fsspec
import pytest
from fsspec.core import url_to_fs

from ah_ray import storage
from ah_ray.catalog import CatalogEntry
from ah_ray.config import RunConfig, load_config
from ah_ray.errors import ItemError
from ah_ray.media.probe import probe
from ah_ray.pipelines.catalog import read_into
from ah_ray.pipelines.ledger import in_scope
from ah_ray.pipelines.manifest import Manifest, claim
from ah_ray.pipelines.prepare import make_prepare_videos
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.pipelines.stages import prepare_stage
from ah_ray.tasks import load_task
from tests.e2e.helpers import ROOT, ah_ray
from tests.media.coded_video import steady, tone, write_video
from tests.s3 import Fault, S3Server, healthy, s3_server

ARCHIVE = "s3://archive"
VIDEOS = 6  # the even ones to train on, the odd ones to score
CUT_OFF = f"{ARCHIVE}/videos/3.mp4"

# What the requests for one path meet, one after the other; where it starts depends on the path.
READS = (
    Fault.SLOW_DOWN, None, None, Fault.RESET_IN_BODY, None, None, Fault.DRIBBLE,
    Fault.RESET, None, None, None, Fault.STALL, None, None, None,
)  # fmt: skip
WRITES = (Fault.SLOW_DOWN, None, Fault.RESET, None, None, None)


def many_faults(method: str, path: str, nth: int) -> Fault | None:
    sequence = WRITES if method == "PUT" else READS
    return sequence[(crc32(f"{method}{path}".encode()) + nth) % len(sequence)]


def never(part: str, *methods: str):
    """A plan: what has ``part`` in its path is never answered but with 503."""

    def plan(method: str, path: str, nth: int) -> Fault | None:
        return Fault.SLOW_DOWN if part in path and method in methods else None

    return plan


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server with an archive of small videos in a bucket."""
    # What a user may have set; nobody has the patience of the defaults in a test.
    timeouts = json.dumps({"config_kwargs": {"read_timeout": 1}})
    with s3_server(FSSPEC_S3=timeouts, AWS_MAX_ATTEMPTS="2") as server:
        url_to_fs(ARCHIVE)[0].clear_instance_cache()
        boto3.client("s3").create_bucket(Bucket="archive")
        local = tmp_path_factory.mktemp("videos")
        table = []
        for number in range(VIDEOS):
            seconds = 4 + number
            video = write_video(
                local / f"{number}.mp4", steady(seconds, 10), tone(seconds), sound_codec="aac"
            )
            storage.write_bytes(f"{ARCHIVE}/videos/{number}.mp4", video.read_bytes())
            split, label = ("test", None) if number % 2 else ("train", number % 4 // 2)
            table.append(
                {"uri": f"videos/{number}.mp4", "split": split, "label": label}
                | {"intervals": [[1, 3.5]] if label else []}
            )
        lines = "\n".join(json.dumps(row) for row in table)
        storage.write_bytes(f"{ARCHIVE}/videos.jsonl", lines.encode())
        yield server


@pytest.fixture(autouse=True)
def no_faults_at_first(s3: S3Server) -> None:
    s3.plan = healthy
    s3.injected.clear()
    s3.requests.clear()


class Job:
    """A run in the bucket with its catalog, ready to be prepared."""

    def __init__(self, name: str, folder: Path) -> None:
        self.run = RunDirectory.at(f"{ARCHIVE}/runs/{name}")
        entry = CatalogEntry(title="videos", reader="table")
        read_into(self.run, entry, f"{ARCHIVE}/videos.jsonl", load_task("cue_conflict").answer)
        (folder / "entry.yaml").write_text("title: videos\nreader: table\n")
        self.settings = [f"catalog.entry={folder}/entry.yaml"]
        self.settings.append(f"catalog.root={ARCHIVE}/videos.jsonl")

    @property
    def config(self) -> RunConfig:
        return load_config(str(ROOT / "jobs" / "demo.yaml"), self.run.uri, self.settings)

    def prepare(self) -> None:
        """The stage, on a Ray whose workers have this server's address."""
        prepare_stage(self.run, self.config)

    def command(self) -> Any:
        """The same from a shell: `ah-ray prepare`."""
        options = ["--config", "jobs/demo.yaml", "--run", self.run.uri]
        for setting in self.settings:
            options += ["--set", setting]
        return ah_ray("prepare", *options, check=False, env=dict(os.environ))

    def prepare_here(self) -> None:
        """The same work in this process, without Ray."""
        config = self.config
        for name, splits in ((TRAINING, config.train.splits), (SCORING, config.score.splits)):
            videos = in_scope(self.run, splits, unlabelled=name == SCORING)
            manifest = Manifest.of(config, name, splits)
            claim(self.run, manifest, ())
            make_prepare_videos(self.run, manifest, ())(videos)

    def clips(self) -> list[dict[str, Any]]:
        """The rows of both manifests, files named relative to the run."""
        found = [row for name in (TRAINING, SCORING) for row in self.run.clips(name).to_pylist()]
        for row in found:
            for column in ("media_uri", "audio_uri"):
                if row[column] is not None:
                    row[column] = row[column].removeprefix(self.run.uri)
        return found

    def findings(self) -> list[dict[str, Any]]:
        return [row for row in self.run.findings().to_pylist() if row["stage"] != "catalog"]

    def media(self) -> dict[str, int]:
        """The size of every file of clips."""
        names = storage.list_files(self.run.path("media"))
        return {name.removeprefix(self.run.uri): len(storage.read_bytes(name)) for name in names}


@pytest.fixture(scope="module")
def undisturbed(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """What comes out when nothing fails."""
    s3.plan = healthy
    job = Job("undisturbed", tmp_path_factory.mktemp("undisturbed"))
    job.prepare_here()
    assert len({clip["video_id"] for clip in job.clips()}) == VIDEOS
    return job


def test_nothing_is_lost_and_nothing_is_tried_for_ever(
    s3: S3Server, undisturbed: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job("disturbed", tmp_path)
    s3.requests.clear()  # the catalog has looked at every video, and all were well

    # Faults that pass cost nothing; a video that cannot be read costs itself alone.
    cut_off = never("videos/3.mp4", "GET", "HEAD")
    s3.plan = lambda *request: cut_off(*request) or many_faults(*request)
    job.prepare()
    assert {fault for _, fault in s3.injected} == set(Fault)
    assert {m for m, fault in s3.injected if fault is Fault.SLOW_DOWN} >= {"GET", "PUT", "HEAD"}
    assert any("list-type" in path and count > 1 for (_, path), count in s3.requests.items())
    assert s3.requests["HEAD", "/archive/videos/3.mp4"] == 2  # as often as the user wants
    s3.plan = healthy
    assert "1 with errors" in capsys.readouterr().out
    (finding,) = job.findings()
    assert finding["kind"] == "storage_error"
    assert finding["message"].startswith(CUT_OFF)
    assert job.clips() == [c for c in undisturbed.clips() if c["source_uri"] != CUT_OFF]
    assert job.media() == undisturbed.media()  # the video that is cut off has virtual clips

    # A manifest that cannot be written ends the job, with one message.
    s3.plan = never("/clips/", "PUT")
    second = job.command()
    s3.plan = healthy
    assert second.returncode == 1
    assert f"error {job.run.uri}/clips/purpose=scoring/part-" in second.stdout
    assert "give the same command again" in second.stdout
    assert "Traceback" not in second.stdout

    # The next run does what is missing.
    job.prepare()
    assert "1 videos to do, 2 were done before" in capsys.readouterr().out
    assert job.findings() == []
    assert job.clips() == undisturbed.clips()
    assert job.media() == undisturbed.media()


@pytest.mark.parametrize("fault", [Fault.RESET_IN_BODY, Fault.STALL])
def test_a_video_that_always_breaks_off_is_an_item_error(
    s3: S3Server, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 0.3}})
    s3.plan = lambda method, path, nth: fault if method == "GET" else None
    with pytest.raises(ItemError, match=CUT_OFF) as caught:
        probe(CUT_OFF)
    assert caught.value.kind == "storage_error"
    assert s3.requests["GET", "/archive/videos/3.mp4"] == 5
