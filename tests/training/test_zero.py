"""DeepSpeed's ZeRO 3 for real, on two ranks with CPUs: what GPUs would run, but for the device."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from safetensors import safe_open

from ah_ray import storage
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MemberCard
from ah_ray.models.config import ModelConfig
from ah_ray.tasks import Prompt, load_task
from ah_ray.toy.base import SMILE_QUESTION, SYSTEM_TEXT, cue_rows, write_cue_clips
from ah_ray.toy.model import write_tiny_checkpoint
from ah_ray.training.checkpoints import Checkpoint, complete_checkpoints, delete, publish
from ah_ray.training.config import TrainConfig
from ah_ray.training.launch import fit
from ah_ray.training.process import STEP
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.swift import SwiftJob

MEDIA = MediaConfig(fps=1, min_frames=2, max_frames=4, min_pixels=1024, max_pixels=8192)
EXPERTS = {"lora": {"targets": "all-linear", "dropout": 0}}
FULL = {"full": {"vision": True, "aligner": True}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zero")
    write_tiny_checkpoint(folder / "model")
    rows = cue_rows(write_cue_clips(folder / "clips", 4, seed=1))[:8]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def two_cores() -> Iterator[None]:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def job(data: Path, store: Path, **recipe: object) -> SwiftJob:
    values = {
        "learning_rate": 1e-3, "batch_size": 2, "global_batch_size": 4, "epochs": 2,
        "gradient_checkpointing": True, "log_every_steps": 1, "deepspeed": "zero3",
    }  # fmt: skip
    return SwiftJob(
        name="zero",
        model=ModelConfig(path=str(data / "model"), dtype="bfloat16"),
        recipe=RecipeConfig.model_validate(values | recipe),
        media=MEDIA,
        rows=str(data / "rows.jsonl"),
        store=str(store),
        validation=None if "grpo" in recipe else str(data / "rows.jsonl"),
        epoch_steps=2,
    )


def tensors(file: Path) -> dict[str, np.ndarray]:
    with safe_open(file, "pt") as weights:
        return {name: weights.get_tensor(name).float().numpy() for name in weights.keys()}  # noqa: SIM118


def run(training: SwiftJob) -> list[Checkpoint]:
    """Train on two ranks, and give what there is after each epoch."""
    fit(training, TrainConfig(processes_per_node=2, cpus_per_node=2, loaders_per_process=1))
    return complete_checkpoints(training.checkpoints)


def test_two_ranks_divide_a_training_and_leave_whole_weights(
    data: Path, two_cores: None, tmp_path: Path
) -> None:
    training = job(data, tmp_path / "store", **FULL)
    *_, last = run(training)
    assert last.step == 4
    records = Path(training.checkpoints, "logging.jsonl").read_text().splitlines()
    validated = [record[STEP] for line in records if "eval_loss" in (record := json.loads(line))]
    assert validated == ["2/4", "4/4"], "each checkpoint once"
    shards = list(Path(last.uri).rglob("*_optim_states.pt"))
    assert len(shards) == 2, "each rank keeps its share of the optimizer's state"
    publish(last, str(tmp_path / "member"), {"card": b"x"}, marker="card")
    assert not list((tmp_path / "member").rglob("*_states.pt"))
    before = tensors(data / "model" / "model.safetensors")
    after = tensors(tmp_path / "member" / "model.safetensors")
    assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in before.items()}
    assert max(np.abs(after[name] - before[name]).max() for name in before) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("how", [FULL, EXPERTS], ids=["full", "lora"])
def test_a_training_that_is_resumed_ends_as_one_that_was_not(
    data: Path, two_cores: None, tmp_path: Path, how: dict[str, object]
) -> None:
    training = job(data, tmp_path / "store", **how)
    _, second = run(training)
    delete(second)  # as if it had been killed while it wrote that
    storage.remove(training.finished)
    again = run(training)
    assert [checkpoint.step for checkpoint in again] == [2, 4]
    notes = json.loads(storage.read_bytes(training.progress))["notes"]
    assert notes == ["goes on from step 2"]
    assert again[1].loss == pytest.approx(second.loss, rel=0.02)  # bfloat16


@pytest.mark.slow
def test_replies_are_rewarded(data: Path, two_cores: None, tmp_path: Path) -> None:
    grpo = {"grpo": {"generations": 2, "max_reply_tokens": 4}, "epochs": 1}
    training = job(data, tmp_path / "store", **EXPERTS, **grpo)
    lines = Path(training.rows).read_text().splitlines()
    rows = [row for line in lines if SMILE_QUESTION in str(row := json.loads(line))][:2] * 2
    for row in rows:
        row["solution"] = ["Yes" if "Yes" in row["messages"][-1]["content"] else "No"]
    smiles = tmp_path / "smiles.jsonl"
    smiles.write_text("".join(json.dumps(row) + "\n" for row in rows))
    question = load_task("cue_conflict").question("short", "prompt")
    asked = Prompt(system=SYSTEM_TEXT, user=SMILE_QUESTION)
    question = question.model_copy(update={"prompt": asked})
    card = MemberCard(
        name="zero", weights="adapter", question=question, model=training.model, media=MEDIA,
        segmentation=SegmentationConfig(),
    )  # fmt: skip
    checkpoints = run(replace(training, card=card, rows=str(smiles), epoch_steps=2))
    adapter = tensors(Path(checkpoints[-1].uri) / "adapter_model.safetensors")
    assert any("experts" in name for name in adapter)
