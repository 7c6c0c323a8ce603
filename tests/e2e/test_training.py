"""What training leaves in a run, and what it says before it starts."""

import json
import shutil
from pathlib import Path

import yaml

from ah_ray import schemas, tables
from ah_ray.tasks import load_task
from ah_ray.toy.archive import ArchiveSpec
from tests.e2e.helpers import ah_ray


def test_a_member_states_how_it_came_about(demo: Path) -> None:
    card = yaml.safe_load((demo / "members" / "v3" / "member.yaml").read_text())
    trained, chosen = card["trained"], card["trained"]["checkpoint"]
    assert trained["recipe"]["epochs"] == 3
    assert trained["rows"] == trained["clips"] == sum(trained["clips_by_label"].values())
    assert trained["participants"] == ArchiveSpec().train_participants
    asked = load_task("cue_conflict").question("short", "test")
    assert card["question"] == asked.model_dump(mode="json")
    assert card["media"]["audio"] == "separate"
    assert {"ms-swift", "torch", "transformers"} <= set(trained["versions"])
    assert trained["git_commit"]
    assert chosen["eval_loss"] < 0.3
    assert chosen["validation"]["n"] == 16
    assert chosen["validation"]["macro_f1"] > 0.8
    assert chosen in trained["checkpoints"]
    names = {path.name for path in (demo / "members" / "v3").iterdir()}
    assert not {"optimizer.pt", "training_args.bin", "complete.json"} & names


def test_validation_participants_are_nobody_else(demo: Path) -> None:
    splits = {"train": set(), "val": set(), "test": set()}
    for video in tables.read_table(str(demo / "videos"), schemas.VIDEOS).to_pylist():
        splits[video["split"]].add(video["participant_id"])
    clips = tables.read_table(
        str(demo / "validation" / "clips"), schemas.CLIPS, "purpose"
    ).to_pylist()
    assert {clip["participant_id"] for clip in clips} == splits["val"]
    scored = tables.read_table(
        str(demo / "validation" / "predictions"), schemas.PREDICTIONS, "member"
    ).to_pylist()
    blind = {clip["clip_id"] for clip in clips if clip["purpose"] == "scoring"}
    assert {row["clip_id"] for row in scored} == blind
    assert len({row["member"] for row in scored}) == 3


def test_training_leaves_its_summary_and_its_curves(demo: Path) -> None:
    said = (demo / "stdout.txt").read_text()
    assert "members on validation participants" in said
    assert "v3: validation loss" in said
    assert "tokens/s" in said
    for name in ("v1", "v2", "v3"):
        (training,) = (path for path in (demo / "train" / name).iterdir() if path.is_dir())
        assert not (training / "checkpoints").exists()
        assert any((training / "tensorboard").glob("events.*"))
        finished = json.loads((training / "finished.json").read_text())
        step, of = finished["global_step/max_steps"].split("/")
        assert step == of


def test_a_dry_run_prints_every_node_and_starts_nothing(copy_of_demo: Path) -> None:
    shutil.rmtree(copy_of_demo / "members" / "v1")
    before = sorted(copy_of_demo.rglob("*"))
    done = ah_ray(
        "train", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo),
        "--dry-run", "--set", "train.nodes=2", "--set", "model.attention=flash_attention_2",
        "--set", "members={v1: {recipe: lora, prompt: short, overrides: {batch_size: 2}}}",
    )  # fmt: skip
    assert sorted(copy_of_demo.rglob("*")) == before
    first, second = done.stdout.split("# v1, node ")[1:]
    for rank, text in enumerate((first, second)):
        assert text.startswith(f"{rank} of 2")
        assert f"NODE_RANK={rank} " in text
        assert "NNODES=2 " in text
        assert "  swift sft \\\n" in text
        assert "--tuner_type lora" in text
        assert "--attn_impl sdpa" in text
    assert "sdpa is taken instead" in done.stdout
    assert "4 clips per optimizer step (1 passes of 2 x 2)" in " ".join(done.stdout.split())
    assert "parameters that are trained: 10,240 (lora)" in done.stdout
    assert "v2" not in done.stdout


def test_a_member_of_other_settings_is_refused(copy_of_demo: Path) -> None:
    shutil.rmtree(copy_of_demo / "members" / "v1")
    done = ah_ray(
        "train", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo),
        "--set", "recipes.full.learning_rate=0.5", check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "learning_rate: is 0.5 in the run config, but v2 was trained with 0.001" in done.stdout
    assert not (copy_of_demo / "members" / "v1").exists()


def test_a_base_model_that_is_not_there_is_told_before_anything_starts(copy_of_demo: Path) -> None:
    done = ah_ray(
        "train", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo),
        "--set", "model.path=/nowhere", "--set", "members={v4: {recipe: lora, prompt: short}}",
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "model.path: there is no checkpoint at /nowhere" in done.stdout
    assert not (copy_of_demo / "train" / "v4").exists()


def test_a_member_is_trained_by_rewards(copy_of_demo: Path) -> None:
    member = "members={v4: {recipe: grpo, prompt: short, overrides: {epochs: 0.01}}}"
    ah_ray(
        "train", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo),
        "--set", member, "--set", "train.validation_splits=[]",
    )  # fmt: skip
    (training,) = (path for path in (copy_of_demo / "train" / "v4").iterdir() if path.is_dir())
    finished = json.loads((training / "finished.json").read_text())
    assert 0 < finished["reward"] <= 1  # the base model writes replies that can be read
    card = yaml.safe_load((copy_of_demo / "members" / "v4" / "member.yaml").read_text())
    assert card["weights"] == "adapter"
    assert card["trained"]["recipe"]["grpo"]["generations"] == 8
