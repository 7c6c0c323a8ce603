"""A model with two experts learns in stages, is killed in between, goes on, and answers."""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from ah_ray import schemas
from ah_ray.models.hybrid import QWEN2_5_VL_HYBRID
from ah_ray.models.hybrid_conversion import convert
from ah_ray.toy.demo import make_moods
from ah_ray.toy.moods import MoodsSpec, texts
from ah_ray.toy.vision import write_tiny_vision
from ah_ray.training.parts import pattern
from tests.e2e.helpers import ah_ray, kill_when, rows

STAGES = [
    {"name": "emotion", "trains": ["emotion"], "data": ["{run}/archive/things.jsonl"]},
    {"name": "gate", "trains": ["gate", "language"], "lora": {"dropout": 0}},
]


def hashes(folder: Path) -> dict[str, str]:
    """Of every weight of a checkpoint."""
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "np") as opened:
            for name in opened.keys():  # noqa: SIM118  # it is no mapping
                found[name] = hashlib.sha256(opened.get_tensor(name).tobytes()).hexdigest()
    return found


def differing(before: Path, after: Path) -> set[str]:
    one, other = hashes(before), hashes(after)
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    write_tiny_vision(folder / "bases" / "looks", texts())
    convert(folder / "bases" / "looks", folder / "bases" / "hybrid")
    make_moods(str(folder / "archive" / "faces.csv"), MoodsSpec(12, 4, 2, 8))
    return folder


def test_only_what_a_stage_names_moves_and_a_killed_one_goes_on(run: Path) -> None:
    command = [
        "run", "--config", "jobs/hybrid_demo.yaml", "--run", str(run), "--members", "hybrid",
        "--set", f"recipes.staged.stages={json.dumps(STAGES)}", "--set", "recipes.staged.epochs=2",
        "--set", "train.loaders_per_process=1",
    ]  # fmt: skip
    stage = run / "stages" / "hybrid" / "emotion"
    kill_when([sys.executable, "-m", "ah_ray.cli", *command], (stage / "stage.json").exists)
    shutil.rmtree(run / "lock.json", ignore_errors=True)
    assert not (run / "members" / "hybrid").exists()
    done = ah_ray(*command)
    assert "hybrid, stage emotion: was trained before" in done.stdout
    member = run / "members" / "hybrid"

    def named(*parts: str) -> set[str]:
        every = hashes(run / "bases" / "hybrid")
        return {name for name in every if re.search(pattern(QWEN2_5_VL_HYBRID, parts), name)}

    first = differing(run / "bases" / "hybrid", stage)
    assert first <= named("emotion")
    assert len(first) > 3
    second = differing(stage, member)
    assert second <= named("gate", "language")
    assert second & named("gate")
    assert {name for name in second & named("language") if "self_attn.q_proj" in name}

    card = yaml.safe_load((member / "member.yaml").read_text())
    assert card["weights"] == "full"
    one, two = card["trained"]["stages"]
    assert (one["name"], one["trains"], one["rows"]) == ("emotion", ["emotion"], 8)
    assert one["moved"]["emotion"]["moved"] == len(first)
    assert {part for part, of in one["moved"].items() if of["moved"]} == {"emotion"}
    assert {part for part, of in two["moved"].items() if of["moved"]} == {"gate", "language"}

    answers = rows(run / "predictions", schemas.PREDICTIONS, "member")
    assert len(answers) == 4
    for row in answers:
        gate = dict(row["gate"])
        assert set(gate) == {"general", "emotion"}
        assert sum(gate.values()) == pytest.approx(1)
    assert "Gate: emotion" in (run / "report.html").read_text()

    # Nobody goes on from weights that are not those of the stage.
    weights = stage / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    shutil.rmtree(member)
    refused = ah_ray(*command, check=False)
    assert refused.returncode == 2
    assert "has other weights than hybrid, stage emotion left there" in refused.stdout
