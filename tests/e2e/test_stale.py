"""An archive or a member that changes after a run was made: done again, or refused by name."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.helpers import ah_ray, result_rows

SPLITS = Path("archive", "dataset-splits", "video-level", "BAH_DB", "split-0")


def stage(name: str, run: Path, code: int = 0) -> str:
    done = ah_ray(name, "--config", "jobs/demo.yaml", "--run", str(run), check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def status(run: Path) -> dict[str, list[int]]:
    """Done, stale, to do and lost of every line that `ah-ray status` prints, by stage."""
    said = ah_ray("status", "--run", str(run), env=os.environ | {"COLUMNS": "200"}).stdout
    lines = re.findall(r"^ *(\S+(?: \S+)?) +\S+ +(\d+) +(\d+) +(\d+) +(\d+)", said, re.MULTILINE)
    return {stage: [int(number) for number in numbers] for stage, *numbers in lines}


def test_a_member_with_other_weights_answers_again(copy_of_demo: Path) -> None:
    before = result_rows(copy_of_demo)["predictions"]
    clips = sum(row["member"] == "v3" for row in before)
    assert status(copy_of_demo)["score v3"] == [clips, 0, 0, 0]
    # As after a training that taught it nothing.
    for weights in (copy_of_demo / "base").glob("*.safetensors"):
        shutil.copy(weights, copy_of_demo / "members" / "v3")
    assert status(copy_of_demo)["score v3"] == [0, clips, clips, 0]
    assert "48 verdicts are not made" in ah_ray("results", "--run", str(copy_of_demo)).stdout
    assert "run `ah-ray score` and `ah-ray reduce`" in stage("evaluate", copy_of_demo, code=2)
    assert not (copy_of_demo / "metrics.json").exists()
    said = stage("score", copy_of_demo)
    assert f"score v3: {clips} clips to do" in said
    assert f"{clips} predictions are stale" in said
    assert "score v1: 0 clips to do" in said
    stage("evaluate", copy_of_demo, code=2)
    stage("reduce", copy_of_demo)
    stage("evaluate", copy_of_demo)
    level = json.loads((copy_of_demo / "metrics.json").read_text())["video_level"]
    assert level["v3"]["accuracy"] < 0.8
    assert level["v1"]["accuracy"] >= 0.9
    after = result_rows(copy_of_demo)["predictions"]
    others = [[row for row in rows if row["member"] != "v3"] for rows in (before, after)]
    assert others[0] == others[1]


def test_people_who_move_from_training_to_test_are_not_evaluated(
    copy_of_demo: Path, tmp_path: Path
) -> None:
    splits, kept = copy_of_demo / SPLITS, tmp_path / "kept"
    shutil.copytree(splits, kept)
    report = (copy_of_demo / "metrics.json").read_bytes()
    lines = (splits / "train.txt").read_text().splitlines(keepends=True)
    moving = lines[0].split("/")[1]
    of_them = [line for line in lines if line.split("/")[1] == moving]
    (splits / "train.txt").write_text("".join(line for line in lines if line not in of_them))
    with (splits / "test.txt").open("a") as file:
        file.writelines(of_them)
    stage("catalog", copy_of_demo)
    assert "are not in the manifest as they are now" in stage("score", copy_of_demo, code=2)
    assert f"prepare scoring: {len(of_them)} videos to do" in stage("prepare", copy_of_demo)
    for name in ("train", "score", "evaluate"):
        assert f"was trained on {len(of_them)} of the" in stage(name, copy_of_demo, code=1)
    assert not (copy_of_demo / "metrics.json").exists()
    # The archive is mended: nothing was lost in the meantime.
    shutil.copytree(kept, splits, dirs_exist_ok=True)
    stage("catalog", copy_of_demo)
    assert f"prepare training: {len(of_them)} videos to do" in stage("prepare", copy_of_demo)
    assert "0 members to do" in stage("train", copy_of_demo)
    assert stage("score", copy_of_demo).count(": 0 clips to do") == 4
    stage("evaluate", copy_of_demo)
    assert json.loads((copy_of_demo / "metrics.json").read_bytes()) == json.loads(report)


def test_a_label_that_is_mended_after_training_is_not_overlooked(copy_of_demo: Path) -> None:
    path = copy_of_demo / SPLITS / "train.txt"
    lines = path.read_text().splitlines(keepends=True)
    wrong = next(n for n, line in enumerate(lines) if line.split(",")[1] == "1")
    video, _, rest = lines[wrong].split(",", 2)
    lines[wrong] = f"{video},0,{rest}"
    path.write_text("".join(lines))
    stage("catalog", copy_of_demo)
    assert "1 videos have changed since" in stage("prepare", copy_of_demo)
    said = stage("train", copy_of_demo, code=2)
    assert "1 videos differ" in said
    assert "members/v1 to train it again" in said
    assert status(copy_of_demo)["train v1"] == [0, 1, 0, 0]


@pytest.mark.parametrize("name", ["train", "score"])
def test_a_copy_of_a_run_is_a_run(copy_of_demo: Path, name: str) -> None:
    said = stage(name, copy_of_demo)
    assert "0 members to do" in said or said.count(": 0 clips to do") == 4


def test_nothing_in_a_run_names_the_place_where_it_was_made(demo: Path) -> None:
    """But for what is for people to read: a training's logs and curves, and the report."""
    place = str(demo).encode()
    files = [path for path in demo.rglob("*") if path.is_file() and path.name != "stdout.txt"]
    naming = {path.relative_to(demo) for path in files if place in path.read_bytes()}
    assert {path.parts[0] for path in naming} <= {"train", "report.html"}
    assert all(path.parts[2:3] != ("checkpoints",) for path in naming)
