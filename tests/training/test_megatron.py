"""What Megatron's trainer is told, by what the installed MS-Swift's sources take.

Nothing of Megatron runs here: it needs GPUs and megatron-core.
"""

import importlib.util
import json
import runpy
import sys
import typing
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import swift
from safetensors.numpy import save_file

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.models.config import ModelConfig
from ah_ray.models.qwen3_omni_size import PUBLISHED, parameters
from ah_ray.training import megatron_trainer
from ah_ray.training.adapters import name_adapted
from ah_ray.training.arguments import megatron_parser, require_known
from ah_ray.training.checkpoints import Checkpoint, complete_checkpoints, publish
from ah_ray.training.config import TrainConfig
from ah_ray.training.megatron_trainer import (
    PACKAGES,
    missing_packages,
    require_divisible,
    require_installed,
    require_place,
    require_possible,
)
from ah_ray.training.recipe import MegatronConfig, RecipeConfig, settings_of
from ah_ray.training.sizing import megatron_memory
from ah_ray.training.swift import (
    CALLBACK,
    CALLBACK_VARIABLE,
    MEGATRON_PLUGINS,
    Node,
    Paths,
    SwiftJob,
    arguments,
    command,
    environment,
)
from tests.training.swift_job import job

PATHS = Paths("/model", "/rows", None, "/output", "/tensorboard", None)
NODE = Node(processes=8, use_gpu=True)
GPUS = TrainConfig(processes_per_node=8, use_gpu=True)
MODEL = ModelConfig(path="base")


def training(**recipe) -> SwiftJob:
    values = {"trainer": "megatron", "megatron": {"expert_parallel": 8}, "global_batch_size": 64}
    return replace(job(**values | recipe), epoch_steps=9)


@pytest.fixture(scope="module")
def parser():
    return megatron_parser()[0]


# Arguments


def test_ms_swift_parses_a_full_training(parser):
    whole = training(
        **{"epochs": 2, "batch_size": 2, "seed": 5, "max_length": 99, "learning_rate": 1e-6},
        megatron={"expert_parallel": 4, "tensor_parallel": 2, "pipeline_parallel": 2},
    )
    told = parser.parse_args(arguments(whole, NODE, PATHS))
    for name, value in {
        **{"model": "/model", "dataset": ["/rows"], "output_dir": "/output", "seed": 5},
        **{"model_type": "qwen3_omni_moe", "template": "qwen3_omni", "tuner_type": "full"},
        **{"expert_model_parallel_size": 4, "tensor_model_parallel_size": 2},
        **{"pipeline_model_parallel_size": 2, "sequence_parallel": True},
        **{"micro_batch_size": 2, "global_batch_size": 64, "num_train_epochs": 2, "lr": 1e-6},
        **{"lr_decay_style": "cosine", "lr_warmup_fraction": 0.05, "weight_decay": 0.1},
        **{"max_length": 99, "data_seed": 5, "truncation_strategy": "left", "strict": True},
        **{"freeze_llm": False, "freeze_vit": True, "freeze_aligner": True, "packing": False},
        **{"recompute_granularity": "full", "recompute_num_layers": 1, "save_steps": 9},
        **{"attention_backend": "fused", "moe_aux_loss_coeff": [0.0], "callbacks": [CALLBACK]},
        **{"tensorboard_dir": "/tensorboard", "report_to": ["tensorboard"], "eval_iters": 0},
        **{"finetune": True, "mcore_model": None, "save_safetensors": True, "no_save_optim": False},
        **{"use_distributed_optimizer": True, "ddp_timeout": 3600, "add_version": False},
        **{"external_plugins": [str(plugin) for plugin in MEGATRON_PLUGINS], "async_save": False},
    }.items():
        assert getattr(told, name) == value, name
    assert told.save_total_limit is None  # the callback deletes


def test_ms_swift_parses_an_adapter(parser):
    adapter = training(lora={"rank": 4, "alpha": 9}, gradient_checkpointing=False)
    told = parser.parse_args(arguments(adapter, NODE, PATHS))
    assert (told.tuner_type, told.lora_rank, told.lora_alpha) == ("lora", 4, 9)
    # Names that the language model alone has.
    assert told.target_modules == ["linear_qkv", "linear_proj"]
    assert told.merge_lora is False
    assert (told.recompute_granularity, told.recompute_method) == ("none", None)
    assert told.sequence_parallel is False  # there is nothing to divide it among


@pytest.mark.parametrize(
    ("part", "key", "other"),
    [("full", "mcore_model", "mcore_adapter"), ("lora", "mcore_adapter", "mcore_model")],
)
def test_a_training_goes_on_with_the_state_of_its_optimizer(parser, part, key, other):
    paths = replace(PATHS, resume="/output/checkpoint-9")
    told = parser.parse_args(arguments(training(**{part: {}}), NODE, paths))
    assert getattr(told, key) == "/output/checkpoint-9"
    assert getattr(told, other) is None
    assert told.model == "/model"
    assert (told.finetune, told.no_load_optim, told.no_load_rng) == (False, False, False)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("flash_attention_2", "flash"), ("sdpa", "fused"), ("eager", "unfused")]
)
def test_each_kernel_has_its_counterpart(parser, ours, theirs, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    whole = training()
    whole = replace(whole, model=whole.model.model_copy(update={"attention": ours}))
    told = parser.parse_args(arguments(whole, NODE, PATHS))
    assert (told.attention_backend, told.vit_attn_impl) == (theirs, ours)


def test_the_parser_has_what_the_sources_say(parser):
    _, names = megatron_parser()
    assert {"expert_model_parallel_size", "mcore_model", "create_checkpoint_symlink"} <= names
    assert {"dataset", "external_plugins", "template"} <= names
    assert not {"per_device_train_batch_size", "learning_rate", "deepspeed"} & names
    with pytest.raises(Exception, match="invalid choice"):
        parser.parse_args(["--lr_decay_style", "cosine_with_restarts"])


@pytest.mark.parametrize("first", [str, typing.List[str]])  # noqa: UP006
def test_the_parser_does_not_depend_on_what_was_imported_before(first):
    megatron_parser()  # what it imports is imported now
    for forget in typing._cleanups:  # the unions that the process has met
        forget()
    other = typing.List[str] if first is str else str  # noqa: UP006
    assert typing.get_args(typing.Optional[typing.Union[first, other]])[0] == first  # noqa: UP007, UP045
    parser, _ = megatron_parser()
    assert parser.parse_args(["--cp_comm_type", "p2p"]).cp_comm_type == "p2p"
    assert parser.parse_args([]).cp_comm_type is None


def test_further_arguments_are_those_of_megatron():
    def of(**extra) -> RecipeConfig:
        return training(extra_args=extra).recipe

    require_known(of(moe_permute_fusion=True, overlap_grad_reduce=True), "here")
    told = arguments(training(extra_args={"seed": 7}), NODE, PATHS)
    assert told[told.index("--seed") + 1] == "7"
    with pytest.raises(ConfigError) as caught:
        require_known(of(moe_permute_fusoin=True), "here")
    assert caught.value.fix == "did you mean moe_permute_fusion?"
    with pytest.raises(ConfigError, match="neftune_noise_alpha"):
        require_known(of(neftune_noise_alpha=5), "here")
    with pytest.raises(ConfigError, match="moe_token_dispatcher_type"):
        require_known(of(moe_token_dispatcher_type="post"), "here")


def test_the_command_is_one_of_torchrun_on_one_gpu_too():
    whole = training(epochs=2, megatron=None)
    node = Node(use_gpu=True, port=5)
    assert command(whole, node, PATHS)[:2] == ["megatron", "sft"]
    stated = environment(whole, node, PATHS)
    assert (stated["NNODES"], stated["NPROC_PER_NODE"], stated["MASTER_PORT"]) == ("1", "1", "5")
    assert stated["CUDA_DEVICE_MAX_CONNECTIONS"] == "1"
    assert json.loads(stated[CALLBACK_VARIABLE])["steps"] == 18
    ours = environment(job(), node, PATHS)
    assert not {"CUDA_DEVICE_MAX_CONNECTIONS", "NNODES"} & ours.keys()


# Recipes


def test_sizes_stand_with_their_trainer_alone():
    with pytest.raises(ValueError, match="set trainer to megatron"):
        RecipeConfig(full={}, learning_rate=1, megatron={})
    recipe = training().recipe.with_overrides({"megatron": {"tensor_parallel": 2}}, "here")
    assert recipe.sizes == MegatronConfig(expert_parallel=8, tensor_parallel=2)
    said = settings_of(recipe.model_dump())
    assert (said["trainer"], said["megatron.expert_parallel"]) == ("megatron", 8)
    before = job().recipe.model_dump(exclude={"trainer", "megatron"})
    assert settings_of(before)["trainer"] == settings_of(job().recipe.model_dump())["trainer"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"grpo": {}}, "grpo"),
        ({"deepspeed": "zero3"}, "deepspeed"),
        ({"packing": True}, "packing"),
        ({"early_stop_after": 2}, "early_stop_after"),
        ({"epochs": 1.5}, "epochs"),
        ({"scheduler": "constant"}, "scheduler"),
        ({"lora": {"targets": "all-linear", "dropout": 0}}, "lora.targets"),
        ({"lora": {"targets": r".*q_proj"}}, "lora.targets"),
        ({"extra_args": {"async_save": True}}, "extra_args.async_save"),
        ({"extra_args": {"context_parallel_size": 2}}, "extra_args.context_parallel_size"),
        ({"megatron": {"expert_parallel": 3}}, "megatron.expert_parallel"),
        ({"megatron": {"tensor_parallel": 16}}, "megatron.tensor_parallel"),
        ({"megatron": {"pipeline_parallel": 3}}, "megatron.tensor_parallel"),
    ],
)
def test_what_has_no_counterpart_is_refused(changes, key):
    with pytest.raises(ConfigError) as caught:
        require_possible(training(**changes).recipe, GPUS, MODEL, "recipes.r")
    assert caught.value.where == f"recipes.r.{key}"
    assert caught.value.fix


def test_stages_are_refused():
    stages = RecipeConfig(
        trainer="megatron", learning_rate=1, stages=[{"name": "a", "trains": ["language"]}]
    )
    with pytest.raises(ConfigError, match=r"recipes\.r\.stages: trainer megatron trains no stages"):
        require_possible(stages, GPUS, MODEL, "recipes.r")


@pytest.mark.parametrize("part", ["full", "lora"])
def test_what_it_can_do_passes(part):
    require_possible(training(**{part: {}}).recipe, GPUS, MODEL, "here")
    require_possible(job(deepspeed="zero3").recipe, TrainConfig(), MODEL, "here")


def test_it_needs_gpus_and_the_one_architecture_in_bfloat16():
    recipe = training().recipe
    with pytest.raises(ConfigError, match=r"megatron needs GPUs.*\n.*train\.use_gpu"):
        require_possible(recipe, TrainConfig(processes_per_node=8), MODEL, "recipes.r")
    for changes, key in (
        ({"architecture": "qwen2_5_vl"}, "model.architecture"),
        ({"dtype": "float32"}, "model.dtype"),
    ):
        with pytest.raises(ConfigError, match=rf"{key} \(recipes\.r\.trainer\)"):
            require_possible(recipe, GPUS, MODEL.model_copy(update=changes), "recipes.r")


def test_those_that_hold_the_model_together_learn_from_the_same_clips():
    recipe = training(
        batch_size=2, megatron={"tensor_parallel": 2, "pipeline_parallel": 2, "expert_parallel": 2}
    ).recipe
    assert recipe.replicas(16) == 4
    assert recipe.accumulation(16) == 8  # of 64 clips
    assert (recipe.row_unit(16), job().recipe.row_unit(16)) == (64, 16)
    with pytest.raises(ConfigError) as caught:
        recipe.model_copy(update={"global_batch_size": 60}).accumulation(16)
    assert "no multiple of 8: batch_size 2 x 4 processes" in caught.value.problem
    assert "/ megatron.tensor_parallel" in caught.value.problem


@pytest.mark.parametrize(
    ("sizes", "key", "ways"),
    [
        ({"expert_parallel": 6}, "expert_parallel", "1, 2, 4, 8, 16, 32, 64, 128"),
        ({"tensor_parallel": 3}, "tensor_parallel", "1, 2, 4, 8, 16, 32"),
        # The first part of the layers takes all three that the vision tower adds.
        ({"pipeline_parallel": 24}, "pipeline_parallel", "1, 2, 3, 4, 6, 8, 12, 16"),
    ],
)
def test_a_model_is_divided_without_rest(sizes, key, ways):
    with pytest.raises(ConfigError) as caught:
        require_divisible(PUBLISHED, MegatronConfig(**sizes), "/base")
    assert caught.value.where == f"recipes: megatron.{key}"
    assert caught.value.fix == f"one of {ways}"
    require_divisible(PUBLISHED, MegatronConfig(expert_parallel=128, tensor_parallel=8), "/base")


def test_checkpoints_go_to_a_disk():
    with pytest.raises(ConfigError, match="is in object storage"):
        require_place("s3://bucket/run", MODEL, MegatronConfig())
    require_place("/run", ModelConfig(path="a/b"), MegatronConfig())


@pytest.mark.skipif(len(missing_packages()) < len(PACKAGES), reason="some of it is installed")
def test_what_is_not_installed_is_named(monkeypatch):
    assert missing_packages() == list(PACKAGES.values())
    with pytest.raises(ConfigError, match="megatron-core, mcore-bridge, transformer-engine"):
        require_installed()
    monkeypatch.setattr(megatron_trainer, "PACKAGES", {"json.decoder": "json"})
    assert missing_packages() == []
    require_installed()


# Memory


def test_on_one_gpu_a_trained_parameter_takes_18_bytes():
    recipe = training(megatron=None).recipe
    share = megatron_memory(PUBLISHED, recipe, 1, 0)
    language, every = parameters(PUBLISHED).language, sum(parameters(PUBLISHED))
    assert share.total == pytest.approx(18 * language + 2 * (every - language))
    towers = training(megatron=None, full={"vision": True, "aligner": True}).recipe
    assert megatron_memory(PUBLISHED, towers, 1, 0).total == pytest.approx(18 * every)


def test_each_way_of_dividing_saves_its_part():
    def share(**sizes):
        return megatron_memory(PUBLISHED, training(megatron=sizes).recipe, 16, 8192)

    whole, experts = share(), share(expert_parallel=8)
    text = PUBLISHED["text_config"]
    routed = text["num_hidden_layers"] * text["num_experts"] * 3
    routed *= text["hidden_size"] * text["moe_intermediate_size"]
    assert whole.weights - experts.weights == pytest.approx(2 * routed * 7 / 8)
    assert whole.gradients - experts.gradients == pytest.approx(4 * routed * 7 / 8)
    # All GPUs together hold the optimizer's state once, however it is divided.
    language = parameters(PUBLISHED).language
    for divided in (whole, experts, share(tensor_parallel=2, expert_parallel=4)):
        assert divided.optimizer * 16 == pytest.approx(12 * language, rel=0.002)
    assert share(tensor_parallel=2).activations == pytest.approx(whole.activations / 2)
    apart = share(tensor_parallel=2, sequence_parallel=False)
    assert apart.activations > share(tensor_parallel=2).activations
    stages = share(pipeline_parallel=2, expert_parallel=8)
    assert stages.weights < experts.weights
    assert stages.total < experts.total


def test_an_adapter_adds_little():
    recipe = training(lora={}).recipe
    share = megatron_memory(PUBLISHED, recipe, 8, 0)
    # Rank 8: what reads the input of queries, keys and values is one.
    trained = 48 * 8 * ((2048 + 4096 + 2 * 512) + (4096 + 2048))
    assert (share.gradients, share.optimizer) == (4 * trained, 12 * trained / 8)


# What it leaves


class Trainer(SimpleNamespace):
    """As much of Megatron's trainer as its callbacks read."""


@pytest.fixture
def callback(tmp_path, monkeypatch):
    """Our callback on the base class of MS-Swift, whose file imports nothing of Megatron's."""
    file = Path(swift.__file__).parent / "megatron" / "callbacks" / "base.py"
    theirs = ModuleType("swift.megatron.callbacks")
    theirs.MegatronCallback = runpy.run_path(str(file))["MegatronCallback"]
    theirs.megatron_callbacks_map = {}
    for name in ("swift.megatron", theirs.__name__):
        monkeypatch.setitem(sys.modules, name, theirs)
    told = {"store": str(tmp_path), "rows": "/rows", "steps": 6, "save_total_limit": 2}
    monkeypatch.setenv(CALLBACK_VARIABLE, json.dumps(told))
    runpy.run_path(str(MEGATRON_PLUGINS[1]))
    args = SimpleNamespace(train_iters=6, num_train_epochs=2, tuner_type="full")
    made = theirs.megatron_callbacks_map[CALLBACK]
    return made(Trainer(args=args, state=SimpleNamespace(iteration=0)))


def saved(callback, folder: Path, step: int) -> Path:
    """What the trainer has written when it calls ``on_save``, and that call."""
    checkpoint = folder / f"checkpoint-{step}"
    for name in (
        *("model-00001-of-00001.safetensors", "config.json", "args.json"),
        *(f"iter_{step:07d}/__0_0.distcp", f"iter_{step:07d}/common.pt"),
        "latest_checkpointed_iteration.txt",
    ):
        storage.write_bytes(str(checkpoint / name), name.encode())
    callback.state.iteration = step
    callback.on_save(str(checkpoint))
    return checkpoint


def test_a_checkpoint_is_complete_when_the_trainer_has_written_it(callback, tmp_path):
    callback.on_train_begin()
    callback.on_log({"loss": 0.75, "learning_rate": 1.0})
    callback.on_log({"learning_rate": 1.0})  # a rank without the last layers knows no loss
    for step in (2, 4):
        saved(callback, tmp_path, step)
    first, second = complete_checkpoints(str(tmp_path))
    assert first == Checkpoint(f"{tmp_path}/checkpoint-2", 2, 0.6667, 0.75, None, 6)
    assert not second.is_last
    saved(callback, tmp_path, 6)
    kept = complete_checkpoints(str(tmp_path))
    assert [one.step for one in kept] == [4, 6]
    assert not (tmp_path / "checkpoint-2").exists()
    assert kept[-1].is_last
    publish(kept[-1], str(tmp_path / "member"), {"member.yaml": b""}, "member.yaml")
    assert {path.name for path in (tmp_path / "member").rglob("*")} == {
        *("model-00001-of-00001.safetensors", "config.json", "member.yaml")
    }


def test_a_training_that_would_leave_rows_out_does_not_begin(callback):
    callback.args.train_iters = 5
    with pytest.raises(RuntimeError, match="makes 6 optimizer steps, MS-Swift would make 5"):
        callback.on_train_begin()


def test_an_adapter_names_what_it_is_on_in_full(tmp_path):
    layers = [f"thinker.model.layers.{n}.self_attn.{p}_proj" for n in (0, 1) for p in "qkvo"]
    weights = {
        f"base_model.model.{layer}.lora_{end}.weight": np.zeros((1, 1), np.float32)
        for layer in layers
        for end in "AB"
    }
    save_file(weights, tmp_path / "adapter_model.safetensors")
    settings = {"r": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    name_adapted(tmp_path)
    stated = json.loads((tmp_path / "adapter_config.json").read_text())
    assert stated == {"r": 8, "target_modules": sorted(layers)}
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="no weights of an adapter"):
        name_adapted(tmp_path)
