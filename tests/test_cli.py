"""The command line in this process: what it refuses, says, plans and shows. No Ray, no model."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from ah_ray import lineage, schemas, storage, tables
from ah_ray.cli import main
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError, Terminated, terminate
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MEMBER_FILE, MemberCard, member_fingerprint, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.asking import asked_how
from ah_ray.pipelines.results import evidence, opening_lines, span_text, strongest
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import console
from ah_ray.storage_errors import StorageError, calling

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(ROOT)
    yield
    signal.signal(signal.SIGTERM, before)
    console.quiet = False


@pytest.fixture
def ah_ray(capsys):
    """Runs a command; gives its exit code and what it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out + err

    return run


@pytest.fixture
def refused(ah_ray):
    """Runs a command that is refused before anything is done; gives the message."""

    def run(*arguments: object) -> str:
        code, text = ah_ray(*arguments)
        assert code == 2, text
        assert text.startswith("error ")
        assert "\n  fix: " in text
        return text

    return run


def member(name: str, folder: Path) -> None:
    card = MemberCard(
        name=name, weights="adapter", task="cue_conflict", prompt="short",
        model=ModelConfig(path="/models/base"), media=MediaConfig(),
        segmentation=SegmentationConfig(),
    )  # fmt: skip
    storage.write_bytes(str(folder / name / MEMBER_FILE), write_card(card))


def vote(name: str, label: int | None, score: float | None, clip: str | None) -> dict:
    counts = {f"clips_{status}": 0 for status in ("ok", "unparseable", "error", "missing")}
    return {"member": name, "label": label, "score": score, "evidence_clip_id": clip} | counts


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """A run with four verdicts of three members, a broken video, and trained members."""
    run = RunDirectory.at(str(tmp_path / "run"))
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.mp4").touch()
    run.remember({"archive": "/archive"})
    for name in ("v1", "v2", "v3"):
        member(name, tmp_path / "run" / "members")
    videos = [{"video_id": name, "uri": f"/archive/{name}.mp4"} for name in "abcde"]
    clips = [
        {"clip_id": f"{name}{index}", "video_id": name, "source_uri": f"/archive/{name}.mp4",
         "start_s": 2.5 * index, "end_s": 2.5 * index + 2.5, "bucket": "x"}
        for name in "abcd"
        for index in range(6)
    ]  # fmt: skip
    asked = asked_how(ScoreConfig())
    run.remember({"asked": asked})
    fingerprint = member_fingerprint(read_member(run.path("members", "v1")))
    answered = [
        {"clip_id": row["clip_id"], "video_id": row["video_id"], "status": "ok", "answer": 1,
         "made_from": lineage.answer_made_from(fingerprint, asked, row["video_id"], None)}
        for row in clips
    ]  # fmt: skip
    verdicts = [
        {"video_id": name, "uri": f"/archive/{name}.mp4", "label": label, "score": score,
         "status": "ok", "coverage": 1.0, "members": votes}
        for name, label, score, votes in (
            ("a", 1, 0.75, [vote("v1", 1, 0.9, "a4"), vote("v2", 1, 0.95, "a5"),
                            vote("v3", 0, 0.4, "a0")]),
            ("b", 0, 0.9, [vote("v1", 0, 0.9, "b1"), vote("v2", 0, 0.9, "b1"),
                           vote("v3", 1, 0.9, "b1")]),
            ("c", 1, 0.9, [vote("v1", 1, None, "c0"), vote("v2", 1, None, "c0"),
                           vote("v3", 1, None, "c0")]),
            ("d", None, None, [vote(name, None, None, None) for name in ("v1", "v2", "v3")]),
        )
    ]  # fmt: skip
    findings = [
        schemas.finding("e", "error", "unreadable", "/archive/e.mp4: moov \x1b[2J", "left out")
    ]
    for rows, schema, folder in (
        (videos, schemas.VIDEOS, run.path("videos")),
        (clips, schemas.CLIPS, run.clips_path(SCORING)),
        ([c | {"label": 1} for c in clips[:1]], schemas.CLIPS, run.clips_path("training")),
        (answered, schemas.PREDICTIONS, run.predictions_path("v1")),
        (answered[:6], schemas.PREDICTIONS, run.predictions_path("v2")),
        (verdicts, schemas.VERDICTS, run.path("verdicts")),
        (findings, schemas.FINDINGS, run.findings_path("prepare_scoring")),
        (findings, schemas.FINDINGS, run.findings_path("score")),
    ):
        tables.write_rows(rows, schema, storage.join(folder, "part-0.parquet"))
    return run


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
    ended, text = ah_ray("results", "--run", run.uri)
    assert ended == code
    assert "the same command goes on" in text


def test_ray_does_not_abort_what_is_told_to_end():
    signal.alarm(100)
    with pytest.raises(Terminated):
        terminate()
    assert signal.alarm(0) == 0


# What is printed


def test_the_version(ah_ray):
    assert ah_ray("--version") == (0, "ah-ray 0.1.0\n")


def test_help_is_not_cut_in_a_narrow_terminal(ah_ray, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    _, text = ah_ray("--help")
    assert "..." not in text.partition("Commands:")[2]
    assert "with --videos, also give the verdicts." in " ".join(text.split())


def test_quiet_leaves_results_and_errors(ah_ray, refused, run):
    options = ["--config", "jobs/demo.yaml", "--run", run.uri, "--members", "v1,v2,v3"]
    options += ["--set", "segmentation.clip_s=5", "--set", "segmentation.min_tail_s=3"]
    _, loud = ah_ray("reduce", *options)
    code, quiet = ah_ray("reduce", *options, "--quiet")
    assert "videos to do" in loud
    assert (code, quiet) == (0, "")
    assert "mebers" in refused("reduce", *options, "-q", "--set", "mebers=1")


def test_what_was_found_is_shown_with_its_place_and_reasons(ah_ray, run):
    code, text = ah_ray("results", "--run", run.uri, "--top", 3)
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    assert lines[0][:6] == ["found:", "2", "of", "4", "videos", "are"]
    assert "1 undecided" in text
    assert lines[1:4] == [
        ["0.900", "yes", "c.mp4", "00:00\N{EN DASH}00:02.5"],
        ["0.750", "yes", "a.mp4", "00:12.5\N{EN DASH}00:15"],
        ["0.900", "no", "b.mp4", "00:02.5\N{EN DASH}00:05"],
    ]
    assert "error: 2 unreadable: left out: /archive/e.mp4: moov \\x1b[2J" in text


def test_files_are_named_within_an_archive_that_lies_in_the_run(ah_ray, run):
    run.remember({"archive": "archive"})  # as it is stored then, and the table with it
    verdicts = [
        row | {"uri": f"archive/{row['video_id']}.mp4"} for row in run.verdicts().to_pylist()
    ]
    path = run.path("verdicts", "part-0.parquet")
    tables.write_rows(verdicts, schemas.VERDICTS, path)
    _, text = ah_ray("results", "--run", run.uri)
    assert "0.900 yes       c.mp4 00:00" in text


def test_the_lines_that_open_the_tables_work(ah_ray, run, capsys):
    _, text = ah_ray("results", "--run", run.uri)
    lines = opening_lines(run)
    assert [line.strip() for line in text.splitlines()[-len(lines) :]] == lines
    exec("\n".join(lines), {})
    printed = capsys.readouterr().out
    assert all(f"/archive/{name}.mp4" in printed for name in "abcd")
    assert "0.75" in printed


def test_every_table_opens_as_a_folder(run):
    import pandas
    import pyarrow.dataset as ds

    for table, key in (("clips", "segmentation"), ("predictions", "member"), ("findings", "stage")):
        folder = run.path(table)
        frame = pandas.read_parquet(folder)
        assert len(frame) == len(ds.dataset(folder, partitioning="hive").to_table())
        assert frame[key].nunique() == 2


@pytest.mark.parametrize(
    ("start_s", "end_s", "shown"),
    [(10, 12.5, "00:10 00:12.5"), (3599.5, 3602, "59:59.5 1:00:02"), (59.97, 60.04, "01:00 01:00")],
)
def test_times_read_as_in_a_player(start_s, end_s, shown):
    assert span_text(start_s, end_s).split("\N{EN DASH}") == shown.split()


def test_evidence_is_the_surest_of_those_who_agree(run):
    verdicts = {row["video_id"]: row for row in run.verdicts().to_pylist()}
    assert [evidence(verdicts[name]) for name in "abcd"] == ["a5", "b1", "c0", None]
    assert strongest(run.verdicts().slice(0, 0), 5) == []


# What would be done


def everything(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_dry_run_of_score_tells_passes_and_clips_and_writes_nothing(ah_ray, run, tmp_path):
    before = everything(tmp_path)
    arguments = ["--videos", tmp_path / "archive", "--ensemble", run.uri, "--run", run.uri]
    code, text = ah_ray("score", *arguments, "--dry-run", "--set", "score.batch_size=6")
    assert code == 0, text
    assert "1 videos at" in text
    assert "pass 1 of 1: /models/base, engine transformers" in text
    assert "v1: 0 of 24 clips to do, in 0 batches" in text
    assert "v2: 18 of 24 clips to do, in 3 batches" in text
    assert "v3: 24 of 24 clips to do, in 4 batches" in text
    assert "6 clips a batch" in text
    _, trial = ah_ray("score", *arguments, "--dry-run", "--limit=2", "--members=v2,v3",
                      "--set=score.batch_size=6")  # fmt: skip
    assert "v1" not in trial.replace(str(tmp_path), "")
    assert "v2: 6 of 12 clips to do, in 1 batches" in trial
    assert everything(tmp_path) == before


def test_a_dry_run_of_all_stages_tells_what_is_missing(ah_ray, run, tmp_path):
    before = everything(tmp_path)
    code, text = ah_ray("run", "--config", "jobs/demo.yaml", "--run", tmp_path / "new", "--dry-run")
    assert code == 0, text
    for told in ("not read yet", "train v1: lora sft, 1 epochs", "pass 3 of 3", "prior: base rates",
                 "reduce: v1, v2, v3"):  # fmt: skip
        assert told in text
    options = ["--config", "jobs/demo.yaml", "--run", run.uri, "--dry-run", "--members=v1,v2",
               "--set=model={path: /models/base}", "--set=media={}",
               "--set=segmentation={}", "--set=score.prior=null"]  # fmt: skip
    options.append("--set=score.batch_size=6")
    options.append("--set=members.v2.prompt=short")
    code, text = ah_ray("run", *options)
    assert code == 0, text
    assert "5 videos are known" in text
    assert "prepare scoring: 0 of 5 videos to do" in text
    assert "train v2: is there" in text
    assert "v2: 18 of 24 clips" in text
    code, scored = ah_ray("score", *options)
    assert code == 0, scored
    assert "v2: 18 of 24 clips" in scored
    assert everything(tmp_path) == before


# Where files are found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the package, unpacked: what an installation has."""
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    source = folder / "source"
    subprocess.run(
        ["cp", "-r", "--parents", "pyproject.toml", "setup.py", "README.md", "LICENSE", "jobs",
         "data_catalog", "ah_ray", source], cwd=ROOT, check=source.mkdir() is None,
    )  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", code, folder], cwd=source, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "site")
    return folder / "site"


def test_a_wheel_has_the_configs_and_finds_them_from_anywhere(wheel, tmp_path):
    shipped = {path.relative_to(wheel / "ah_ray" / "shipped") for path in
               (wheel / "ah_ray" / "shipped").rglob("*.yaml")}  # fmt: skip
    ours = {path.relative_to(ROOT) for folder in ("jobs", "data_catalog")
            for path in (ROOT / folder).glob("*.yaml")}  # fmt: skip
    assert shipped == ours
    assert not (wheel / "jobs").exists()
    code = (
        "import ah_ray.cli, ah_ray.config as c; "
        "print(ah_ray.__file__, c.load_config('jobs/demo.yaml', 'r').catalog.entry); "
        "ah_ray.cli.main(['demo', '--help'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    package = wheel / "ah_ray"
    entry = package / "shipped" / "data_catalog" / "synthetic.yaml"
    assert done.stdout.startswith(f"{package / '__init__.py'} {entry}\n")


def test_the_demo_starts_from_any_folder(ah_ray, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, text = ah_ray("run", "--config", "jobs/demo.yaml", "--run", "r", "--dry-run")
    assert code == 0, text
    assert "data_catalog/synthetic.yaml" in text


def test_sizing_explains_itself(capsys):
    from ah_ray.training.sizing import main as sizing

    for arguments, code, said in ((["--help"], 0, "usage"), (["/nowhere"], 2, "/nowhere")):
        with pytest.raises(SystemExit) as end:
            sizing(arguments)
        assert end.value.code == code
        assert said in "".join(capsys.readouterr())
