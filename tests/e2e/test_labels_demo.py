"""The labels demo end to end, on few clips and with models that have learned nothing.

That its models learn is measured by `benchmarks/labels.py`.
"""

import json
from pathlib import Path

import pytest
import yaml

from ah_ray.toy.bases import BASES
from ah_ray.toy.emotions import EmotionsSpec, write_emotions
from tests.e2e.helpers import ROOT, ah_ray, result_rows

NAME = "labels_demo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive, untrained base models, and the configs of the demo with fewer steps."""
    folder = tmp_path_factory.mktemp("labels")
    write_emotions(folder / "run" / "archive", EmotionsSpec(train=8, val=1, test=4), workers=1)
    for name in ("general", "captioner_1", "captioner_2", "trimodal", "namer"):
        base = BASES[name]
        begin = base.begin if callable(base.begin) else BASES[base.begin].begin
        assert callable(begin)
        begin(folder / "run" / "bases" / name)
    demo, captions = (
        yaml.safe_load((ROOT / "jobs" / f"{name}.yaml").read_text())
        for name in (NAME, f"{NAME}_captions")
    )
    demo["recipes"]["captions"] |= {"epochs": 1, "batch_size": 4, "global_batch_size": 4}
    captions["augment"]["filters"] = []
    for config, name in ((demo, NAME), (captions, f"{NAME}_captions")):
        for member in config["members"].values():
            member["max_new_tokens"] = 1  # of what such models write, one token is a word
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_members_of_three_architectures_are_judged_in_all_combinations(folder: Path) -> None:
    run, config = folder / "run", str(folder / f"{NAME}.yaml")
    printed = ah_ray("demo", "--config", config, "--run", str(run)).stdout
    counts = json.loads((run / "captioning" / "captions.json").read_text())
    assert counts["captions"] == counts["kept"] == 16  # of eight clips by two captioners
    report = json.loads((run / "metrics.json").read_text())
    members = {"visual", "tuned", "trimodal"}
    assert set(report["video_level"]) == {*members, "ensemble"}
    assert len(report["combinations"]) == 7
    for name, values in report["combinations"].items():
        assert set(name.split("+")) <= members
        assert {"groups_precision", "groups_recall", "groups_mean"} <= values.keys()
        assert name in printed
    assert report["counts"]["videos"] == 4
    assert set(report["counts"]["predictions"]) == members
    assert report["by"]["groups"]["groups"] == "ah_ray.toy.emotions:synonyms"
    answers = result_rows(run)
    described = [row for row in answers["predictions"] if row["member"] == "describer"]
    assert len(described) == 4
    assert all(row["text"] for row in described)

    before = {path: path.stat().st_mtime_ns for path in (run / "captioning").rglob("*.jsonl")}
    again = ah_ray("demo", "--config", config, "--run", str(run)).stdout
    assert "0 members to do" in again
    assert "0 clips to do" in again
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert result_rows(run) == answers
