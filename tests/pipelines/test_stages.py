"""The stages one after the other, on real videos and a real Ray; a light engine is the model."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ah_ray import schemas, storage
from ah_ray.config import ArchiveConfig, RunConfig, load_config
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.members import MEMBER_FILE, card_of, read_member, write_card
from ah_ray.pipelines.evaluate import METRICS_FILE
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.pipelines.stages import (
    STAGES,
    evaluate_stage,
    require_answered,
    run_stages,
    score_archive,
    score_stage,
)
from ah_ray.pipelines.status import status
from ah_ray.toy.archive import ArchiveSpec, write_archive

ENGINE = "tests.pipelines.light_engines:LightEngine"
TABLES = ("videos", "clips", "predictions", "verdicts", "findings", METRICS_FILE)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people to train on and two to judge, with two videos each; a base model beside them."""
    root = tmp_path_factory.mktemp("synthetic") / "archive"
    (root.parent / "base").mkdir()
    (root.parent / "base" / "config.json").write_text('{"model_type": "qwen3_omni_moe"}')
    write_archive(root, ArchiveSpec(2, 0, 2, questions=2, max_seconds=10))
    return root


class Job:
    """A run whose members are trained, and its config."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self.folder, self.archive = folder, archive
        self.run = RunDirectory.at(str(folder))
        self.config = self.with_settings()
        for name in self.config.members:
            member = folder / "members" / name
            if not member.exists():
                member.mkdir(parents=True)
                for file in ("config.json", "adapter_config.json"):
                    (member / file).write_text("{}")
                card = card_of(self.config, name)
                (member / MEMBER_FILE).write_bytes(write_card(card))

    def with_settings(self, *overrides: str, members: Sequence[str] = ("v1", "v3")) -> RunConfig:
        settings = (
            f"catalog.root={self.archive}", f"model.path={self.archive.parent}/base",
            f"score.engine={ENGINE}", "score.cpus_per_actor=0.5",
            "prepare.cpus_per_video=0.5", "prepare.clips=virtual", "train.validation_splits=[]",
        )  # fmt: skip
        return load_config("jobs/demo.yaml", self.run.uri, [*settings, *overrides], members=members)

    def copy(self, folder: Path) -> "Job":
        shutil.copytree(self.folder, folder)
        return Job(folder, self.archive)

    def tables(self) -> dict[str, bytes]:
        """Every file of its tables by its path in the run."""
        paths = [path for name in TABLES for path in storage.list_files(self.run.path(name))]
        return {path.removeprefix(self.run.uri): storage.read_bytes(path) for path in paths}

    def written(self, table: str) -> dict[Path, int]:
        """When each file of a table was written."""
        return {path: path.stat().st_mtime_ns for path in (self.folder / table).rglob("*.parquet")}


@pytest.fixture(scope="module")
def done(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run with all of its stages."""
    job = Job(tmp_path_factory.mktemp("done") / "run", archive)
    run_stages(job.run, job.config)
    return job


def test_what_goes_in_comes_out(done: Job) -> None:
    videos = done.run.videos().to_pylist()
    tested = {row["video_id"] for row in videos if row["split"] == "test"}
    assert len(tested) == 4
    clips = {name: done.run.clips(name).to_pylist() for name in (TRAINING, SCORING)}
    assert {row["video_id"] for row in clips[SCORING]} == tested
    assert len({row["video_id"] for row in clips[TRAINING]}) == 4
    assert not {row["video_id"] for row in clips[TRAINING]} & tested
    asked = {(row["member"], row["clip_id"]) for row in done.run.predictions().to_pylist()}
    assert asked == {
        (member, row["clip_id"]) for member in ("v1", "v3", "prior") for row in clips[SCORING]
    }
    verdicts = done.run.verdicts().to_pylist()
    assert {row["video_id"] for row in verdicts} == tested
    # The prior stands beside the members and does not vote.
    assert {member["member"] for row in verdicts for member in row["members"]} == {"v1", "v3"}
    assert storage.exists(done.run.path(METRICS_FILE))


def test_all_again_prepares_and_asks_nobody_again(done: Job, tmp_path: Path) -> None:
    job = done.copy(tmp_path / "run")
    before = job.tables(), job.written("clips"), job.written("predictions")
    run_stages(job.run, job.config)
    assert (job.tables(), job.written("clips"), job.written("predictions")) == before


def test_one_by_one_after_a_trial_they_make_the_same(
    done: Job, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(tmp_path / "run", archive)
    run_stages(job.run, job.config, limit=2)
    assert len(job.run.verdicts()) == 2
    for stage in STAGES.values():
        stage(job.run, job.config)
    assert job.run.verdicts() == done.run.verdicts()
    assert job.tables()[f"/{METRICS_FILE}"] == done.tables()[f"/{METRICS_FILE}"]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("model.path=/nowhere", r"model\.path"),
        ("score.engine=none_of_ours", r"score\.engine"),
        ("score.splits=[tset]", "did you mean test"),
        ("reduce.tie=No", 'write "Yes" or "No"'),
        ("reduce.missing=undecided", "reduce.missing: is 'undecided', which is no answer to task"),
        ("reduce.tie=Perhaps", "reduce.tie: is 'Perhaps', which is no answer to task"),
    ],
)
def test_a_wrong_setting_ends_a_run_before_a_video_is_prepared(
    archive: Path, tmp_path: Path, override: str, problem: str
) -> None:
    job = Job(tmp_path / "run", archive)
    with pytest.raises(ConfigError, match=problem):
        run_stages(job.run, job.with_settings(override))
    assert not storage.exists(job.run.path("clips"))


@pytest.mark.parametrize(
    ("stage", "override", "problem"),
    [
        (score_stage, "segmentation.clip_s=3", "v1 was trained with 2.5"),
        (score_stage, "score.decoding=generate", "made when it was left to the members"),
        (score_stage, "score.splits=[test, train]", "videos are not in the manifest"),
        (evaluate_stage, "reduce.tie='No'", "verdicts are not made from"),
    ],
)
def test_what_does_not_fit_what_is_there_is_refused_and_leaves_it(
    done: Job,
    tmp_path: Path,
    stage: Callable[[RunDirectory, RunConfig], None],
    override: str,
    problem: str,
) -> None:
    job = done.copy(tmp_path / "run")
    before = job.tables()
    metrics = before.pop(f"/{METRICS_FILE}")
    with pytest.raises(ConfigError, match=problem):
        stage(job.run, job.with_settings(override))
    after = job.tables()
    # Metrics that an evaluation left when it failed would pass for its own.
    assert after.pop(f"/{METRICS_FILE}", None) == (None if stage is evaluate_stage else metrics)
    assert after == before


def test_a_prior_that_was_not_scored_cannot_be_evaluated(done: Job, tmp_path: Path) -> None:
    job = done.copy(tmp_path / "run")
    evaluate_stage(job.run, job.with_settings("score.prior=null"))
    storage.remove(job.run.path("baselines"))
    with pytest.raises(ConfigError, match="was not asked for when the run was scored"):
        evaluate_stage(job.run, job.config)
    assert not storage.exists(job.run.path(METRICS_FILE))


DESCRIBE = """
name: describe
answer: {kind: text}
prompts: {plain: {system: You describe., user: "What is there?"}}
"""
JUDGE = """
name: cue_conflict
answer: {kind: choice, options: ["Yes", "No"], absent: "No", reply: "<answer>{answer}</answer>"}
prompts: {told: {system: You judge., user: "{describer} Do they disagree?"}}
"""


def test_base_models_as_they_are_one_of_which_reads_the_other(
    done: Job, archive: Path, tmp_path: Path
) -> None:
    """No training at all: cards alone, two passes in their order, and no vote for text."""
    for name, task in (("describe", DESCRIBE), ("judge", JUDGE)):
        (tmp_path / f"{name}.yaml").write_text(task)
    job = done.copy(tmp_path / "run")
    overrides = [
        f"members.describer={{prompt: plain, task: {tmp_path}/describe.yaml}}",
        f"members.judge={{prompt: told, task: {tmp_path}/judge.yaml, reads: [describer]}}",
        "train.cpus_per_node=1000",  # nobody is trained, so nobody asks for them
    ]
    config = job.with_settings(*overrides, members=["v1", "describer", "judge"])
    run_stages(job.run, config)
    cards = {name: read_member(job.run.path("members", name)).card for name in config.members}
    assert [card.weights for card in cards.values()] == ["adapter", "base", "base"]
    rows = job.run.predictions().to_pylist()
    text = {row["clip_id"]: row["text"] for row in rows if row["member"] == "describer"}
    assert all(said.startswith("light") for said in text.values())
    heard = {row["clip_id"]: row["raw_text"] for row in rows if row["member"] == "judge"}
    assert heard == {clip: f"<answer>Yes</answer> for {said}" for clip, said in text.items()}
    voters = {
        member["member"] for row in job.run.verdicts().to_pylist() for member in row["members"]
    }
    assert voters == {"v1", "judge"}
    assert json.loads(job.tables()[f"/{METRICS_FILE}"])["baseline"].keys() == {"prior"}
    lines = {line.stage: line for line in status(job.run)}
    for stage, line in lines.items():
        assert (line.stale, line.to_do) == (0, 0), stage
    assert {"train describer", "score describer", "score judge"} <= lines.keys()
    before = job.tables()
    run_stages(job.run, config)
    assert job.tables() == before


def chances(member: dict[str, Any]) -> dict[str, float]:
    return {one["label"]: one["chance"] for one in member["considered"]}


def archive_config(**score: object) -> ArchiveConfig:
    resources = {"cpus_per_actor": 0.5, "cpus_per_decoder": 0.5, "engine": ENGINE}
    return ArchiveConfig(score=ScoreConfig(**{**resources, **score}))


def test_an_archive_without_labels_is_judged_by_those_who_are_asked_to(
    done: Job, archive: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    rows = done.run.videos().to_pylist()
    for row in rows:
        if row["split"] == "test":
            shutil.copy(row["uri"], videos / f"{row['video_id']}.mp4")
    (videos / "broken.mp4").write_text("hello")
    run = RunDirectory.at(str(tmp_path / "run"))
    score_archive(run, str(videos), done.run.uri, archive_config(), names=["v3"])
    verdicts = run.verdicts().to_pylist()
    assert {len(row["members"]) for row in verdicts} == {1}
    expected = {
        row["video_id"]: chances(member)
        for row in done.run.verdicts().to_pylist()
        for member in row["members"]
        if member["member"] == "v3"
    }
    assert {Path(row["uri"]).stem: chances(row["members"][0]) for row in verdicts} == expected
    lost = [row["kind"] for row in run.findings().to_pylist() if row["severity"] == "error"]
    assert lost == ["unreadable"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [({"prior": "overall"}, "has no training videos"), ({"engine": "none_of_ours"}, "engine")],
)
def test_what_cannot_judge_an_archive_is_told_before_it_is_read(
    done: Job, archive: Path, tmp_path: Path, settings: dict[str, str], problem: str
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    with pytest.raises(ConfigError, match=problem):
        score_archive(run, str(archive), done.run.uri, archive_config(**settings))
    assert not (tmp_path / "run").exists()


def test_the_commands_of_the_stages_are_in_their_order() -> None:
    assert list(STAGES) == ["catalog", "prepare", "train", "score", "reduce", "evaluate"]


@pytest.mark.parametrize("missing", [[0, 0], [0, 2], []])
def test_a_baseline_answers_every_clip_or_is_refused(missing):
    rows = [
        {"video_id": str(number), "members": [{"member": "prior", "clips_missing": count}]}
        for number, count in enumerate(missing)
    ]
    baseline = pa.Table.from_pylist(rows, schema=schemas.VERDICTS)
    if not any(missing):
        require_answered(baseline, "predictions/member=prior")
        return
    with pytest.raises(ConfigError, match=r"(?s)member=prior: 2 clips .*ah-ray score"):
        require_answered(baseline, "predictions/member=prior")
