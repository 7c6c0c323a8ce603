"""The command line in this process: what it refuses, and what it says that helps."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ah_ray import schemas, storage, tables
from ah_ray.errors import ConfigError, Terminated, terminate
from ah_ray.media.config import SegmentationConfig
from ah_ray.storage_errors import StorageError, calling

ROOT = Path(__file__).parents[2]


# What is refused


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("", "names nothing"),
        ("  ", "names nothing"),
        ("foo://bucket/run", "foo"),
        ("zip://a::s3://b", "chain"),
        ("README.md", "is a file"),
    ],
)
@pytest.mark.parametrize("command", ["catalog", "prepare", "train", "score", "reduce", "run"])
def test_a_run_that_is_no_folder_is_refused(refused, command, uri, named):
    assert named in refused(command, "--config", "jobs/demo.yaml", "--run", uri)


def test_a_run_on_a_storage_without_its_package_names_the_package(refused):
    pytest.importorskip("fsspec")
    with pytest.raises(ImportError):
        storage.absolute("gs://bucket/run")
    assert "gcsfs" in refused("results", "--run", "gs://bucket/run")


@pytest.mark.parametrize("uri", ["runs/x", "{here}/runs/x"])
def test_a_run_in_the_copy_that_a_job_starts_in_is_refused(refused, monkeypatch, tmp_path, uri):
    job = {"runtime_env": {"working_dir": "gcs://_ray_pkg_1.zip"}, "metadata": {}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    monkeypatch.chdir(tmp_path)
    config = ROOT / "jobs" / "demo.yaml"
    text = refused("run", "--config", config, "--run", uri.replace("{here}", str(tmp_path)))
    assert "throws away" in text
    assert "throws away" in refused("demo")  # its run is relative by default
    assert not list(tmp_path.iterdir())


def test_a_job_without_a_working_directory_may_write_where_it_stands(ah_ray, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": {}}))
    _, text = ah_ray("results", "--run", tmp_path)
    assert "verdicts: is not there yet" in text


@pytest.mark.parametrize(
    ("ensemble", "more", "named"),
    [
        ("{run}/members/v1", [], "--members v1"),
        ("{run}/none", [], "holds no finished member"),
        ("foo://x", [], "foo"),
        ("{run}", ["--members", "v1,v9"], "v9"),
        ("{run}", ["--members", "v9"], "one of v1, v2, v3"),
        ("{run}", ["--members", ", "], "names nobody"),
        ("", [], "names nothing"),
        ("{run}", ["--set", "score.engine=none"], "score.engine: there is no"),
        ("{run}", ["--videos", " "], "names nothing"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_an_ensemble_that_is_none_is_refused(refused, run, tmp_path, ensemble, more, named, dry):
    arguments = ["score", "--videos", tmp_path / "archive", "--run", tmp_path / "new", *more]
    arguments += ["--ensemble", ensemble.replace("{run}", run.uri)] + ["--dry-run"] * dry
    assert named in refused(*arguments)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["foo://b/x", "gs://b/x", ""])
def test_a_base_model_that_is_nowhere_is_refused(refused, tmp_path, path):
    options = ["--config", "jobs/demo.yaml", "--run", tmp_path / "new"]
    assert "model.path" in refused("run", *options, "--set", f"model.path='{path}'")
    assert not (tmp_path / "new").exists()


def test_the_demo_says_what_helps_where_it_cannot_write(ah_ray, tmp_path):
    (tmp_path / "file").touch()
    code, text = ah_ray("demo", "--run", tmp_path / "file" / "run")
    assert code == 1
    assert "a file stands where a folder should be" in text.partition("fix: ")[2]


def test_a_config_without_a_name_is_refused(refused, tmp_path):
    assert "--config: names nothing" in refused("run", "--config", "", "--run", tmp_path / "r")


def test_members_that_a_config_has_not_are_refused(refused, tmp_path):
    for command in ("score", "reduce", "evaluate", "run"):
        arguments = ["--config", "jobs/demo.yaml", "--run", tmp_path / "new", "--members", "v1,v4"]
        text = refused(command, *arguments)
        assert "v4" in text
        assert "v2" in text


def test_what_is_to_be_scored_is_said_once(refused, tmp_path):
    run = ["--run", tmp_path]
    for arguments in (
        [],
        ["--videos", "x"],
        ["--ensemble", "x"],
        ["--config", "jobs/demo.yaml", "--videos", "x", "--ensemble", "x"],
        ["--config", "jobs/demo.yaml", "--ensemble", "x"],
    ):
        assert "does not say what to score" in refused("score", *run, *arguments)


def test_evaluate_says_which_stages_have_not_seen_new_videos(refused, run):
    code_of = {"catalog.root": "/archive"}
    videos = run.videos().to_pylist()
    for row in videos:
        row["split"] = "test"
    new = dict(videos[0], video_id="new", uri="/archive/new.mp4", content=None)
    path = run.path("videos", "part-0.parquet")
    tables.write_rows([*videos, new], schemas.VIDEOS, path)
    options = ["--config", "jobs/demo.yaml", "--run", run.uri, "--set", "score.prior=null"]
    options += [f"--set={key}={value}" for key, value in code_of.items()]
    options.append("--set=train.splits=[]")
    text = refused("evaluate", *options)
    assert "1 videos have neither verdict nor finding: new" in text
    assert "prepare, score and reduce" in text


def test_evaluate_refuses_verdicts_of_other_members(refused, run):
    options = ["--config", "jobs/demo.yaml", "--run", run.uri, "--members", "v1,v3"]
    text = refused("evaluate", *options)
    assert "are those of v1, v2, v3, not of v1, v3" in text
    assert "ah-ray reduce" in text


def test_other_settings_are_told_by_the_values_that_differ(refused, run, tmp_path):
    rule = SegmentationConfig().model_dump()
    run.claim({"segmentation": rule})
    with pytest.raises(Exception, match=r"segmentation\.clip_s 5\.0, now it is 4\.0") as caught:
        run.claim({"segmentation": rule | {"clip_s": 4.0}})
    assert "tail" not in str(caught.value)


# What helps


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (OSError(30, "Read-only file system"), "read-only"),
        (PermissionError(13, "Permission denied"), "permission"),
        (PermissionError("Access Denied"), "permission"),
        (OSError(28, "No space left on device"), "free some space"),
        (NotADirectoryError(20, "Not a directory"), "a file stands"),
        (ConnectionResetError(104, "reset"), "give the same command again later"),
    ],
)
def test_the_fix_fits_what_a_storage_said(ah_ray, monkeypatch, run, error, helps):
    def fail(*_: object, **__: object) -> None:
        with calling("there"):
            raise error

    monkeypatch.setattr("ah_ray.pipelines.results.print_found", fail)
    code, text = ah_ray("results", "--run", run.uri)
    assert code == 1
    assert helps in text.partition("fix: ")[2]


def test_a_package_of_an_extra_that_is_missing_names_the_extra(refused, monkeypatch, run):
    monkeypatch.setitem(sys.modules, "torch", None)

    def train(*_: object) -> None:
        import torch  # noqa: F401

    monkeypatch.setattr("ah_ray.pipelines.results.print_found", train)
    text = refused("results", "--run", run.uri)
    assert "torch is not installed" in text
    assert "extra cpu" in text


def test_missing_credentials_are_asked_for(monkeypatch):
    from botocore.exceptions import NoCredentialsError

    with pytest.raises(StorageError) as caught, calling("s3://b/x"):
        raise NoCredentialsError
    assert "AWS_ACCESS_KEY_ID" in caught.value.fix


def test_a_wrong_address_of_ray_is_a_setting(monkeypatch):
    from ah_ray.cluster import connect

    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(ConfigError, match="ray job submit") as caught:
        connect()
    assert caught.value.where == "RAY_ADDRESS=http://127.0.0.1:8265"


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_who_is_stopped_says_that_the_run_can_go_on(ah_ray, monkeypatch, run, signum, code):
    def stop(*_: object) -> None:
        os.kill(os.getpid(), signum)
        time.sleep(10)

    monkeypatch.setattr("ah_ray.pipelines.results.print_found", stop)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a process of its own
    ended, text = ah_ray("results", "--run", run.uri)
    signal.signal(signal.SIGINT, before)
    assert ended == code
    assert "the same command goes on" in text


def test_ray_does_not_abort_what_is_told_to_end():
    signal.alarm(100)
    with pytest.raises(Terminated):
        terminate()
    assert signal.alarm(0) == 0
