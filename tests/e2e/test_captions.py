"""From an archive to captions, and from captions to a member that writes like them."""

import json
import os
from pathlib import Path

import pytest
import yaml

from ah_ray import schemas
from ah_ray.members import read_member, read_seen
from ah_ray.toy.archive import ArchiveSpec, write_archive
from ah_ray.toy.model import write_tiny_checkpoint
from tests.e2e.helpers import ROOT, ah_ray, rows

MEDIA = {"fps": 1, "min_frames": 2, "max_frames": 4, "min_pixels": 1024, "max_pixels": 8192}
TEXT = {
    "name": "captions",
    "answer": {"kind": "text"},
    "prompts": {"describe": {"system": "You see a clip.", "user": "Describe the person."}},
}
POOLS = {"batch_size": 8, "cpus_per_actor": 1, "cpus_per_decoder": 0.5}
LORA = {
    "lora": {}, "learning_rate": 1e-3, "batch_size": 4, "global_batch_size": 4,
    "gradient_checkpointing": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive, an untrained model, and a config for each of the two runs."""
    folder = tmp_path_factory.mktemp("captions")
    write_archive(folder / "archive", ArchiveSpec(3, 1, 1, questions=1, max_seconds=10))
    write_tiny_checkpoint(folder / "base")
    (folder / "task.yaml").write_text(yaml.safe_dump(TEXT))
    shared = {
        "catalog": {"entry": "data_catalog/synthetic.yaml", "root": str(folder / "archive")},
        "model": {"path": str(folder / "base"), "dtype": "float32"},
        "media": MEDIA,
        "segmentation": {"clip_s": 2.5, "min_tail_s": 1.5},
    }
    captions = shared | {
        "task": "task.yaml",
        "members": {name: {"prompt": "describe"} for name in ("one", "other", "plain")},
        "score": POOLS | {"engine": "tests.pipelines.light_engines:CaptioningEngine"},
        "augment": {
            "splits": ["train", "val"],
            "filters": ["refusal", "mentions_person", {"length": {"least": 4}}],
            "near_duplicates": 0.95,
        },
    }
    training = shared | {
        "task": "cue_conflict",
        "recipes": {"lora": LORA},
        "members": {
            "describer": {
                "recipe": "lora", "task": "task.yaml", "prompt": "describe",
                "captions": "{run}/../captions",
            },
            "zero": {"prompt": "short"},
        },
        "score": POOLS,
    }  # fmt: skip
    (folder / "captions.yaml").write_text(yaml.safe_dump(captions))
    (folder / "training.yaml").write_text(yaml.safe_dump(training))
    return folder


def test_a_member_learns_from_the_captions_of_others(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(command: str, name: str) -> str:
        config, directory = str(folder / f"{name}.yaml"), str(folder / name)
        return ah_ray(command, "--config", config, "--run", directory, env=environment).stdout

    printed = run("augment", "captions")
    counts = json.loads((folder / "captions" / "captions.json").read_text())
    assert counts["captions"] == counts["kept"] + sum(counts["dropped"].values())
    assert f"{counts['captions']} captions: {counts['kept']} kept" in printed
    kept = [
        json.loads(line)
        for line in (folder / "captions" / "captions.jsonl").read_text().splitlines()
    ]
    assert {row["split"] for row in kept} == {"train", "val"}

    run("run", "training")
    member = read_member(str(folder / "training" / "members" / "describer"))
    taught = [row for row in kept if row["split"] == "train"]
    assert member.card.trained["clips"] == len(taught)
    assert member.card.trained["checkpoint"]["eval_loss"] > 0
    seen = read_seen(member)
    assert seen is not None
    assert {(row["video_id"], row["role"]) for row in seen.to_pylist()} == {
        (row["video_id"], {"train": "training", "val": "validation"}[row["split"]]) for row in kept
    }
    answers = rows(folder / "training" / "predictions", schemas.PREDICTIONS, "member")
    written = [row for row in answers if row["member"] == "describer"]
    assert len(written) == len(answers) / 2
    assert all(row["labels"] is None or row["labels"] == [] for row in written)
    assert not (folder / "training" / "media").exists(), "captions need no clips of their own"
