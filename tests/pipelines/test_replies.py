"""Replies that were written, read again by other parsers and looked at by metrics: on tables."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
import yaml

from ah_ray import lineage, schemas, storage, tables
from ah_ray.cli import main
from ah_ray.cluster import connect
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.evaluation.judged import Written
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MEMBER_FILE, MemberCard, member_fingerprint, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.asking import asked_how
from ah_ray.pipelines.compare import compare
from ah_ray.pipelines.judge import judge
from ah_ray.pipelines.report import report
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.written import written
from ah_ray.tasks import load_task
from ah_ray.toy.text import write_tiny_text
from ah_ray.words.judging import JudgeConfig
from tests.pipelines.scoring import settings

ASKED = asked_how(ScoreConfig())
# Of each video its label, and what is written of it.
VIDEOS = {"a": ("sad", "sad"), "b": ("happy", "Angry or happy"), "c": ("worried", "No idea."),
          "d": ("neutral", "not sad")}  # fmt: skip

Command = Callable[..., tuple[int, str]]


def write_run(
    folder: Path,
    task: str,
    videos: dict[str, tuple[str, str]],
    prompt: str = "short",
    **reason: str,
) -> RunDirectory:
    """A run of one member, with one clip of each video, and for some the reason of their label."""
    run = RunDirectory.at(str(folder))
    run.remember({"asked": ASKED})
    rows = [
        {"video_id": name, "uri": f"/archive/{name}.mp4", "participant_id": name, "split": "test",
         "content": f"c{name}", "labels": [label],
         "attributes": [("reason", reason[name])] if name in reason else []}
        for name, (label, _) in videos.items()
    ]  # fmt: skip
    tables.write_rows(rows, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    clips = [
        {"clip_id": f"{name}0", "video_id": name, "content": None, "split": "test", "start_s": 0.0,
         "end_s": 2.5} for name in videos
    ]  # fmt: skip
    tables.write_rows(clips, schemas.CLIPS, storage.join(run.clips_path(SCORING), "p.parquet"))
    member = folder / "members" / "m"
    member.mkdir(parents=True)
    (member / "model.safetensors").write_bytes(b"w")
    card = MemberCard(
        name="m", weights="full", question=load_task(task).question(prompt, "here"),
        decoding="generate", model=ModelConfig(path="base"), media=MediaConfig(),
        segmentation=SegmentationConfig(),
    )  # fmt: skip
    (member / MEMBER_FILE).write_bytes(write_card(card))
    fingerprint = member_fingerprint(read_member(str(member)))
    answers = []
    for clip in clips:
        text = videos[clip["video_id"]][1]
        reading = card.question.answer.read(text)
        answers.append(
            {"clip_id": clip["clip_id"], "video_id": clip["video_id"], "raw_text": text,
             "made_from": lineage.answer_made_from(fingerprint, ASKED, clip),
             "status": "unparseable" if reading is None else "ok",
             "labels": None if reading is None else sorted(reading.labels),
             "text": reading.text or None if reading else None}
        )  # fmt: skip
    tables.write_rows(
        answers, schemas.PREDICTIONS, storage.join(run.predictions_path("m"), "p.parquet")
    )
    return run


def command_on(
    run: RunDirectory, task: str, file: Path, capsys: Any, prompt: str = "short"
) -> Command:
    """What runs a command on a run; it gives the exit code and what was printed."""
    config = {
        "catalog": {"entry": "data_catalog/synthetic.yaml", "root": "/archive"},
        "task": task, "model": {"path": "base"}, "evaluate": {"draws": 1000},
        "members": {"m": {"prompt": prompt, "decoding": "generate"}},
        "score": {"splits": ["test"]},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(config))

    def command(name: str, *changes: str) -> tuple[int, str]:
        stated = [part for setting in changes for part in ("--set", setting)]
        try:
            main([name, "--config", str(file), "--run", run.uri, *stated])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, " ".join((out + err).split())

    return command


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return write_run(tmp_path / "run", "mer_emotions", VIDEOS)


@pytest.fixture
def ah_ray(run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return command_on(run, "mer_emotions", tmp_path / "config.yaml", capsys)


def said(run: RunDirectory) -> dict[str, Any]:
    return {row["video_id"]: row["labels"] for row in run.verdicts().to_pylist()}


def metrics(run: RunDirectory) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(storage.read_bytes(run.path("metrics.json")))
    return found


def test_another_parser_reads_what_was_written_and_says_so(
    ah_ray: Command, run: RunDirectory
) -> None:
    before = tables.read_table(run.predictions_path("m"), schemas.PREDICTIONS)
    for stage in ("reduce", "evaluate"):
        assert ah_ray(stage)[0] == 0
    assert said(run) == {"a": ["sad"], "b": None, "c": None, "d": ["sad"]}
    strictly = metrics(run)
    assert strictly["read"] == {"parse": "strict", "otherwise": {}}
    assert strictly["counts"]["predictions"]["m"]["unparseable"] == 2

    # The verdicts are those of another parser now.
    code, text = ah_ray("evaluate", "reduce.parse=mer2024")
    assert (code, "not made from" in text) == (2, True), text
    assert ah_ray("reduce", "reduce.parse=mer2024")[0] == 0
    assert said(run) == {"a": ["sad"], "b": ["happy"], "c": ["worried"], "d": ["sad"]}
    code, text = ah_ray("evaluate", "reduce.parse=mer2024")
    assert code == 0, text
    assert "replies are read by mer2024; otherwise than strictly 2 of m" in text
    found = metrics(run)
    assert found["read"] == {"parse": "mer2024", "otherwise": {"m": 2}}
    assert (found["video_level"]["m"]["war"], found["video_level"]["m"]["n"]) == (0.75, 4)
    assert tables.read_table(run.predictions_path("m"), schemas.PREDICTIONS).equals(before)

    page = storage.read_bytes(report(run)).decode()
    assert (
        "Replies are read by <code>mer2024</code>, not strictly: 2 of m are read otherwise." in page
    )
    assert ah_ray("reduce")[0] == 0
    assert said(run)["b"] is None


def test_where_options_were_weighed_nothing_is_written(ah_ray: Command, run: RunDirectory) -> None:
    assert ah_ray("reduce")[0] == 0
    answers = tables.read_table(run.predictions_path("m"), schemas.PREDICTIONS)
    answers = answers.append_column("member", pa.array(["m"] * len(answers)))
    told = written(run.verdicts(), run.clips(SCORING), answers)
    assert told["m"]["b"] == Written(("Angry or happy",))
    at = answers.column_names.index("raw_text")
    weighed = answers.set_column(at, "raw_text", pa.nulls(len(answers), pa.string()))
    found = written(run.verdicts(), run.clips(SCORING), weighed)
    assert found == {"m": dict.fromkeys("abcd", Written(()))}


def test_figures_by_two_parsers_are_not_compared(
    ah_ray: Command, run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", "mer_emotions", VIDEOS)
    lenient = command_on(other, "mer_emotions", tmp_path / "other.yaml", capsys)
    for stage in ("reduce", "evaluate"):
        assert ah_ray(stage)[0] == lenient(stage, "reduce.parse=mer2024")[0] == 0
    with pytest.raises(ConfigError, match="their replies are read by other parsers"):
        compare([run, other])


def test_dfew_counts_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = load_task("dfew_emotions")
    task = {
        "name": "own", "answer": shown.answer.model_dump(mode="json"),
        "metrics": ["classes", "dfew"],
        "prompts": {"short": {"system": "Look.", "user": "Which?"}},
    }  # fmt: skip
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(task))
    run = write_run(
        tmp_path / "run", str(file), {"a": ("sad", "sad or angry"), "b": ("fear", "sad")}
    )
    command = command_on(run, str(file), tmp_path / "config.yaml", capsys)
    for stage in ("reduce", "evaluate"):
        assert command(stage)[0] == 0
    for name in ("m", "ensemble"):  # which is the member
        of = metrics(run)["video_level"][name]
        assert (of["war"], of["n"]) == (0.0, 1)
        assert (of["dfew_war"], of["dfew_uar"]) == (0.5, pytest.approx(1 / 3))


REASONING = {
    "a": ("sad", "<emotion>sad</emotion><reason>Tears run down.</reason>"),
    "b": ("happy", "<emotion>happy</emotion>"),
    "c": ("angry", "<reason>He shouts.</reason>"),
    "d": ("worried", "<emotion>worried</emotion> <reason>Nobody knows.</reason>"),
}
REASONS = {"a": "tears down her cheeks", "b": "a smile", "c": "he shouts"}


def test_a_label_and_why_are_measured_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = "emotion_reasoning"
    run = write_run(tmp_path / "run", task, REASONING, "zh", **REASONS)
    command = command_on(run, task, tmp_path / "config.yaml", capsys, "zh")
    assert command("reduce")[0] == 0
    code, text = command("evaluate")
    assert code == 0, text
    for name in ("m", "ensemble"):  # which is the member
        of = metrics(run)["video_level"][name]
        assert (of["war"], of["n"], of["undecided"]) == (1.0, 3, 1)
        assert of["explanations"] == {"videos": 2, "without": 1}
        assert of["keywords_f1"] == pytest.approx(((2 * 2) / (3 + 3)) / 2)
    assert "explanations of m: 2 videos, 1 without" in text
    assert "keywords_f1" in metrics(run)["statistics"]["intervals"]["m"]
    page = storage.read_bytes(report(run)).decode()
    assert "Explanations of m: 2 videos have a reference and an answer, 1 of them" in page
    assert "sad: Tears run down." in page


@pytest.fixture
def local_ray() -> Iterator[None]:
    connect()
    yield
    ray.shutdown()


def test_a_judge_is_asked_about_what_has_changed(
    local_ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the pools: the file that it ends with gives the same figures again."""
    write_tiny_text(tmp_path / "model", ["tears smile"] * 3, architecture="qwen2_5_text")
    begun = tmp_path / "begun"
    asked = JudgeConfig.model_validate(
        {
            "model": {"path": str(tmp_path / "model"), "architecture": "qwen2_5_text"},
            "score": settings("JudgingEngine", batch_size=1, engine_args={"begun": str(begun)}),
        }
    )
    task = tmp_path / "own.yaml"
    stated = load_task("emotion_reasoning").model_dump(mode="json", exclude={"rules", "prompts"})
    metric = {"reference": "reason"}
    stated["prompts"] = {"short": {"system": "Look.", "user": "Which, and why?"}}
    task.write_text(yaml.safe_dump(stated | {"metrics": [{"explanations": metric}]}))
    videos = REASONING | {
        "d": ("worried", "<emotion>worried</emotion> <reason>He mumbles.</reason>")
    }
    of = write_run(tmp_path / "run", str(task), videos, **REASONS, d="he waits")
    command = command_on(of, str(task), tmp_path / "config.yaml", capsys)
    assert command("reduce")[0] == 0
    run = RunDirectory.at(str(tmp_path / "judge"))
    judge(run, of, asked)
    first = storage.read_bytes(run.path("judged.json"))
    assert sorted(begun.read_text().split()) == ["a", "d"]  # b has no reason, c no label
    found = json.loads(first)
    assert {video: list(of.values()) for video, of in found["scores"].items()} == {
        "a": [4],
        "d": [None],
    }
    assert found["judge"] == str(tmp_path / "model")
    assert "10: the same emotion" in found["rubric"]

    judge(run, of, asked)
    assert storage.read_bytes(run.path("judged.json")) == first
    assert len(begun.read_text().split()) == 2

    (tmp_path / "judged.json").write_bytes(first)
    metric["judged"] = "judged.json"
    task.write_text(yaml.safe_dump(stated | {"metrics": [{"explanations": metric}]}))
    code, text = command("evaluate")
    assert code == 0, text
    assert "1 to 10 by the rubric of explanation_judge (short)" in text
    of_member = metrics(of)["video_level"]["m"]
    assert of_member["judge_score"] == (4 + 1) / 2  # b says nothing
    assert of_member["explanations"] == {"videos": 3, "without": 1, "unread": 1}
    assert "by this rubric" in storage.read_bytes(report(of)).decode()

    with pytest.raises(ConfigError, match="which are no scores"):
        judge(run, of, asked.model_copy(update={"task": "word_groups"}))
