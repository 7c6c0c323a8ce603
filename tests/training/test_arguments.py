"""Against the arguments of the installed MS-Swift; importing it takes seconds, once."""

from pathlib import Path

import pytest

from ah_ray.config import load_config
from ah_ray.errors import ConfigError
from ah_ray.training.arguments import require_known, swift_parser
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.swift import Node, Paths, SwiftJob, arguments
from tests.training.swift_job import job

ROOT = Path(__file__).parents[2]

PATHS = Paths("<elsewhere>", "/rows", "/validation", "/output", "/tensorboard", "/checkpoint-1")


def recipe(**extra) -> RecipeConfig:
    return RecipeConfig(lora={}, learning_rate=1, extra_args=extra)


def test_what_ms_swift_takes_is_taken():
    require_known(recipe(neftune_noise_alpha=5, dataloader_pin_memory=False, optim="sgd"), "here")


def test_a_wrong_name_brings_the_nearest():
    with pytest.raises(ConfigError) as caught:
        require_known(recipe(neftune_noise_alfa=5), "recipe of v1: extra_args")
    assert caught.value.where == "recipe of v1: extra_args.neftune_noise_alfa"
    assert caught.value.fix == "did you mean neftune_noise_alpha?"


@pytest.mark.parametrize("extra", [{"save_steps": "often"}, {"strict": "perhaps"}])
def test_a_value_of_the_wrong_type_is_refused(extra):
    with pytest.raises(ConfigError) as caught:
        require_known(recipe(**extra), "here")
    assert next(iter(extra)) in caught.value.where


def test_arguments_of_the_other_algorithm_are_unknown():
    extra = {"epsilon_high": 0.3}
    with pytest.raises(ConfigError):
        require_known(recipe(**extra), "here")
    grpo = RecipeConfig(lora={}, grpo={}, learning_rate=1, extra_args=extra)
    require_known(grpo, "here")


@pytest.mark.parametrize(
    ("parts", "algorithm"),
    [({"lora": {}}, "sft"), ({"full": {}}, "sft"), ({"lora": {}, "grpo": {}}, "grpo")],
)
def test_ms_swift_takes_all_that_we_state(parts, algorithm):
    full = job(
        **parts,
        **{"deepspeed": "zero3", "save_every_steps": 5},
        **{"early_stop_after": 3, "batch_size": 1, "global_batch_size": 16},
    )
    stated = {
        part[2:]
        for node in (Node(processes=2), Node(use_gpu=True))
        for part in arguments(full, node, PATHS)
        if part.startswith("--")
    }
    _, known = swift_parser(algorithm)
    assert stated <= known


@pytest.mark.parametrize("recipe_name", ["lora", "full", "grpo"])
@pytest.mark.parametrize("name", ["paper.yaml", "demo.yaml"])
def test_ms_swift_parses_the_commands_of_the_shipped_configs(
    name: str, recipe_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(f"jobs/{name}", "/run")
    how = config.recipes[recipe_name]
    settings = config.train
    node = Node(
        count=settings.nodes, processes=settings.processes_per_node, use_gpu=settings.use_gpu
    )
    training = SwiftJob("m", config.model, how, config.media, "/rows", "/store")
    parser, _ = swift_parser(how.algorithm)
    parsed = parser.parse_args(arguments(training, node, PATHS))
    assert parsed.ddp_timeout == 3600
    steps = parsed.per_device_train_batch_size * parsed.gradient_accumulation_steps
    assert steps * settings.processes == how.global_batch_size
    assert parsed.learning_rate == how.learning_rate
    assert parsed.freeze_vit
    if how.lora:
        assert parsed.target_modules == [f"<what {how.lora.targets} means there>"]
        assert parsed.lora_dropout == how.lora.dropout
