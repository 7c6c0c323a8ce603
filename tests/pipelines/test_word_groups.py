"""Words that a text model groups, through the pools."""

import json
from pathlib import Path

import pytest

from ah_ray import schemas, tables
from ah_ray.errors import ConfigError
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.word_groups import group_words
from ah_ray.toy.text import write_tiny_text
from ah_ray.words.ask import GroupsConfig
from tests.pipelines.scoring import settings

LABELS = {"a": ["happy"], "b": ["calm"], "c": None, "d": ["zany"], "e": ["sad"]}
SAID = {"a": [["hopeful", "sad"], ["happy"]], "b": [["calm"], None], "c": [["sad"], ["bad"]],
        "d": [["sad"], ["sorry"]], "e": [["Shy"], ["bad"]]}  # fmt: skip


def write_run(folder: Path, said: dict[str, list[list[str] | None]]) -> RunDirectory:
    run = RunDirectory.at(str(folder))
    videos = [{"video_id": video, "labels": labels} for video, labels in LABELS.items()]
    tables.write_rows(videos, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    verdicts = [
        {"video_id": video, "members": [{"member": f"m{i}", "labels": labels}
                                        for i, labels in enumerate(of_video)]}
        for video, of_video in said.items()
    ]  # fmt: skip
    tables.write_rows(verdicts, schemas.VERDICTS, run.path("verdicts", "part-0.parquet"))
    return run


def groups(run: RunDirectory) -> dict[str, list[list[str]]]:
    content = json.loads(Path(run.path("groups.json")).read_text())
    assert content["complete"]
    found: dict[str, list[list[str]]] = content["videos"]
    return found


def test_a_video_is_asked_about_when_its_words_change(tmp_path: Path) -> None:
    write_tiny_text(tmp_path / "model", ["glad sad"] * 3, architecture="qwen2_5_text")
    begun = tmp_path / "begun"
    asked = GroupsConfig.model_validate(
        {
            "model": {"path": str(tmp_path / "model"), "architecture": "qwen2_5_text"},
            "score": settings("GroupingEngine", batch_size=2, engine_args={"begun": str(begun)}),
        }
    )
    run, of = RunDirectory.at(str(tmp_path / "groups")), write_run(tmp_path / "run", SAID)
    group_words(run, of, asked)
    first = Path(run.path("groups.json")).read_bytes()
    assert groups(run) == {
        "a": [["happy", "hopeful"], ["sad"]],
        "b": [["calm"]],  # one word alone is not asked about
        "d": [["sad"], ["sorry"], ["zany"]],  # the reply says nothing
        "e": [["bad"], ["sad", "shy"]],
    }  # and nobody knows what is true of c
    assert sorted(begun.read_text().split()) == ["a", "d", "e"]

    group_words(run, of, asked)
    assert Path(run.path("groups.json")).read_bytes() == first
    assert len(begun.read_text().split()) == 3

    write_run(tmp_path / "run", SAID | {"e": [["shy"], ["bad", "brave"]]})
    group_words(run, of, asked)
    assert groups(run)["e"] == [["bad", "brave"], ["sad", "shy"]]
    assert begun.read_text().split()[3:] == ["e"]  # and not the batch of the others

    (tmp_path / "run" / "verdicts" / "part-0.parquet").unlink()
    write_run(tmp_path / "run", {"c": [["sad"], ["bad"]]})
    with pytest.raises(ConfigError, match="no labelled video has a verdict"):
        group_words(run, of, asked)
