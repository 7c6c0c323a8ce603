"""Trainings by MS-Swift itself: adapters on fused experts, and the question asked as in scoring."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.merge import merged_checkpoint
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MemberCard, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.models.qwen3_omni import QWEN3_OMNI
from ah_ray.tasks import load_task, swift_row
from ah_ray.tasks.answers import Reading
from ah_ray.toy.base import write_cue_clips
from ah_ray.toy.model import write_tiny_checkpoint
from ah_ray.training.adapters import adapter_parameters, weights_of
from ah_ray.training.checkpoints import complete_checkpoints, publish
from ah_ray.training.process import STEP, SwiftError, run_swift
from ah_ray.training.recipe import LoraConfig, RecipeConfig
from ah_ray.training.rows import optimizer_steps
from ah_ray.training.swift import Node, Paths, SwiftJob, command, environment
from tests.engines.tiny_models import random_clips

MEDIA = MediaConfig(fps=1, min_frames=2, max_frames=4, min_pixels=1024, max_pixels=8192)
TASK = load_task("cue_conflict")
ROWS = 10
RECIPE = RecipeConfig(
    lora=LoraConfig(targets="all-linear", dropout=0), learning_rate=1e-2, batch_size=2,
    global_batch_size=4, gradient_checkpointing=False,
)  # fmt: skip


def reply_of(label: str) -> str:
    return TASK.answer.write(Reading(frozenset({label})))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    clips = write_cue_clips(tmp_path_factory.mktemp("clips"), ROWS, seed=1)
    return [
        swift_row(
            TASK.prompts["short"],
            reply_of("Yes" if clip.smiling else "No"),
            str(clip.video),
            str(clip.audio),
        )
        for clip in clips
    ]


def train(base: Path, rows: list[dict], folder: Path) -> tuple[SwiftJob, list]:
    """Train the member ``v1`` in ``folder``; what it reported."""
    model = ModelConfig(path=str(base), dtype="float32")
    card = MemberCard(
        name="v1", weights="adapter", task="cue_conflict", prompt="short", model=model,
        media=MEDIA, segmentation=SegmentationConfig(clip_s=2.5, min_tail_s=1.5),
    )  # fmt: skip
    job = SwiftJob("v1", model, RECIPE, MEDIA, "", str(folder), card=card)
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = Path(job.checkpoints)
    output.mkdir()
    paths = Paths(str(base), str(file), None, str(output), str(folder / "tensorboard"), None)
    records: list = []
    run_swift(
        command(job, Node(), paths), environment(job, Node(), paths), folder / "swift.log",
        output / "logging.jsonl", records.append,
    )  # fmt: skip
    return job, records


def test_experts_get_adapters_that_are_scored_and_merged(
    base: Path, rows: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AH_RAY_CACHE", str(tmp_path / "cache"))
    job, records = train(base, rows, tmp_path)
    assert records[-1][STEP].split("/")[1] == str(optimizer_steps(ROWS, RECIPE, 1)) == "3"
    assert job.card is not None
    uri = str(tmp_path / "members" / "v1")
    (checkpoint,) = complete_checkpoints(job.checkpoints)
    publish(checkpoint, uri, {"member.yaml": write_card(job.card)}, "member.yaml")
    weights = load_file(f"{uri}/adapter_model.safetensors")
    assert sum(w.size for w in weights.values()) == adapter_parameters(
        weights_of(str(base)), RECIPE.lora, QWEN3_OMNI
    )
    assert not [name for name in weights if "audio_tower" in name or "visual" in name]
    parts = ("experts.lora_B", "experts.base_layer.lora_B", "mlp.gate.lora_B", "q_proj.lora_B")
    for part in parts:
        moved = [abs(w).max() for name, w in weights.items() if part in name]
        assert moved
        assert min(moved) > 0
    settings = json.loads(Path(uri, "adapter_config.json").read_text())
    assert set(settings["target_parameters"]) == {"gate_up_proj", "down_proj", "gate.weight"}

    member = read_member(uri)
    clips = random_clips(3)
    (ours,) = engine_answers(member, clips)
    merged = merged_checkpoint(member)
    (merged / "member.yaml").write_bytes(
        write_card(member.card.model_copy(update={"name": merged.name, "weights": "full"}))
    )
    (whole,) = engine_answers(read_member(str(merged)), clips)
    untuned = member.card.model_copy(update={"name": base.name, "weights": "full"})
    (base / "member.yaml").write_bytes(write_card(untuned))
    (plain,) = engine_answers(read_member(str(base)), clips)
    (base / "member.yaml").unlink()
    torch.testing.assert_close(ours, whole, rtol=0, atol=1e-5)
    assert (ours - plain).abs().max() > 1e-3


def engine_answers(member, clips) -> list[torch.Tensor]:
    engine = load_engine(EngineGroup(member.checkpoint, (member,)), ScoreConfig())
    return [
        torch.tensor([answer.chances["Yes"] for answer in answers])
        for answers in engine.answer([member], clips)
    ]


def test_a_question_in_other_words_than_scoring_asks_stops_the_training(
    base: Path, rows: list[dict], tmp_path: Path
) -> None:
    asked = rows[0]["messages"]
    other = [asked[0], asked[1] | {"content": asked[1]["content"] + "?"}, asked[2]]
    with pytest.raises(SwiftError) as caught:
        train(base, [rows[0] | {"messages": other}, *rows[1:]], tmp_path)
    assert "training and scoring would ask in different words: token" in str(caught.value)
    assert "in MS-Swift and '<|im_end|>'" in str(caught.value)
    assert not list(tmp_path.glob("checkpoints/checkpoint-*"))
