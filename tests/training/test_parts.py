"""Parts are trained by name, a training says what it has moved, and rows of one's own are read."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ah_ray.errors import ConfigError
from ah_ray.models.hybrid import QWEN2_5_VL_HYBRID as HYBRID
from ah_ray.models.qwen2_5_vl import QWEN2_5_VL
from ah_ray.models.qwen_text import QWEN2_5_TEXT
from ah_ray.training.outlook import trained_parameters
from ah_ray.training.parts import known_parts, moved, pattern
from ah_ray.training.recipe import LoraConfig, RecipeConfig, StageConfig
from ah_ray.training.row_files import read_rows

NAMES = {
    "general": "model.visual.merger.general.mlp.0.weight",
    "emotion": "model.visual.merger.emotion.mlp.0.weight",
    "gate": "model.visual.merger.gate.last.weight",
    "language": "model.language_model.layers.0.self_attn.q_proj.weight",
    "vision": "model.visual.blocks.0.attn.qkv.weight",
}


def stage(**values: object) -> StageConfig:
    return StageConfig.model_validate({"name": "one", "trains": ["language"]} | values)


@pytest.mark.parametrize("part", NAMES)
def test_a_part_is_found_by_the_names_of_its_weights_and_no_other(part: str) -> None:
    named = pattern(HYBRID, [part])
    assert [name for name in NAMES.values() if re.search(named, name)] == [NAMES[part]]
    three = pattern(HYBRID, ["aligner"])
    assert sum(bool(re.search(three, name)) for name in NAMES.values()) == 3


def test_parts_are_those_of_the_architecture_by_the_names_in_memory() -> None:
    assert list(known_parts(HYBRID)) == [*[*NAMES][:3], "aligner", "language", "vision"]
    assert list(known_parts(QWEN2_5_VL)) == ["aligner", "language", "vision"]
    assert list(known_parts(QWEN2_5_TEXT)) == ["language"]
    found = pattern(QWEN2_5_VL, ["vision"], in_memory=True)
    assert re.search(found, "model.visual.blocks.0.attn.qkv.weight")
    assert not re.search(found, "model.visual.merger.mlp.0.weight")
    assert not re.search(found, "visual.blocks.0.attn.qkv.weight")


def test_parameters_of_a_stage_are_counted() -> None:
    shapes = {name: (10, size) for size, name in enumerate(NAMES.values(), 1)}
    recipe = RecipeConfig(stages=(stage(),), learning_rate=1)
    whole, adapted = (recipe.of_stage(stage(lora=lora)) for lora in (None, {"rank": 2}))
    assert trained_parameters(shapes, whole, HYBRID, ("general", "gate")) == 10 + 30
    assert trained_parameters(shapes, whole, HYBRID, ("language", "gate")) == 40 + 30
    assert trained_parameters(shapes, adapted, HYBRID, ("language", "gate")) == 2 * (10 + 4) + 30


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"trains": []}, "trains names nothing"),
        ({"data": []}, "data names nothing"),
        ({"trains": ["gate", "gate"]}, "twice"),
        ({"trains": ["gate"], "lora": {}}, "trains does not name language"),
        ({"epochs": 0}, "greater than 0"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stage(**values)


def test_stages_say_what_is_trained_and_what_they_leave_out_is_the_recipes() -> None:
    with pytest.raises(ValueError, match="has stages and lora"):
        RecipeConfig(stages=(stage(),), lora=LoraConfig(), learning_rate=1)
    with pytest.raises(ValueError, match="one name twice"):
        RecipeConfig(stages=(stage(), stage(trains=["gate"])), learning_rate=1)
    recipe = RecipeConfig(stages=(stage(epochs=3),), learning_rate=0.5, epochs=1)
    of_stage = recipe.of_stage(recipe.stages[0])
    assert (of_stage.epochs, of_stage.learning_rate, of_stage.tuner) == (3, 0.5, "full")
    assert recipe.weights == "full"


def test_what_has_moved_is_told_by_part(tmp_path: Path) -> None:
    weights = {name: torch.zeros(2) for name in NAMES.values()}
    for folder, change in (("before", 0.0), ("after", 0.25)):
        (tmp_path / folder).mkdir()
        changed = weights | {NAMES["gate"]: torch.tensor([0.0, change])}
        save_file(changed, tmp_path / folder / "model.safetensors")
    found = moved(tmp_path / "before", tmp_path / "after", HYBRID)
    assert found.pop("gate") == {"weights": 1, "moved": 1, "most": 0.25}
    assert found == {
        part: {"weights": 1, "moved": 0, "most": 0.0} for part in NAMES if part != "gate"
    }
    save_file({"lm_head.weight": torch.zeros(1)}, tmp_path / "after" / "model.safetensors")
    with pytest.raises(ValueError, match="do not both have"):
        moved(tmp_path / "before", tmp_path / "after", HYBRID)


ASKED = {"role": "user", "content": "<video>\nWhat is this?"}
SAID = {"role": "assistant", "content": "A ball."}


def write(tmp_path: Path, *rows: object) -> str:
    (tmp_path / "a.mp4").write_bytes(b"a video")
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return str(file)


def test_rows_are_read_in_both_forms_and_say_what_will_have_been_seen(tmp_path: Path) -> None:
    found = read_rows(
        write(
            tmp_path,
            {"messages": [ASKED, SAID], "videos": ["a.mp4#t=0.000000,1.000000"]},
            {"id": 1, "video": "a.mp4", "conversations": [ASKED, SAID]},
            {"messages": [{"role": "user", "content": "Hi"}, SAID]},
        ),
        "stages.0.data",
    )
    assert [row["videos"] for row in found.rows] == [
        [f"{tmp_path}/a.mp4#t=0.000000,1.000000"], [f"{tmp_path}/a.mp4"], [],
    ]  # fmt: skip
    assert [row["messages"][-1] for row in found.rows] == [SAID] * 3
    (seen,) = found.seen
    assert seen["role"] == "training"
    assert seen["content"]


EMOSET = ["Sadness", "sadness_1", "image/sadness/sadness_1.jpg", "annotation/sadness/1.json"]


def emoset(folder: Path, *entries: object) -> str:
    (folder / "image" / "sadness").mkdir(parents=True, exist_ok=True)
    (folder / EMOSET[2]).write_bytes(b"a picture")
    file = folder / "train.json"
    file.write_text(json.dumps(entries))
    return str(file)


def test_a_list_of_emoset_is_read_as_questions_about_pictures(tmp_path: Path) -> None:
    found = read_rows(emoset(tmp_path, EMOSET, EMOSET), "stages.0.data")
    for row in found.rows:
        assert row["images"] == [f"{tmp_path}/{EMOSET[2]}"]
        assert row["messages"][1]["content"].startswith("<image>Which emotion does this picture")
        assert row["messages"][2]["content"] == "sadness"
    assert len(found.seen) == 1


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([EMOSET, ["glad", *EMOSET[1:]]], "entry 2.*'glad'.*one of amusement"),
        ([EMOSET[:2]], "entry 1.*of the form"),
        ([{"emotion": "sadness"}], "entry 1.*of the form"),
        ([[*EMOSET[:2], "../a.jpg"]], "leads out of its folder"),
        ([[*EMOSET[:2], "none.jpg"]], "none.jpg cannot be read"),
        ([], "has no rows"),
    ],
)
def test_a_wrong_entry_of_emoset_is_named(tmp_path: Path, entries: list[object], said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        read_rows(emoset(tmp_path, *entries), "stages.0.data")
    (tmp_path / "info.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no list"):
        read_rows(str(tmp_path / "info.json"), "stages.0.data")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 1.*no JSON"),
        ([1], "no JSON object"),
        ({"messages": [ASKED]}, "ends with a reply"),
        ({"messages": [ASKED, {"role": "bot", "content": ""}]}, "ends with a reply"),
        ({"messages": [ASKED, SAID]}, "1 times <video>.*under videos"),
        ({"messages": [ASKED, SAID], "videos": ["b.mp4"]}, "b.mp4 cannot be read"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: object, said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        read_rows(write(tmp_path, row), "stages.0.data")


def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)stages\.0\.data.*there is no"):
        read_rows(str(tmp_path / "none.jsonl"), "stages.0.data")
    with pytest.raises(ConfigError, match="has no rows"):
        read_rows(write(tmp_path), "stages.0.data")
