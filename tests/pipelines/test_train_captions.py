"""Training on captions: what is planned, and what is refused; nothing is trained here."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from ah_ray import schemas, storage, tables
from ah_ray.config import RunConfig, load_config
from ah_ray.contents import content_hash
from ah_ray.errors import ConfigError
from ah_ray.evaluation.leaks import LeakError
from ah_ray.members import MEMBER_FILE, SEEN_FILE, write_card
from ah_ray.pipelines.manifest import needed
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.seen import require_up_to_date
from ah_ray.pipelines.status import status
from ah_ray.pipelines.training_plan import Plan, captions, plan_member

TEXT = {
    "name": "captions",
    "answer": {"kind": "text"},
    "prompts": {"describe": {"system": "You see a clip.", "user": "Describe the person."}},
}
RECIPE = {"lora": {}, "learning_rate": 1e-3, "batch_size": 1, "global_batch_size": 1}
CONFIG = {
    "catalog": {"entry": "archive.yaml", "root": "{run}/videos.csv"},
    "task": "cues",
    "model": {"path": "{run}/base"},
    "recipes": {"lora": RECIPE},
    "members": {
        "tuned": {
            "recipe": "lora", "task": "captions.yaml", "prompt": "describe",
            "captions": "{run}/captions",
        },
        "zero": {"prompt": "short"},
    },
    "score": {"splits": ["test"]},
}  # fmt: skip


def load(run: RunDirectory, *overrides: str) -> RunConfig:
    return load_config(storage.join(run.uri, "config.yaml"), run.uri, overrides)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with two videos, a base model and captions of one of the videos."""
    files = {"archive.yaml": {"title": "Small", "reader": "table"}, "captions.yaml": TEXT}
    for name, values in (files | {"config.yaml": CONFIG}).items():
        (tmp_path / name).write_text(yaml.safe_dump(values))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"model_type": "qwen3_omni_moe"}')
    videos = []
    for name, split in (("a", "train"), ("b", "test")):
        (tmp_path / f"{name}.mp4").write_text(f"video {name}")
        facts = {"video_id": name, "uri": f"{tmp_path}/{name}.mp4", "participant_id": f"P{name}"}
        content = content_hash(facts["uri"])
        videos.append(facts | {"split": split, "content": content, "labels": ["smile"]})
    run = RunDirectory.at(str(tmp_path))
    run.write_videos(pa.Table.from_pylist(videos, schema=schemas.VIDEOS))
    write_captions(tmp_path, line(tmp_path), line(tmp_path, captioner="two", caption="Tears."))
    return run


def line(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "clip_id": "c", "video_id": "a", "participant_id": "Pa", "split": "train",
        "source_uri": f"{folder}/a.mp4", "content": content_hash(f"{folder}/a.mp4"),
        "start_s": 0.5, "end_s": 2.5, "captioner": "one", "caption": "A man smiles.",
        **changes,
    }  # fmt: skip


def write_captions(folder: Path, *lines: dict[str, Any]) -> None:
    (folder / "captions").mkdir(exist_ok=True)
    text = "".join(json.dumps(one) + "\n" for one in lines)
    (folder / "captions" / "captions.jsonl").write_text(text)


def planned(run: RunDirectory, *overrides: str) -> Plan:
    config = load(run, *overrides)
    material = captions(run, config, "tuned")
    assert material is not None
    return plan_member(run, config, "tuned", material)


def test_rows_are_captions_as_replies_to_the_question_of_the_member(run: RunDirectory) -> None:
    assert captions(run, load(run), "zero") is None
    plan = planned(run)
    rows = [json.loads(row) for row in plan.rows.splitlines()]
    assert [row["messages"][-1]["content"] for row in rows] == ["A man smiles.", "Tears."]
    assert all("Describe the person." in row["messages"][1]["content"] for row in rows)
    assert all(row["videos"][0].startswith("{run}/a.mp4") for row in rows)
    assert (plan.validation_rows, plan.job.validation) == (None, None)
    assert plan.card.trained["captions_by_captioner"] == {"one": 1, "two": 1}
    assert plan.card.trained["captions"] == {"uri": "captions", "held_back": ["val"]}
    (seen,) = plan.seen.to_pylist()
    assert (seen["video_id"], seen["participant_id"], seen["role"]) == ("a", "Pa", "training")


EXPLAINED = {
    "name": "why", "prompts": {"short": {"system": "You see a clip.", "user": "Which, and why?"}},
    "answer": {"kind": "choice", "options": ["smile", "frown"], "reply": "<a>{answer}</a>",
               "explanation": "<why>{explanation}</why>"},
}  # fmt: skip


def test_who_explains_learns_the_label_and_why(run: RunDirectory) -> None:
    folder = Path(run.uri)
    (folder / "why.yaml").write_text(yaml.safe_dump(EXPLAINED))
    asked = [
        "task=why.yaml",
        "members={tuned: {recipe: lora, prompt: short, captions: '{run}/captions'}}",
    ]
    alone = [*asked, "members.tuned.captions=null"]
    with pytest.raises(ConfigError, match="labels alone would teach tuned to reply without"):
        load(run, *alone)
    write_captions(folder, line(folder, labels=["smile"]))
    (row,) = (json.loads(row) for row in planned(run, *asked).rows.splitlines())
    assert row["messages"][-1]["content"] == "<a>smile</a>\n<why>A man smiles.</why>"
    for labels in (None, ["dull"], ["smile", "frown"]):
        write_captions(folder, line(folder, labels=labels))
        with pytest.raises(ConfigError, match=r"explains the labels .*\n.*one of smile, frown"):
            planned(run, *asked)


def test_captions_of_validation_splits_give_the_loss(run: RunDirectory) -> None:
    folder = Path(run.uri)
    held_back = line(folder, video_id="v", split="val", caption="A child.")
    write_captions(folder, line(folder), held_back)
    plan = planned(run)
    assert plan.rows.count(b"\n") == 1
    assert b"A child." in (plan.validation_rows or b"")
    assert {row["video_id"]: row["role"] for row in plan.seen.to_pylist()} == {
        "a": "training", "v": "validation",
    }  # fmt: skip


def test_other_captions_are_another_training(run: RunDirectory) -> None:
    folder = Path(run.uri)
    before = planned(run).job.store
    assert planned(run).job.store == before
    write_captions(folder, line(folder), line(folder, captioner="two", caption="No tears."))
    assert planned(run).job.store != before


def test_whoever_is_evaluated_is_refused_in_captions_of_any_archive(run: RunDirectory) -> None:
    folder = Path(run.uri)
    copy = {"source_uri": f"{folder}/b.mp4", "content": content_hash(f"{folder}/b.mp4")}
    for changes in (
        {"video_id": "b"},
        {"video_id": "other", "split": None, **copy},
        {"video_id": "other", "participant_id": "pB"},
    ):
        write_captions(folder, line(folder), line(folder, **changes))
        with pytest.raises(LeakError, match=r"captions of 1 of 1 videos that are evaluated"):
            planned(run)


def test_a_video_that_has_changed_since_is_refused(run: RunDirectory) -> None:
    (Path(run.uri) / "a.mp4").write_text("another video")
    with pytest.raises(ConfigError, match=r"a.mp4: is not as it was .*\n.*`ah-ray augment` again"):
        planned(run)


def finish(run: RunDirectory, plan: Plan) -> None:
    uri = run.path("members", "tuned")
    card = plan.card.model_copy(update={"weights": "full"})
    tables.write_table(plan.seen, storage.join(uri, SEEN_FILE))
    storage.write_bytes(storage.join(uri, MEMBER_FILE), write_card(card, uri, run.root))


def test_a_member_of_other_captions_is_stale(run: RunDirectory) -> None:
    folder = Path(run.uri)
    config = load(run)
    finish(run, planned(run))
    run.remember({"members": ["tuned"]})

    def stale() -> int:
        (of_member,) = [one for one in status(run) if one.stage == "train tuned"]
        return of_member.stale

    require_up_to_date(run, config, ["tuned"])
    assert stale() == 0
    lines = [line(folder, captioner="two", caption="Tears."), line(folder)]
    write_captions(folder, *lines)  # in another order
    require_up_to_date(run, config, ["tuned"])
    write_captions(folder, *lines[1:])
    with pytest.raises(ConfigError, match=r"other captions than .* has now: 1 videos differ \(a"):
        require_up_to_date(run, config, ["tuned"])
    assert stale() == 1
    (folder / "captions" / "captions.jsonl").unlink()
    require_up_to_date(run, config, ["tuned"])  # nobody knows
    assert stale() == 0


def test_who_is_trained_on_captions_needs_no_training_clips(run: RunDirectory) -> None:
    assert list(needed(load(run))) == ["scoring"]
    labelled = "members.both={recipe: lora, prompt: short}"
    assert list(needed(load(run, labelled))) == ["training", "scoring"]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("members.tuned.task=null", "captions teach tuned to write text, but it is asked for"),
        ("members.tuned.recipe=null", "tuned is the base model as it is"),
        ("recipes.lora.grpo={}", r"lora \(member tuned\).grpo: captions have no labels"),
        ("recipes.lora.balance=oversample", r"lora \(member tuned\).balance: captions have no"),
        ("recipes.lora.best_by=uar", r"lora \(member tuned\).best_by: captions have no labels"),
        ("members.tuned.captions=null", "has another answer than cues"),
    ],
)
def test_settings_that_do_not_go_with_captions(
    run: RunDirectory, override: str, problem: str
) -> None:
    prompt = ["members.tuned.prompt=short"] if "task" in override else []
    with pytest.raises(ConfigError, match=problem):
        load(run, override, *prompt)
