"""Rules fitted on a run's validation videos: through the command line, on tables."""

import json

import pytest
import yaml

from ah_ray import lineage, schemas, storage, tables
from ah_ray.cli import main
from ah_ray.engines.config import ScoreConfig
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MEMBER_FILE, MemberCard, member_fingerprint, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.asking import asked_how
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.tasks import load_task

MEMBERS = ("v1", "v2")
# P(Yes) of every clip: of validation and test alike, Yes is from .3 on.
VIDEOS = {"a": ("val", "Yes", 0.35), "b": ("val", "No", 0.2), "c": ("val", "Yes", 0.4),
          "d": ("val", "No", 0.1), "e": ("test", "Yes", 0.45), "f": ("test", "No", 0.15),
          "g": ("train", "Yes", 0.9)}  # fmt: skip
ASKED = asked_how(ScoreConfig())


@pytest.fixture
def task(tmp_path):
    """The task of the demo, judged by mean chances."""
    shown = load_task("cue_conflict")
    text = {
        "name": "own", "answer": shown.answer.model_dump(mode="json"),
        "rules": {"clips": {"mean": {}}, "members": "most"}, "metrics": ["binary"],
        "prompts": {"short": {"system": "Look.", "user": "Is it there?"}},
    }  # fmt: skip
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(text))
    return file


@pytest.fixture
def run(tmp_path, task) -> RunDirectory:
    """A run of two members whose chances are too low."""
    run = RunDirectory.at(str(tmp_path / "run"))
    run.remember({"asked": ASKED})
    write_videos(run)
    clips = [
        {"clip_id": f"{name}{k}", "video_id": name, "split": split, "start_s": 2.5 * k,
         "end_s": 2.5 * k + 2.5}
        for name, (split, _, _) in VIDEOS.items()
        if split != "train"
        for k in (0, 1)
    ]  # fmt: skip
    tables.write_rows(clips, schemas.CLIPS, storage.join(run.clips_path(SCORING), "p.parquet"))
    for name in MEMBERS:
        folder = tmp_path / "run" / "members" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"w")
        card = MemberCard(
            name=name, weights="full", question=load_task(str(task)).question("short", "here"),
            model=ModelConfig(path="base"), media=MediaConfig(), segmentation=SegmentationConfig(),
        )  # fmt: skip
        (folder / MEMBER_FILE).write_bytes(write_card(card))
        answer(run, name)
    return run


def write_videos(run: RunDirectory, **labels: str) -> None:
    rows = [
        {"video_id": name, "uri": f"/archive/{name}.mp4", "participant_id": name, "split": split,
         "content": f"c{name}", "labels": [labels.get(name, label)]}
        for name, (split, label, _) in VIDEOS.items()
    ]  # fmt: skip
    tables.write_rows(rows, schemas.VIDEOS, run.path("videos", "part-0.parquet"))


def answer(run: RunDirectory, name: str, **chances: float) -> None:
    member = member_fingerprint(read_member(run.path("members", name)))
    rows = []
    for clip in tables.read_table(run.clips_path(SCORING), schemas.CLIPS).to_pylist():
        video = clip["video_id"]
        yes = chances.get(video, VIDEOS[video][2])
        made = lineage.answer_made_from(member, ASKED, clip)
        rows.append(
            {"clip_id": clip["clip_id"], "video_id": video, "status": "ok", "made_from": made,
             "labels": ["Yes" if yes >= 0.5 else "No"], "chances": [("Yes", yes), ("No", 1 - yes)]}
        )  # fmt: skip
    path = storage.join(run.predictions_path(name), "p.parquet")
    tables.write_rows(rows, schemas.PREDICTIONS, path)


@pytest.fixture
def ah_ray(run, task, tmp_path, capsys):
    """Runs a command on the run; gives its exit code and what it printed."""
    config = {
        "catalog": {"entry": "data_catalog/synthetic.yaml", "root": "/archive"},
        "task": str(task), "model": {"path": "base"},
        "members": {name: {"prompt": "short"} for name in MEMBERS},
        "train": {"splits": ["train"], "validation_splits": ["val"]},
        "score": {"splits": ["test"]}, "evaluate": {"draws": 1000},
    }  # fmt: skip
    file = tmp_path / "config.yaml"

    def command(name: str, *arguments: str, **changes) -> tuple[int, str]:
        file.write_text(yaml.safe_dump(config | changes))
        try:
            main([name, "--config", str(file), "--run", run.uri, *arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out + err

    return command


def said(run: RunDirectory) -> dict[str, list[str]]:
    return {row["video_id"]: row["labels"] for row in run.verdicts().to_pylist()}


def test_reduce_goes_by_what_was_tuned(ah_ray, run):
    assert ah_ray("reduce")[0] == 0
    assert set(map(tuple, said(run).values())) == {("No",)}
    code, text = ah_ray("tune")
    assert code == 0, text
    assert "tuned on 4 videos of val" in text
    on = run.settings()["tuned"]["on"]
    assert (on["splits"], on["videos"], on["metric"]) == (["val"], 4, "macro_f1")
    assert (on["before"], on["after"]) == (pytest.approx(1 / 3, abs=1e-6), 1.0)
    code, text = ah_ray("evaluate")  # the verdicts are those of other rules now
    assert (code, "not made from" in text) == (2, True), text
    code, text = ah_ray("reduce")
    assert "tuned on 4 videos of val" in text
    assert said(run) == {
        "a": ["Yes"],
        "b": ["No"],
        "c": ["Yes"],
        "d": ["No"],
        "e": ["Yes"],
        "f": ["No"],
    }
    code, text = ah_ray("evaluate")
    assert code == 0, text
    metrics = json.loads(storage.read_bytes(run.path("metrics.json")))
    assert metrics["video_level"]["ensemble"]["accuracy"] == 1.0
    assert 0.2 < metrics["task"]["rules"]["clips"]["mean"]["threshold"] < 0.35
    assert ah_ray("tune", "--forget")[0] == 0
    assert ah_ray("reduce")[0] == 0
    assert set(map(tuple, said(run).values())) == {("No",)}


@pytest.mark.parametrize(
    ("arguments", "changes", "problem"),
    [
        (["--split", "test"], {}, "fitted on the test split"),
        (["--split", "train"], {}, "members are trained on train"),
        ([], {"train": {"splits": ["train"], "validation_splits": []}}, "no validation split"),
        (["--split", "dev"], {}, "no video of dev has a label and clips"),
        (["--metric", "beauty"], {}, "there is no figure 'beauty'"),
        ([], {"task": "cue_conflict"}, "no threshold and no weights"),
    ],
)
def test_what_is_refused(ah_ray, run, arguments, changes, problem):
    code, text = ah_ray("tune", *arguments, **changes)
    assert (code, problem in " ".join(text.split())) == (2, True), text
    assert "tuned" not in run.settings()


def test_without_labels_there_is_nothing_to_tune_on(ah_ray, run):
    rows = run.videos().to_pylist()
    unlabelled = [row | {"labels": None} for row in rows]
    tables.write_rows(unlabelled, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    code, text = ah_ray("tune")
    assert (code, "no video of val has a label" in text) == (2, True), text


def test_without_answers_neither(ah_ray, run):
    for name in MEMBERS:
        storage.remove(run.predictions_path(name))
    code, text = ah_ray("tune")
    assert (code, "4 of 4 videos of val have no answer" in " ".join(text.split())) == (2, True)


@pytest.mark.parametrize("change", ["answers", "labels"])
def test_what_was_tuned_on_something_else_is_refused(ah_ray, run, change):
    assert ah_ray("tune")[0] == 0
    if change == "answers":
        answer(run, "v1", a=0.36)
    else:
        write_videos(run, a="No")
    code, text = ah_ray("reduce")
    assert (code, "fitted on other answers, members or labels" in " ".join(text.split())) == (
        2,
        True,
    )
    assert ah_ray("tune")[0] == 0
    assert ah_ray("reduce")[0] == 0


def test_answers_to_other_splits_may_change(ah_ray, run):
    assert ah_ray("tune")[0] == 0
    answer(run, "v1", e=0.1)
    assert ah_ray("reduce")[0] == 0


def test_what_was_tuned_for_other_policies_is_not_used(ah_ray, run):
    assert ah_ray("tune")[0] == 0
    code, text = ah_ray("reduce", reduce={"missing": "No"})
    assert (code, "is not used" in " ".join(text.split())) == (0, True), text
    assert set(map(tuple, said(run).values())) == {("No",)}


def test_nobody_is_judged_by_rules_that_were_tuned_on_them(ah_ray, run):
    assert ah_ray("tune")[0] == 0
    assert ah_ray("reduce")[0] == 0
    code, text = ah_ray("evaluate", score={"splits": ["val", "test"]})
    assert (code, "the rules were tuned on val" in text) == (2, True), text
