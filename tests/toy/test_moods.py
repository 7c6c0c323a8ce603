"""The archive of faces and things, and what a model learns before it is asked about them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig
from ah_ray.media.probe import probe
from ah_ray.tasks import load_task
from ah_ray.toy import things
from ah_ray.toy.demo import make_moods
from ah_ray.toy.moods import Looking, MoodsSpec, texts, write_moods
from ah_ray.training.row_files import read_rows


def test_the_tasks_have_the_options_that_are_drawn() -> None:
    assert list(load_task(things.THINGS_TASK).answer.options) == things.labels()
    assert load_task(things.MOODS_TASK).answer.options == things.MOODS
    rng = np.random.default_rng(0)
    drawn = {things.random_things(rng).label for _ in range(500)}
    assert drawn == set(things.labels())


def test_nobody_who_is_asked_about_is_in_what_is_learned(tmp_path: Path) -> None:
    write_moods(tmp_path, MoodsSpec(6, 3, 2, 4), "faces.csv", workers=1)
    tables = {}
    for name in ("faces.csv", "things.csv"):
        with (tmp_path / name).open(encoding="utf-8") as file:
            tables[name] = list(csv.DictReader(file))
    splits = [row["split"] for row in tables["faces.csv"]]
    assert splits == ["train"] * 6 + ["test"] * 3
    assert {row["label"] for row in tables["faces.csv"]} == set(things.MOODS)
    assert {row["split"] for row in tables["things.csv"]} == {"test"}
    found = read_rows(str(tmp_path / "things.jsonl"), "data")
    assert len(found.rows) == len(found.seen) == 4
    asked = {row["uri"] for rows in tables.values() for row in rows}
    assert (
        not {row["videos"][0].split("#")[0].removeprefix(f"{tmp_path}/") for row in found.rows}
        & asked
    )
    assert probe(str(tmp_path / tables["things.csv"][0]["uri"])).duration_s == things.SECONDS


def test_moods_are_told_of_and_never_named_where_faces_are_shown(tmp_path: Path) -> None:
    rows = Looking(1, 2, 3).rows(tmp_path, MediaConfig(audio="none"))
    shown = [row for row in rows if row["videos"]]
    assert len(shown) == 3
    assert not any(mood in json.dumps(shown).split() for mood in things.MOODS)
    told = [row["messages"][-1]["content"] for row in rows if not row["videos"]]
    assert told == list(things.MOODS)
    assert {turn["content"] for row in rows for turn in row["messages"]} <= set(texts())


def test_an_archive_deletes_nothing_of_somebody_else(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds mine\.txt"):
        make_moods(str(tmp_path / "faces.csv"), MoodsSpec(2, 1, 1, 1))
    assert mine.read_text() == "years of work"
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "things.csv").write_text("of an attempt that was cut off")
    make_moods(str(tmp_path / "whole" / "faces.csv"), MoodsSpec(2, 1, 1, 1))
    assert (tmp_path / "whole" / "faces.csv").exists()
