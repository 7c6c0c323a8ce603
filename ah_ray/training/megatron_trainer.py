"""Megatron as the trainer of MS-Swift (``megatron sft``): for Qwen3-Omni, its experts divided.

Nothing here has ever been run: megatron-core is in none of the pinned sets, and it needs GPUs. It
was written from the sources of MS-Swift 4.6, mcore-bridge 1.6.5 and megatron-core 0.16.1. What
these leave open is refused, and ``docs/training.md`` says what the first run has to show.

What differs from transformers' trainer, by their sources:

- A step takes ``global_batch_size`` clips, always: what does not fill one is left out of a data set
  (``BaseMegatronTrainer.init_iters``), so that its rows are made a multiple of it.
- A checkpoint holds both what this trainer goes on from (``iter_STEP``, the state of Megatron's
  distributed optimizer, by ``megatron.core.dist_checkpointing``) and the model as safetensors under
  the names of Hugging Face (mcore-bridge). Talker and vocoder, which no task here needs, are not in
  them.
- To go on from one, it is read as ``mcore_model`` (an adapter: ``mcore_adapter``) with ``finetune``
  off; the model that it began with gives the config alone, or what the adapter is on.

This file is not called ``megatron``: MS-Swift puts the folder of its plugins, which is this one,
before all others, where NVIDIA's package of that name is looked for.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

from ah_ray import storage
from ah_ray.checkpoints import CONFIG, is_hub_id
from ah_ray.errors import ConfigError
from ah_ray.models.architecture import require_type
from ah_ray.models.config import ModelConfig
from ah_ray.training.config import TrainConfig
from ah_ray.training.recipe import MegatronConfig, RecipeConfig

NEVER_RUN = (
    "trainer megatron has never been run: what it does is read from its sources alone "
    "(docs/training.md)"
)

#: What it imports, by the name under which a registry has it.
PACKAGES = {
    "megatron.core": "megatron-core",
    "mcore_bridge": "mcore-bridge",
    "transformer_engine": "transformer-engine",
}

#: The one architecture whose names, parts and limits have been compared with mcore-bridge's.
ARCHITECTURE = "qwen3_omni"

#: What MS-Swift's command sets, too: Megatron's kernels must start in the order they are given.
ENVIRONMENT = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}

_SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant_with_warmup": "constant"}
_KERNELS = {"flash_attention_2": "flash", "sdpa": "fused", "eager": "unfused"}
# What is counted on here, and must not be said otherwise by ``extra_args``.
_OURS = frozenset(
    (
        *("expert_model_parallel_size", "expert_tensor_parallel_size", "context_parallel_size"),
        *("tensor_model_parallel_size", "pipeline_model_parallel_size", "sequence_parallel"),
        *("micro_batch_size", "global_batch_size", "num_train_epochs", "train_iters", "streaming"),
        *("async_save", "save_safetensors", "save_total_limit", "merge_lora", "no_save_optim"),
        *("finetune", "mcore_model", "mcore_adapter", "use_megatron_fsdp", "bridge_backend"),
        *("tuner_type", "target_modules", "target_regex"),
    )
)
# The language model's, by the names that Megatron has for them; towers have others.
_TARGETS = {"attention": ["linear_qkv", "linear_proj"]}


def require_possible(
    recipe: RecipeConfig, train: TrainConfig, model: ModelConfig, where: str
) -> None:
    """Fail when a recipe asks for what has no counterpart in Megatron, or was not looked into.

    Args:
        recipe: of a member; one of transformers' trainer passes.
        train: the resources.
        model: the one that it starts from.
        where: names the recipe in the error.

    Raises:
        ConfigError: naming the setting.
    """
    if recipe.trainer != "megatron":
        return
    by_swift = "or set trainer to swift"
    lora = recipe.lora
    refused = (
        ("stages", bool(recipe.stages), "trains no stages", f"leave them out, {by_swift}"),
        ("grpo", recipe.grpo is not None, "is not rewarded here", f"leave it out, {by_swift}"),
        ("deepspeed", recipe.deepspeed is not None, "is no training of DeepSpeed",
         "set it to null: its distributed optimizer divides what ZeRO 1 does"),
        ("packing", recipe.packing, "packs no clips here", f"set it to false, {by_swift}"),
        ("early_stop_after", recipe.early_stop_after is not None,
         "computes no validation loss here", f"set it to null, {by_swift}"),
        ("epochs", not recipe.epochs.is_integer(), "trains whole epochs", "round it"),
        ("scheduler", recipe.scheduler not in _SCHEDULERS, f"has no {recipe.scheduler}",
         f"set it to {' or '.join(_SCHEDULERS)}"),
        ("lora.targets", lora is not None and lora.targets not in _TARGETS,
         "leaves adapters on experts under names that PEFT reads otherwise here",
         f"set it to {' or '.join(_TARGETS)}, train full, {by_swift}"),
    )  # fmt: skip
    if ours := sorted(_OURS & recipe.extra_args.keys()):
        problem = "trainer megatron: what is checked here counts on it"
        raise ConfigError(f"{where}.extra_args.{ours[0]}", problem, "leave it out")
    for key, is_asked, problem, fix in refused:
        if is_asked:
            raise ConfigError(f"{where}.{key}", f"trainer megatron {problem}", fix)
    if model.architecture != ARCHITECTURE:
        problem = f"is {model.architecture}, which trainer megatron was not fitted to"
        fix = f"{ARCHITECTURE}, {by_swift}"
        raise ConfigError(f"model.architecture ({where}.trainer)", problem, fix)
    if model.dtype != "bfloat16":
        problem = f"is {model.dtype}; trainer megatron keeps its weights in bfloat16"
        raise ConfigError(f"model.dtype ({where}.trainer)", problem, "set it to bfloat16")
    if not train.use_gpu:
        fix = "set train.use_gpu to true on a cluster that has some, or trainer to swift"
        raise ConfigError(f"{where}.trainer", "megatron needs GPUs, and train.use_gpu is off", fix)
    _require_sizes(recipe.sizes, train.processes, f"{where}.megatron")


def _require_sizes(sizes: MegatronConfig, processes: int, where: str) -> None:
    """Fail when GPUs cannot be divided so (``megatron.core.parallel_state``)."""
    of = f"the {processes} processes (train.nodes x train.processes_per_node)"
    stages = sizes.pipeline_parallel
    for key in ("tensor_parallel", "expert_parallel"):
        size = getattr(sizes, key)
        if processes % (size * stages):
            ways = [n for n in range(1, processes + 1) if processes % (n * stages) == 0]
            fix = (
                f"set it to {' or '.join(map(str, ways))}" if ways else "set pipeline_parallel to 1"
            )
            problem = f"{size} x pipeline_parallel {stages} does not divide {of}"
            raise ConfigError(f"{where}.{key}", problem, fix)


def require_place(run: str, model: ModelConfig, sizes: MegatronConfig) -> None:
    """Fail when checkpoints have no disk to go to, or a model cannot be divided so.

    Nothing is asked of a hub: its models are looked at when they are here, on each node.

    Args:
        run: the run directory.
        model: the one that is trained.
        sizes: how it is divided.

    Raises:
        ConfigError: naming the option or the setting.
    """
    if storage.local_path(run) is None:
        problem = (
            f"{run} is in object storage; trainer megatron writes to a disk that all nodes see"
        )
        raise ConfigError("--run", problem, "name a folder, or set trainer to swift")
    if not is_hub_id(model.path) and storage.exists(storage.join(model.path, CONFIG)):
        require_type(model.path, model.architecture)
        require_divisible(thinker_of(model.path), sizes, model.path)


def thinker_of(checkpoint: str) -> dict[str, Any]:
    """The config of the thinker of a Qwen3-Omni; see ``qwen3_omni_size``.

    Args:
        checkpoint: a folder (any fsspec URI) or a hub id.
    """
    folder = f"hf://{checkpoint}" if is_hub_id(checkpoint) else checkpoint
    config = json.loads(storage.read_bytes(storage.join(folder, CONFIG)))
    thinker: dict[str, Any] = config["thinker_config"]
    return thinker


def require_divisible(
    thinker: Mapping[str, Mapping[str, Any]], sizes: MegatronConfig, where: str
) -> None:
    """Fail when the layers, heads or experts of a model cannot be divided so.

    The rules are those of ``megatron.core.transformer.TransformerConfig``, and that the first part
    of the layers takes all that the vision tower adds (mcore-bridge's ``Qwen3VLTransformerBlock``).

    Args:
        thinker: config of a Qwen3-Omni's thinker.
        sizes: how it is divided.
        where: names the checkpoint in the error.

    Raises:
        ConfigError: naming the setting.
    """
    text = thinker["text_config"]
    experts, layers = text["num_experts"], text["num_hidden_layers"]
    heads, keys = text["num_attention_heads"], text["num_key_value_heads"]
    deep = len(thinker["vision_config"]["deepstack_visual_indexes"])

    def suits_experts(size: int) -> bool:
        return bool(experts % size == 0)

    def suits_heads(size: int) -> bool:
        return bool(heads % size == 0 and (keys % size == 0 or size % keys == 0))

    def suits_layers(size: int) -> bool:
        return bool(layers % size == 0 and (size == 1 or layers // size >= deep))

    rules = (
        ("expert_parallel", experts, suits_experts, f"{experts} experts a layer"),
        ("tensor_parallel", heads, suits_heads, f"{heads} heads, of keys {keys}"),
        ("pipeline_parallel", layers, suits_layers,
         f"{layers} layers, of which the first {deep} take pictures"),
    )  # fmt: skip
    for key, most, suits, what in rules:
        size = getattr(sizes, key)
        if not suits(size):
            ways = ", ".join(str(n) for n in range(1, most + 1) if suits(n))
            problem = f"is {size}, but {where} has {what}"
            raise ConfigError(f"recipes: megatron.{key}", problem, f"one of {ways}")


def missing_packages() -> list[str]:
    """What of ``PACKAGES`` is not installed here; nothing of it is imported."""
    return [package for module, package in PACKAGES.items() if not _is_there(module)]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # what it is a part of
        return False


def require_installed() -> None:
    """Fail on a node that lacks what Megatron's trainer is made of.

    Raises:
        ConfigError: naming it.
    """
    if missing := missing_packages():
        raise ConfigError(
            "recipes: trainer",
            f"megatron needs {', '.join(missing)}, not installed on this node",
            "install that on every node (docs/training.md), or set trainer to swift",
        )


def settings(
    recipe: RecipeConfig, attention: str, every: int, tensorboard: str, resume: str | None
) -> dict[str, str | int | float | bool | list[str]]:
    """What ``megatron sft`` is told besides what transformers' trainer is told by the same names.

    Args:
        recipe: how to train.
        attention: the kernel, as transformers calls it.
        every: optimizer steps between checkpoints.
        tensorboard: the folder for TensorBoard's files.
        resume: the checkpoint to go on from; None to begin.
    """
    sizes, full, lora = recipe.sizes, recipe.full, recipe.lora
    sees = full is not None and full.vision
    stated: dict[str, str | int | float | bool | list[str]] = {
        "expert_model_parallel_size": sizes.expert_parallel,
        "expert_tensor_parallel_size": 1,
        "tensor_model_parallel_size": sizes.tensor_parallel,
        "pipeline_model_parallel_size": sizes.pipeline_parallel,
        "context_parallel_size": 1,
        "sequence_parallel": sizes.sequence_parallel and sizes.tensor_parallel > 1,
        "use_distributed_optimizer": True,
        "micro_batch_size": recipe.batch_size,
        "global_batch_size": recipe.global_batch_size,
        "num_train_epochs": int(recipe.epochs),
        "lr": recipe.learning_rate,
        "min_lr": 0,
        "lr_decay_style": _SCHEDULERS[recipe.scheduler],
        "lr_warmup_fraction": recipe.warmup_ratio,
        "moe_aux_loss_coeff": 0,  # as for transformers' trainer: the loss is of the reply alone
        "attention_backend": _KERNELS[attention],
        "vit_attn_impl": attention,
        "recompute_granularity": "full" if recipe.gradient_checkpointing else "none",
        "vit_gradient_checkpointing": recipe.gradient_checkpointing and sees,
        "eval_iters": 0,
        "tensorboard_dir": tensorboard,
        # The callback deletes old checkpoints, and says when one is whole.
        "save_strategy": "steps",
        "save_steps": every,
        "save_safetensors": True,
        "async_save": False,
        "no_save_optim": False,
        "no_save_rng": False,
        "finetune": resume is None,
    }
    if recipe.gradient_checkpointing:
        stated |= {"recompute_method": "uniform", "recompute_num_layers": 1}
    if lora:
        stated |= {"target_modules": _TARGETS[lora.targets], "merge_lora": False}
    if resume:
        stated["mcore_adapter" if lora else "mcore_model"] = resume
    return stated
