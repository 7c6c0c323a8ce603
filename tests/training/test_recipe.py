"""What cards state of a recipe, in the form of today and in those of earlier versions."""

import pytest

from ah_ray.training.recipe import FullConfig, GrpoConfig, LoraConfig, RecipeConfig, settings_of


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (RecipeConfig(lora=LoraConfig(rank=4), learning_rate=1),
         {"tuner": "lora", "algorithm": "sft", "lora.rank": 4, "lora.targets": "attention"}),
        (RecipeConfig(full=FullConfig(vision=True), learning_rate=1),
         {"tuner": "full", "algorithm": "sft", "full.vision": True, "full.language": True}),
        (RecipeConfig(full=FullConfig(), grpo=GrpoConfig(generations=3), learning_rate=1),
         {"tuner": "full", "algorithm": "grpo", "grpo.generations": 3}),
    ],
)  # fmt: skip
def test_parts_are_said_by_dotted_keys(recipe, said):
    found = settings_of(recipe.model_dump())
    assert found.items() >= {"learning_rate": 1.0, "extra_args": {}, **said}.items()
    assert {key.partition(".")[0] for key in found if "." in key} <= {recipe.tuner, "grpo"}
    assert not {"lora", "full", "grpo"} & found.keys()
    assert (found["tuner"], found["algorithm"]) == (recipe.tuner, recipe.algorithm)


@pytest.mark.parametrize(
    ("flat", "dotted"),
    [
        ("lora_rank", "lora.rank"), ("lora_alpha", "lora.alpha"),
        ("lora_dropout", "lora.dropout"), ("lora_targets", "lora.targets"),
        ("train_language", "full.language"), ("train_vision", "full.vision"),
        ("train_aligner", "full.aligner"), ("generations", "grpo.generations"),
        ("temperature", "grpo.temperature"), ("max_reply_tokens", "grpo.max_reply_tokens"),
        ("tuner", "tuner"), ("algorithm", "algorithm"), ("epochs", "epochs"),
    ],
)  # fmt: skip
def test_what_was_flat_is_said_by_the_same_keys(flat, dotted):
    assert settings_of({flat: 7}) == {dotted: 7}


def test_of_what_is_not_stated_nothing_is_said():
    assert settings_of({}) == {}
    assert settings_of({"lora": {"rank": 4}}) == {"lora.rank": 4, "tuner": "lora"}
    assert settings_of({"grpo": None}) == {"algorithm": "sft"}
