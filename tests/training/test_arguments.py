"""Against the arguments of the installed MS-Swift; importing it takes seconds, once."""

import pytest

from ah_ray.config import RecipeConfig
from ah_ray.errors import ConfigError
from ah_ray.training.arguments import require_known, swift_parser
from ah_ray.training.swift import Node, Paths, arguments
from tests.training.test_swift import job

PATHS = Paths("<elsewhere>", "/rows", "/validation", "/output", "/tensorboard", "/checkpoint-1")


def recipe(**extra) -> RecipeConfig:
    return RecipeConfig(tuner="lora", learning_rate=1, extra_args=extra)


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
    grpo = RecipeConfig(tuner="lora", learning_rate=1, extra_args=extra, algorithm="grpo")
    require_known(grpo, "here")


@pytest.mark.parametrize("algorithm", ["sft", "grpo"])
def test_ms_swift_takes_all_that_we_state(algorithm):
    full = job(
        **{"tuner": "lora", "algorithm": algorithm, "deepspeed": "zero3", "save_every_steps": 5},
        early_stop_after=3,
    )
    stated = {
        part[2:]
        for node in (Node(processes=2), Node(use_gpu=True))
        for part in arguments(full, node, PATHS)
        if part.startswith("--")
    }
    _, known = swift_parser(algorithm)
    assert stated <= known
