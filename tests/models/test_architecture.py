"""What is particular to an architecture is said by its module, and held against checkpoints."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig
from ah_ray.models.architecture import (
    ARCHITECTURES,
    find_architecture,
    require_media,
    require_model,
    require_type,
)
from ah_ray.models.config import ModelConfig
from ah_ray.models.qwen2_5_vl import QWEN2_5_VL

#: Of one's own: as Qwen2.5-VL, under another name.
OWN = replace(QWEN2_5_VL, model_type="own_vl")
STILL = replace(QWEN2_5_VL, kinds=("image",))


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    return str(tmp_path)


def test_each_is_found_by_name_and_ones_own_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_architecture("qwen2_5_vl") is QWEN2_5_VL
    monkeypatch.setitem(sys.modules, "somebodys", sys.modules[__name__])
    assert find_architecture("somebodys:OWN") is OWN
    with pytest.raises(ConfigError, match=r"there is no .qwen4.(?s:.*)qwen3_omni"):
        find_architecture("qwen4")
    with pytest.raises(ConfigError, match="is a dict"):
        find_architecture("ah_ray.models.architecture:ARCHITECTURES")


def test_a_checkpoint_of_another_architecture_is_refused_and_its_own_is_named(
    checkpoint: str,
) -> None:
    require_type(checkpoint, "qwen2_5_vl")
    require_model(ModelConfig(path=checkpoint, architecture="qwen2_5_vl"), MediaConfig(), "model")
    with pytest.raises(ConfigError) as caught:
        require_model(ModelConfig(path=checkpoint), MediaConfig(), "model")
    assert caught.value.where == "model.architecture"
    assert "qwen3_omni_moe" in caught.value.problem
    assert "says qwen2_5_vl" in caught.value.problem
    assert "qwen2_5_vl" in caught.value.fix
    Path(checkpoint, "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="of your own for gpt2"):
        require_type(checkpoint, "qwen3_omni")
    require_type("of/a-hub", "qwen3_omni")
    with pytest.raises(ConfigError, match="there is no checkpoint"):
        require_model(ModelConfig(path=f"{checkpoint}/none"), MediaConfig(), "model")


def test_a_model_gets_the_kinds_that_it_takes_and_pictures_in_its_squares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sees = ModelConfig(path="base", architecture="qwen2_5_vl")
    require_media(ModelConfig(path="base"), MediaConfig(), "run.yaml")
    require_media(sees, MediaConfig(size_multiple=56, audio="none"), "run.yaml")
    with pytest.raises(ConfigError, match=r"(?s)run\.yaml: media\.audio.*takes no audio.*to none"):
        require_media(sees, MediaConfig(size_multiple=28), "run.yaml")
    with pytest.raises(ConfigError, match=r"run\.yaml: media\.size_multiple.* 28 pixels"):
        require_media(sees, MediaConfig(audio="none"), "run.yaml")
    monkeypatch.setitem(sys.modules, "somebodys", sys.modules[__name__])
    still = ModelConfig(path="base", architecture="somebodys:STILL")
    require_media(still, MediaConfig(picture="images", size_multiple=28, audio="none"), "run.yaml")
    with pytest.raises(ConfigError, match=r"(?s)media\.picture.*takes no video.*images or none"):
        require_media(still, MediaConfig(size_multiple=28, audio="none"), "run.yaml")


SQUARES = MediaConfig(picture="images", square=448, size_multiple=28, audio="none")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audio": "separate"}, r"media\.audio.* takes no audio.*to none"),
        ({"picture": "video"}, r"media\.picture.* takes no video.*to images or none"),
        ({"square": None}, r"media\.square.* one size.*image_size"),
        ({"size_multiple": 32}, r"media\.size_multiple.* 28 pixels"),
    ],
)
def test_internvl_sees_squares_and_nothing_else(change: dict[str, object], said: str) -> None:
    model = ModelConfig(path="base", architecture="internvl")
    require_media(model, SQUARES, "run.yaml")
    require_media(model, MediaConfig(picture="none", audio="none"), "run.yaml")
    with pytest.raises(ConfigError, match=rf"(?s)run\.yaml: {said}"):
        require_media(model, SQUARES.model_copy(update=change), "run.yaml")


@pytest.mark.parametrize("size", [448, [448, 448]])
def test_the_squares_are_those_of_the_checkpoint(tmp_path: Path, size: object) -> None:
    config = {"model_type": "internvl", "vision_config": {"image_size": size}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = ModelConfig(path=str(tmp_path), architecture="internvl")
    require_model(model, SQUARES, "model")
    require_model(model, MediaConfig(picture="none", audio="none"), "model")
    with pytest.raises(ConfigError, match=r"(?s)media\.square.*is 336.*448 pixels.*set it to 448"):
        require_model(model, SQUARES.model_copy(update={"square": 336}), "model")


def test_a_model_that_only_reads_is_shown_nothing() -> None:
    reads = ModelConfig(path="base", architecture="qwen3_text")
    require_media(reads, MediaConfig(picture="none", audio="none"), "run.yaml")
    with pytest.raises(ConfigError, match=r"(?s)run\.yaml: media\..*qwen3_text takes no .*to none"):
        require_media(reads, MediaConfig(picture="none"), "run.yaml")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_parts_are_those_that_ms_swift_freezes(name: str) -> None:
    from swift.model import MODEL_MAPPING

    ours = find_architecture(name)
    ours.register()
    theirs = MODEL_MAPPING[ours.swift_model]
    assert ours.swift_template in {group.template for group in theirs.model_groups}
    parts = theirs.model_arch
    if not ours.kinds:  # MS-Swift has no parts to freeze of what only reads
        assert not hasattr(parts, "language_model")
        return
    for some, others in (
        (ours.parts.language, parts.language_model),
        (ours.parts.towers, parts.vision_tower),
        (ours.parts.aligner, parts.aligner),
        (ours.parts.unused, parts.generator),
    ):
        assert {ours.name_in_memory(name).rstrip(".") for name in some} == set(others)
