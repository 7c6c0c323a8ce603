"""The system of docs/tasks.md as it stands there, from videos to metrics."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from ah_ray import schemas
from ah_ray.toy.demo import make_cues
from ah_ray.toy.single_cues import CuesSpec
from tests.e2e.helpers import ROOT, ah_ray, rows

PAGE = ROOT / "docs" / "tasks.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Path:
    """The files of the page, and a run with a small archive and the demo's base model."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, text in re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        (folder / name).write_text(text)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["members"] |= yaml.safe_load((folder / "reading.yaml").read_text())
    (folder / "reading_too.yaml").write_text(yaml.safe_dump(config))
    make_cues(str(folder / "run" / "archive" / "videos.csv"), CuesSpec(8, 2, 3))
    shutil.copytree(demo / "base", folder / "run" / "base")
    return folder


def run(folder: Path, command: str, config: str, *more: str, check: bool = True) -> str:
    done = ah_ray(
        command, "--config", str(folder / config), "--run", str(folder / "run"), *more,
        check=check, env=environment(folder),
    )  # fmt: skip
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    import os

    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def metrics(folder: Path) -> dict[str, dict[str, object]]:
    return json.loads((folder / "run" / "metrics.json").read_text())["video_level"]


def test_three_files_of_data_go_from_videos_to_metrics(folder: Path) -> None:
    printed = run(folder, "run", "config.yaml")
    found = metrics(folder)
    assert set(found) == {"tuned", "zero", "again", "ensemble"}
    for values in found.values():
        assert values["n"] + values["undecided"] == 12
        assert set(values["confusion"]) == {"glad", "sad"}
        assert 0 <= values["agreement"] <= 1
    assert "UAR" in printed
    answers = rows(folder / "run" / "predictions", schemas.PREDICTIONS, "member")
    assert {label for row in answers for label in row["labels"]} <= {"glad", "sad"}
    assert all(row["raw_text"] is None for row in answers)

    # Judged by another rule, nothing is asked again.
    task = folder / "mood.yaml"
    task.write_text(task.read_text().replace("{at_least: 2}", '"my_mood:unless_split"'))
    run(folder, "reduce", "config.yaml")
    run(folder, "evaluate", "config.yaml")
    assert rows(folder / "run" / "predictions", schemas.PREDICTIONS, "member") == answers
    verdicts = rows(folder / "run" / "verdicts", schemas.VERDICTS)
    assert all(row["labels"] for row in verdicts)  # three members are never split evenly

    # And a member that reads another one; who is read has no vote.
    printed = run(folder, "run", "reading_too.yaml")
    assert set(metrics(folder)) == {"zero", "again", "second", "ensemble"}
    read = [row for row in rows(folder / "run" / "predictions", schemas.PREDICTIONS, "member")
            if row["member"] == "second"]  # fmt: skip
    assert len(read) == len(answers) / 4  # tuned, zero, again and the prior
    assert all(row["status"] == "ok" for row in read)
