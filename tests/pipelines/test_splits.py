from pathlib import Path

import pytest
import yaml

from ah_ray import schemas, tables
from ah_ray.config import load_config
from ah_ray.errors import ConfigError
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.splits import named_splits, require_splits
from ah_ray.pipelines.stages import STAGES
from ah_ray.pipelines.train_dry_run import dry_run

KNOWN = ["train", "train", "val", "test", None]


@pytest.mark.parametrize(
    ("name", "near"), [("tset", "test"), ("Test", "test"), ("VAL", "val"), ("trian", "train")]
)
def test_a_misspelled_split_is_an_error_with_the_nearest_name(name, near):
    with pytest.raises(ConfigError) as caught:
        require_splits(KNOWN, {"train.splits": ["train"], "score.splits": ["test", name]})
    assert caught.value.where == "score.splits"
    assert caught.value.problem == f"the archive has no split {name}"
    assert caught.value.fix == f"did you mean {near}? The archive has test, train, val"


def test_a_split_like_no_other_can_only_be_left_out():
    with pytest.raises(ConfigError, match=r"\[\] goes without\. The archive has train"):
        require_splits(["train"], {"train.splits": ["train"], "score.splits": ["held_out"]})


def test_every_wrong_key_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        require_splits(KNOWN, {"train.splits": ["trian"], "score.splits": ["tset"]})
    assert caught.value.where == "train.splits, score.splits"
    assert "did you mean test and train?" in caught.value.fix


def test_what_is_there_is_fine():
    require_splits(KNOWN, {"train.splits": ["train", "val"], "score.splits": ["test"]})
    require_splits(KNOWN, {"train.splits": [], "score.splits": []})


def test_an_archive_without_splits_is_scored_whole():
    require_splits([None, None], {"score.splits": ["test"]})
    require_splits([], {"score.splits": ["test"]})


def test_an_archive_may_do_without_validation_but_not_with_another_spelling():
    require_splits(["train", "test"], {"train.validation_splits": ["val"]})
    with pytest.raises(ConfigError, match=r"validation_splits: .* val[^$]*did you mean valid\?"):
        require_splits(["train", "test", "valid"], {"train.validation_splits": ["val"]})


def test_many_splits_are_not_all_shown():
    with pytest.raises(ConfigError) as caught:
        require_splits([f"{number:06}" for number in range(10_000)], {"score.splits": ["test"]})
    assert len(str(caught.value)) < 300


def a_config(tmp_path, *overrides: str):
    return load_config("jobs/demo.yaml", str(tmp_path), list(overrides))


def test_defaults_are_wishes(tmp_path):
    values = yaml.safe_load(Path("jobs/demo.yaml").read_text())
    del values["train"]["validation_splits"], values["score"]["splits"]
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    assert named_splits(load_config(path, str(tmp_path))) == {"train.splits": ("train",)}
    config = load_config(path, str(tmp_path), ["score.splits=[a, b]"])
    assert named_splits(config) == {"train.splits": ("train",), "score.splits": ("a", "b")}


@pytest.mark.parametrize("stage", ["prepare", "train", "score", "evaluate", "dry run"])
@pytest.mark.parametrize("key", ["score.splits", "train.validation_splits"])
def test_no_stage_begins_with_a_split_that_is_not_there(tmp_path, stage, key):
    run = RunDirectory.at(str(tmp_path / "run"))
    rows = [{"video_id": name, "uri": f"{name}.mp4", "split": name} for name in KNOWN if name]
    tables.write_rows(rows, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    stages = STAGES | {"dry run": dry_run}
    with pytest.raises(ConfigError, match="did you mean test"):
        stages[stage](run, a_config(tmp_path, f"{key}=[tset]"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["videos"]
