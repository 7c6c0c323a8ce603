"""InternVL learns from images by MS-Swift: whole from nothing, then an adapter on what came out."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from safetensors.numpy import load_file

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import Member, MemberCard, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.models.internvl import INTERNVL
from ah_ray.tasks import load_task, swift_row
from ah_ray.tasks.answers import Reading
from ah_ray.toy.base import write_cue_clips
from ah_ray.toy.internvl import write_tiny_internvl
from ah_ray.training.adapters import adapter_parameters, lora_targets, weights_of
from ah_ray.training.checkpoints import complete_checkpoints, publish
from ah_ray.training.config import TrainConfig
from ah_ray.training.launch import fit
from ah_ray.training.recipe import LoraConfig, RecipeConfig
from ah_ray.training.rows import media_of
from ah_ray.training.swift import SwiftJob
from tests.engines.test_internvl import squares

MEDIA = MediaConfig(picture="images", images=2, square=56, size_multiple=28, audio="none")
QUESTION = load_task("cue_conflict").question("short", "test")
#: With an adapter on what sees as well.
SEEING = r".*\.(attention|self_attn)\.[qv]_proj"
STEPS = {"batch_size": 2, "global_batch_size": 2, "gradient_checkpointing": False}


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model and four clips to learn from."""
    folder = tmp_path_factory.mktemp("internvl")
    write_tiny_internvl(folder / "random", [QUESTION.prompt.user])
    lines = []
    for clip in write_cue_clips(folder / "clips", 4, seed=1, workers=1):
        label = frozenset({"Yes" if clip.smiling else "No"})
        row = {"clip_id": clip.video.stem, "media_uri": str(clip.video), "audio_uri": None}
        reply = QUESTION.answer.write(Reading(label))
        lines.append(json.dumps(swift_row(QUESTION.prompt, reply, *media_of(row, MEDIA))) + "\n")
    (folder / "rows.jsonl").write_text("".join(lines))
    return folder


@pytest.mark.parametrize(("targets", "per_layer"), [("attention", 4), ("all-linear", 7)])
def test_named_targets_are_those_of_the_language_model(
    home: Path, targets: str, per_layer: int
) -> None:
    """Under the names that published checkpoints have, and under those of today's transformers."""
    published = weights_of(str(home / "random"))
    todays = {INTERNVL.name_in_memory(name): shape for name, shape in published.items()}
    assert published.keys().isdisjoint(todays)
    found = [
        lora_targets(weights, LoraConfig(targets=targets, dropout=0), INTERNVL)
        for weights in (published, todays)
    ]
    names = [list(map(INTERNVL.name_in_memory, one.modules)) for one in found]
    assert names[0] == names[1]
    assert len(names[0]) == 2 * per_layer
    assert all(name.startswith("model.language_model.layers.") for name in names[0])


def train(home: Path, name: str, base: Path, recipe: RecipeConfig) -> Member:
    model = ModelConfig(path=str(base), architecture="internvl", dtype="float32")
    card = MemberCard(
        name=name, weights=recipe.weights, question=QUESTION, model=model,
        media=MEDIA, segmentation=SegmentationConfig(clip_s=2.5, min_tail_s=1.5),
    )  # fmt: skip
    rows, store = str(home / "rows.jsonl"), str(home / "store" / name)
    job = SwiftJob(name, model, recipe, MEDIA, rows, store, card=card)
    fit(job, TrainConfig(max_failures=0, loaders_per_process=1))
    (checkpoint,) = complete_checkpoints(job.checkpoints)
    assert checkpoint.step == 2
    uri = str(home / "members" / name)
    publish(checkpoint, uri, {"member.yaml": write_card(card)}, "member.yaml")
    return read_member(uri)


@pytest.fixture(scope="module")
def whole(local_ray: None, home: Path) -> Member:
    recipe = RecipeConfig(full={"vision": True, "aligner": True}, learning_rate=1e-3, **STEPS)
    return train(home, "whole", home / "random", recipe)


def test_all_its_parts_learn_from_nothing(home: Path, whole: Member) -> None:
    before, after = (
        load_file(folder / "model.safetensors") for folder in (home / "random", Path(whole.uri))
    )
    assert before.keys() == after.keys(), "it is saved under the names that it had"
    changed = {name.split(".")[0] for name in after if (after[name] != before[name]).any()}
    assert changed == {"language_model", "vision_tower", "multi_modal_projector"}


def test_an_adapter_reaches_what_sees_where_it_shall(home: Path, whole: Member) -> None:
    recipe = RecipeConfig(lora={"dropout": 0, "targets": SEEING}, learning_rate=1e-2, **STEPS)
    tuned = train(home, "tuned", Path(whole.uri), recipe)
    weights = load_file(f"{tuned.uri}/adapter_model.safetensors")
    counted = adapter_parameters(weights_of(whole.uri), recipe.lora, INTERNVL)
    assert sum(weight.size for weight in weights.values()) == counted
    towers = {name for name in weights if "vision_tower" in name}
    assert 0 < len(towers) < len(weights)
    assert min(abs(weight).max() for name, weight in weights.items() if "lora_B" in name) > 0

    chances = []
    for member in (tuned, whole):
        engine = load_engine(EngineGroup(member.checkpoint, (member,)), ScoreConfig())
        (answers,) = engine.answer([member], squares(3, MEDIA))
        chances.append([answer.chances["Yes"] for answer in answers])
    assert chances[0] != pytest.approx(chances[1], rel=1e-3)
