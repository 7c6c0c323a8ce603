import importlib.util
import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from ah_ray.attention import attention_kernel
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MemberCard
from ah_ray.models.config import ModelConfig
from ah_ray.training.swift import (
    CALLBACK_VARIABLE,
    MEDIA_VARIABLE,
    MEMBER_VARIABLE,
    PLUGINS,
    READER,
    Node,
    Paths,
    arguments,
    command,
    environment,
    shell_text,
)
from tests.training.swift_job import job

LAYERS = [f"thinker.model.layers.{n}.self_attn.{p}_proj" for n in (0, 1) for p in "qkvo"]
OTHERS = [
    "thinker.audio_tower.layers.0.self_attn.q_proj",
    "thinker.model.layers.0.mlp.gate",
    "talker.model.layers.0.self_attn.q_proj",
    "xthinker.model.layers.0.self_attn.q_proj",
]
PATHS = Paths("/model", "/rows.jsonl", None, "/output", "/tensorboard", None)
ONE, MANY = Node(), Node(rank=1, count=2, processes=8, address="10.0.0.1", port=1234, use_gpu=True)


@pytest.fixture
def checkpoint(tmp_path):
    """Two shards of safetensors, of a model with a talker."""
    folder = tmp_path / "base"
    folder.mkdir()
    names = [*LAYERS, *OTHERS]
    for part in (0, 1):
        weights = {f"{name}.weight": np.zeros(1, np.float32) for name in names[part::2]}
        weights[f"{names[part]}.bias"] = np.zeros(1, np.float32)
        save_file(weights, folder / f"model-{part}.safetensors")
    return folder


def options(job, node=ONE, **paths) -> dict[str, list[str]]:
    """The arguments by name."""
    found: dict[str, list[str]] = {}
    for part in arguments(job, node, replace(PATHS, **paths)):
        if part.startswith("--"):
            assert part[2:] not in found
            found[part[2:]] = []
        else:
            found[list(found)[-1]].append(part)
    assert all(found.values())
    return found


# Arguments


def test_a_full_training_states_its_recipe():
    stated = options(job(epochs=2, batch_size=3, global_batch_size=21, max_length=99, seed=5))
    for name, value in {
        **{"model": "/model", "dataset": "/rows.jsonl", "output_dir": "/output"},
        **{"tuner_type": "full", "num_train_epochs": "2.0", "per_device_train_batch_size": "3"},
        **{"gradient_accumulation_steps": "7", "max_length": "99", "seed": "5", "data_seed": "5"},
        **{"torch_dtype": "bfloat16", "attn_impl": "sdpa", "strict": "true"},
        **{"freeze_vit": "true", "freeze_aligner": "true", "split_dataset_ratio": "0"},
        **{"ddp_timeout": "3600"},
        **{"freeze_llm": "false", "packing": "false", "lr_scheduler_type": "cosine"},
    }.items():
        assert stated[name] == [value], name
    assert float(stated["learning_rate"][0]) == 1e-6
    assert stated["external_plugins"] == [str(plugin) for plugin in PLUGINS]
    assert not {"lora_rank", "target_modules", "deepspeed", "rlhf_type"} & set(stated)


def test_an_adapter_states_its_modules_by_their_full_names(checkpoint):
    stated = options(job(lora={"rank": 4, "alpha": 9}), model=str(checkpoint))
    assert stated["tuner_type"] == ["lora"]
    assert stated["lora_rank"] == ["4"]
    assert stated["lora_alpha"] == ["9"]
    assert stated["target_modules"] == sorted(LAYERS)


def test_weights_of_a_checkpoint_to_go_on_from_are_loaded_whole(checkpoint):
    """An adapter is put on its base; a full checkpoint takes the place of its base."""
    resumed = {"model": str(checkpoint), "resume": "/output/checkpoint-5"}
    for tuner, model in (("full", "/output/checkpoint-5"), ("lora", str(checkpoint))):
        stated = options(job(**{tuner: {}}), **resumed)
        assert stated["model"] == [model]
        assert stated["resume_from_checkpoint"] == ["/output/checkpoint-5"]


def test_towers_are_trained_when_the_recipe_says_so():
    stated = options(job(full={"vision": True, "aligner": True}, gradient_checkpointing=False))
    assert stated["freeze_vit"] == stated["freeze_aligner"] == ["false"]
    assert stated["gradient_checkpointing"] == ["false"]


def test_devices():
    assert options(job())["use_cpu"] == ["true"]
    assert "ddp_backend" not in options(job())
    assert options(job(), Node(processes=2))["ddp_backend"] == ["gloo"]
    assert not {"use_cpu", "ddp_backend"} & set(options(job(), MANY))
    assert options(job(deepspeed="zero3"), MANY)["deepspeed"] == ["zero3"]


def test_extra_arguments_win():
    extra = {"strict": False, "neftune_noise_alpha": 5, "seed": 1, "ddp_timeout": 60}
    stated = options(job(extra_args=extra))
    assert stated["strict"] == ["false"]
    assert stated["ddp_timeout"] == ["60"]
    assert stated["neftune_noise_alpha"] == ["5"]
    assert stated["seed"] == ["1"]


def test_forward_passes_make_up_the_same_step_on_any_number_of_processes():
    for processes, passes in ((1, "32"), (2, "16"), (16, "2"), (32, "1")):
        stated = options(job(batch_size=2, global_batch_size=64), Node(processes=processes))
        assert stated["gradient_accumulation_steps"] == [passes]
    with pytest.raises(ConfigError, match="no multiple of 6"):
        options(job(batch_size=2, global_batch_size=64), Node(processes=3))


def test_experts_are_named_as_before_they_were_fused(checkpoint):
    adapter = job(lora={"targets": "all-linear", "dropout": 0})
    stated = options(adapter, model=str(checkpoint))
    assert stated["target_modules"] == [*sorted(LAYERS), "gate"]


# Environment


def test_the_environment_carries_the_media_settings():
    stated = environment(job(), ONE, PATHS)
    assert MediaConfig.model_validate_json(stated[MEDIA_VARIABLE]) == job().media
    assert stated["FORCE_QWENVL_VIDEO_READER"] == READER
    unit = job().media.size_multiple ** 2
    assert int(stated["VIDEO_MIN_TOKEN_NUM"]) * unit <= job().media.min_pixels
    assert int(stated["VIDEO_MAX_TOKEN_NUM"]) * unit >= job().media.max_pixels
    assert stated["ENABLE_AUDIO_OUTPUT"] == "0"
    assert stated["HF_HUB_OFFLINE"] == "1"
    assert all(isinstance(value, str) for value in stated.values())


def test_one_process_needs_no_rendezvous():
    stated = environment(job(), ONE, PATHS)
    assert not {"NNODES", "NPROC_PER_NODE", "MASTER_ADDR"} & set(stated)
    assert stated["CUDA_VISIBLE_DEVICES"] == ""


def test_deepspeed_looks_for_others_of_one_process_too():
    stated = environment(job(deepspeed="zero3"), ONE, PATHS)
    assert (stated["NNODES"], stated["NPROC_PER_NODE"]) == ("1", "1")


def test_several_processes_find_each_other():
    stated = environment(job(), MANY, PATHS)
    assert (stated["NNODES"], stated["NODE_RANK"], stated["NPROC_PER_NODE"]) == ("2", "1", "8")
    assert (stated["MASTER_ADDR"], stated["MASTER_PORT"]) == ("10.0.0.1", "1234")
    assert "CUDA_VISIBLE_DEVICES" not in stated


# One command per node


def as_shell(text: str) -> tuple[dict[str, str], list[str]]:
    """Environment and command of a shell's command line."""
    words = shlex.split(text.replace("\\\n", ""))
    first = next(i for i, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
    return dict(word.split("=", 1) for word in words[:first]), words[first:]


def test_what_is_printed_is_what_is_run(checkpoint):
    adapter = job(lora={})
    paths = replace(PATHS, model=str(checkpoint), rows="/with space/rows.jsonl")
    variables, words = as_shell(shell_text(adapter, MANY, paths))
    assert variables == environment(adapter, MANY, paths)
    assert words == command(adapter, MANY, paths)
    assert words[:2] == ["swift", "sft"]


def test_validation_goes_with_the_checkpoints():
    assert options(job())["eval_strategy"] == ["no"]
    stated = options(job(save_every_steps=7, early_stop_after=2), validation="/validation.jsonl")
    assert stated["val_dataset"] == ["/validation.jsonl"]
    assert stated["eval_strategy"] == stated["save_strategy"] == ["steps"]
    assert stated["eval_steps"] == stated["save_steps"] == ["7"]
    assert stated["early_stop_interval"] == ["2"]


def test_an_epoch_ends_with_one_checkpoint():
    assert options(job())["save_strategy"] == ["epoch"]  # how long it is is not known
    stated = options(replace(job(), epoch_steps=9), validation="/validation.jsonl")
    assert stated["eval_strategy"] == stated["save_strategy"] == ["steps"]
    assert stated["eval_steps"] == stated["save_steps"] == ["9"]


def test_a_training_goes_on_with_the_state_of_its_optimizer():
    stated = options(job(), resume="/store/checkpoint-5")
    assert stated["resume_from_checkpoint"] == ["/store/checkpoint-5"]
    assert stated["save_only_model"] == ["false"]
    # MS-Swift would delete the old before the new one is complete.
    assert "save_total_limit" not in stated
    told = environment(job(save_total_limit=3), ONE, replace(PATHS, resume="/x"))
    assert json.loads(told[CALLBACK_VARIABLE]) == {
        **{"store": "/store/checkpoints", "rows": "/rows.jsonl", "validation": None},
        **{"model": "/model", "save_total_limit": 3, "resume": "/x"},
    }


def test_reinforcement_learning_is_another_command():
    card = MemberCard(
        name="v1", weights="full", task="cue_conflict", prompt="short",
        model=ModelConfig(path="base"), media=MediaConfig(), segmentation=SegmentationConfig(),
        trained={"clips": 3},
    )  # fmt: skip
    rewarded = replace(job(grpo={"generations": 4}), card=card)
    stated = options(rewarded)
    assert command(rewarded, ONE, PATHS)[:2] == ["swift", "rlhf"]
    assert stated["rlhf_type"] == ["grpo"]
    assert stated["num_generations"] == ["4"]
    told = MemberCard.model_validate_json(environment(rewarded, ONE, PATHS)[MEMBER_VARIABLE])
    assert told == card.model_copy(update={"trained": {}})


def test_flash_attention_is_taken_where_it_runs(monkeypatch):
    assert attention_kernel("eager", use_gpu=True) == ("eager", None)
    kernel, note = attention_kernel("flash_attention_2", use_gpu=False)
    assert (kernel, "GPU" in note, "sdpa" in note) == ("sdpa", True, True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    kernel, note = attention_kernel("flash_attention_2", use_gpu=True)
    assert (kernel, "not installed" in note, "sdpa" in note) == ("sdpa", True, True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert attention_kernel("flash_attention_2", use_gpu=True) == ("flash_attention_2", None)


def test_targets_in_a_checkpoint_that_is_elsewhere_are_called_by_their_name():
    stated = options(job(lora={}), model="<local copy of a/b>")
    assert stated["target_modules"] == ["<what attention means there>"]
