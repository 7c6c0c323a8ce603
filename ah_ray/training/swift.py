"""The `swift` command of one training: its arguments and its environment.

Everything that MS-Swift would otherwise decide by itself is stated here.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from ah_ray import storage
from ah_ray.attention import attention_kernel
from ah_ray.media.config import MediaConfig
from ah_ray.members import MemberCard
from ah_ray.models.architecture import find_architecture
from ah_ray.models.config import ModelConfig
from ah_ray.training import megatron_trainer
from ah_ray.training.adapters import lora_targets, weights_of
from ah_ray.training.parts import LANGUAGE, modules, pattern
from ah_ray.training.recipe import LoraConfig, RecipeConfig

# These run inside MS-Swift and must not be imported here: they load it.
PLUGINS = tuple(
    Path(__file__).with_name(name)
    for name in ("swift_plugin.py", "swift_callback.py", "swift_reward.py")
)
MEGATRON_PLUGINS = tuple(
    Path(__file__).with_name(name) for name in ("swift_plugin.py", "megatron_callback.py")
)
READER = CALLBACK = REWARD = "ah_ray"
MEDIA_VARIABLE = "AH_RAY_MEDIA"  # the MediaConfig as JSON
ARCHITECTURE_VARIABLE = "AH_RAY_ARCHITECTURE"  # its name
MEMBER_VARIABLE = "AH_RAY_MEMBER"  # the MemberCard as JSON
DEEPSPEED_VARIABLE = "DS_ACCELERATOR"  # DeepSpeed's own, for what it runs on
CALLBACK_VARIABLE = "AH_RAY_CALLBACK"  # what ``swift_callback`` needs, as JSON

_RANK_PATIENCE_S = 3600  # for the others, to load a model or write a checkpoint

COMMANDS = {"sft": ("swift", "sft"), "grpo": ("swift", "rlhf")}
MEGATRON_COMMAND = ("megatron", "sft")


@dataclass(frozen=True)
class SwiftJob:
    """One training.

    Attributes:
        name: what people call it.
        model: the checkpoint to start from.
        recipe: how to tune it.
        parts: the named parts that are trained, in place of what ``recipe.full`` says; with
            ``recipe.lora`` those besides the language model are trained whole.
        media: what the model sees of a clip.
        rows: the data set, one JSON object per line (any fsspec URI); media paths are URIs, in
            which ``rows.RUN`` stands for ``run``.
        validation: the same for the clips that choose the checkpoint; None for none.
        store: the folder for checkpoints and everything else that it leaves (any fsspec URI).
        run: the run directory.
        card: of the member that it makes, which says what is asked and which reply is right; None
            for a base model, which is no member.
        epoch_steps: how many optimizer steps an epoch has; None where that is not known, as with
            packing.
    """

    name: str
    model: ModelConfig
    recipe: RecipeConfig
    media: MediaConfig
    rows: str
    store: str
    validation: str | None = None
    run: str = ""
    card: MemberCard | None = None
    epoch_steps: int | None = None
    parts: tuple[str, ...] = ()

    @property
    def checkpoints(self) -> str:
        """The folder for checkpoints."""
        return storage.join(self.store, "checkpoints")

    @property
    def finished(self) -> str:
        """The file that says that it has got to its end, as JSON."""
        return storage.join(self.store, "finished.json")

    @property
    def logs(self) -> str:
        """The folder for what ``swift`` wrote on each node in the last try."""
        return storage.join(self.store, "logs")

    @property
    def progress(self) -> str:
        """The file with its newest record, as JSON."""
        return storage.join(self.store, "progress.json")


@dataclass(frozen=True)
class Node:
    """One machine's place in a training."""

    rank: int = 0
    count: int = 1
    processes: int = 1
    loaders: int = 2
    address: str = "127.0.0.1"
    port: int = 0
    use_gpu: bool = False

    @property
    def distributed(self) -> bool:
        """Whether there is more than one process."""
        return self.count * self.processes > 1


@dataclass(frozen=True)
class Paths:
    """Where a training finds and leaves things on one machine.

    Attributes:
        model: the checkpoint to start from.
        rows: the data set, with local media paths.
        validation: the validation data set; None for none.
        output: the folder for checkpoints.
        tensorboard: the folder for TensorBoard's files.
        resume: the complete checkpoint to go on from; None to begin.
    """

    model: str
    rows: str
    validation: str | None
    output: str
    tensorboard: str
    resume: str | None


def command(job: SwiftJob, node: Node, paths: Paths) -> list[str]:
    """The whole command line of one node.

    Raises:
        ConfigError: the recipe does not go with the node's processes or with the checkpoint.
    """
    by_megatron = job.recipe.trainer == "megatron"
    words = MEGATRON_COMMAND if by_megatron else COMMANDS[job.recipe.algorithm]
    return [*words, *arguments(job, node, paths)]


def shell_text(job: SwiftJob, node: Node, paths: Paths) -> str:
    """Environment and command of one node as a shell reads them, one argument per line."""
    variables = [f"{k}={shlex.quote(v)}" for k, v in environment(job, node, paths).items()]
    words: list[str] = []
    for word in command(job, node, paths):
        if word.startswith("--") or not words:
            words.append(word)
        else:
            words[-1] += f" {shlex.quote(word)}"
    return " \\\n  ".join([*variables, *words])


Settings = dict[str, str | int | float | bool | list[str]]


def arguments(job: SwiftJob, node: Node, paths: Paths) -> list[str]:
    """The arguments of the ``swift`` command, or of ``megatron``."""
    of_trainer = _of_megatron if job.recipe.trainer == "megatron" else _of_transformers
    stated = _of_both(job, node, paths) | of_trainer(job, node, paths) | job.recipe.extra_args
    return [
        part
        for key, value in stated.items()
        for part in (f"--{key}", *map(_text, value if isinstance(value, list) else [value]))
    ]


def _of_both(job: SwiftJob, node: Node, paths: Paths) -> Settings:
    """What both trainers are told by the same names."""
    recipe, architecture = job.recipe, find_architecture(job.model.architecture)
    stated: Settings = {
        "model": paths.model,
        "model_type": architecture.swift_model,
        "template": architecture.swift_template,
        "use_hf": True,  # and with check_model off: never ask a hub about a local folder
        "check_model": False,
        "dataset": paths.rows,
        "split_dataset_ratio": 0,
        "strict": True,  # a bad row is an error, not another row
        "dataset_shuffle": True,
        "external_plugins": [
            str(p) for p in (MEGATRON_PLUGINS if recipe.trainer == "megatron" else PLUGINS)
        ],
        "callbacks": CALLBACK,
        "torch_dtype": job.model.dtype,
        "tuner_type": recipe.tuner,
        "weight_decay": recipe.weight_decay,
        "packing": recipe.packing,
        "max_length": recipe.max_length,
        "truncation_strategy": "left",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "dataloader_num_workers": node.loaders,
        "logging_steps": recipe.log_every_steps,
        "report_to": "tensorboard",
        "output_dir": paths.output,
        "add_version": False,
        "ddp_timeout": _RANK_PATIENCE_S,
    }
    if full := recipe.full:
        stated |= {
            "freeze_llm": not full.language,
            "freeze_vit": not full.vision,
            "freeze_aligner": not full.aligner,
        }
    if lora := recipe.lora:
        stated |= {
            "lora_rank": lora.rank,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
        }
    return stated


def _of_megatron(job: SwiftJob, node: Node, paths: Paths) -> Settings:
    attention, _ = attention_kernel(job.model.attention, node.use_gpu)
    job.recipe.accumulation(node.count * node.processes)  # fails where there are no whole passes
    assert job.epoch_steps  # packing is refused, so that it is known
    return megatron_trainer.settings(
        job.recipe,
        attention,
        every=job.recipe.save_every_steps or job.epoch_steps,
        tensorboard=paths.tensorboard,
        resume=paths.resume,
    )


def _of_transformers(job: SwiftJob, node: Node, paths: Paths) -> Settings:
    recipe, architecture = job.recipe, find_architecture(job.model.architecture)
    # By epochs MS-Swift would write and validate the last checkpoint twice.
    steps = recipe.save_every_steps or job.epoch_steps
    every = "steps" if steps else "epoch"
    attention, _ = attention_kernel(job.model.attention, node.use_gpu)
    stated: Settings = {
        "attn_impl": attention,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.scheduler,
        "warmup_ratio": recipe.warmup_ratio,
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation(node.count * node.processes),
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "include_num_input_tokens_seen": True,
        "logging_dir": paths.tensorboard,
        # The callback deletes old checkpoints: MS-Swift would do so before the new one is whole.
        "save_strategy": every,
        "save_only_model": False,
        "eval_strategy": every if paths.validation else "no",
    }
    if steps:
        stated["save_steps"] = steps
    if paths.validation:
        stated |= {
            "val_dataset": paths.validation,
            "per_device_eval_batch_size": recipe.batch_size,
            "metric_for_best_model": "loss",
        }
        if steps:
            stated["eval_steps"] = steps
        if recipe.early_stop_after:
            stated["early_stop_interval"] = recipe.early_stop_after
    if paths.resume:
        stated["resume_from_checkpoint"] = paths.resume
        if recipe.full:
            # The trainer that goes on from a checkpoint of a mixture of experts looks for the
            # experts under the names that they have in memory, does not find them and says no more
            # than a warning. Taken as the model to start from, a checkpoint is loaded whole.
            stated["model"] = paths.resume
    if grpo := recipe.grpo:
        stated |= {
            "rlhf_type": "grpo",
            "reward_funcs": REWARD,
            "num_generations": grpo.generations,
            "temperature": grpo.temperature,
            "max_completion_length": grpo.max_reply_tokens,
            "use_vllm": False,
        }
    if lora := recipe.lora:
        stated["target_modules"] = _adapted(lora, job, paths.model)
    if job.parts and recipe.full:
        # The pattern outranks what is frozen.
        stated["trainable_parameters_regex"] = pattern(architecture, job.parts, in_memory=True)
    elif beside := modules(architecture, [part for part in job.parts if part != LANGUAGE]):
        stated["modules_to_save"] = beside
    if recipe.deepspeed:
        stated["deepspeed"] = recipe.deepspeed
    if not node.use_gpu:
        stated["use_cpu"] = True
        if _by_torchrun(job, node):
            stated["ddp_backend"] = "gloo"
    return stated


def _adapted(lora: LoraConfig, job: SwiftJob, checkpoint: str) -> list[str]:
    """The names of what gets an adapter; of a checkpoint that is not there (yet), a word for them.

    Raises:
        ConfigError: nothing does, or not what the adapters can be put on.
    """
    if not Path(checkpoint).is_dir():
        return [f"<what {lora.targets} means there>"]
    architecture = find_architecture(job.model.architecture)
    modules, fused = lora_targets(weights_of(checkpoint), lora, architecture)
    return [*map(architecture.name_in_memory, modules), *fused]


def environment(job: SwiftJob, node: Node, paths: Paths) -> dict[str, str]:
    """What the environment of ``swift`` must hold besides what is there."""
    stated = {
        MEDIA_VARIABLE: job.media.model_dump_json(),
        ARCHITECTURE_VARIABLE: job.model.architecture,
        CALLBACK_VARIABLE: json.dumps(
            {
                "store": job.checkpoints,
                "model": paths.model,
                "rows": paths.rows,
                "validation": paths.validation,
                "save_total_limit": job.recipe.save_total_limit,
                "resume": paths.resume,
            }
            | (_steps_of_megatron(job) if job.recipe.trainer == "megatron" else {})
        ),
        **find_architecture(job.model.architecture).swift_environment(job.media, READER),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(
            dict.fromkeys([str(Path(__file__).parents[2]), *filter(None, sys.path)])
        ),
    }
    if job.recipe.trainer == "megatron":
        stated |= megatron_trainer.ENVIRONMENT
    if job.card is not None:
        stated[MEMBER_VARIABLE] = job.card.model_dump_json(exclude={"trained"})
    if _by_torchrun(job, node):
        stated |= {
            "NNODES": str(node.count),
            "NODE_RANK": str(node.rank),
            "NPROC_PER_NODE": str(node.processes),
            "MASTER_ADDR": node.address,
            "MASTER_PORT": str(node.port),
        }
    if not node.use_gpu:
        stated["CUDA_VISIBLE_DEVICES"] = ""
        if job.recipe.deepspeed:
            stated[DEEPSPEED_VARIABLE] = "cpu"
    return stated


def _steps_of_megatron(job: SwiftJob) -> dict[str, int]:
    assert job.epoch_steps
    return {"steps": int(job.recipe.epochs) * job.epoch_steps}


def _by_torchrun(job: SwiftJob, node: Node) -> bool:
    """Whether processes find each other: these look for others also where there is one."""
    of_many = job.recipe.deepspeed is not None or job.recipe.trainer == "megatron"
    return node.distributed or of_many


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
