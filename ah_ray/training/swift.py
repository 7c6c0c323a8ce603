"""The `swift sft` command of one training: its arguments, its environment, its progress.

Everything that MS-Swift would otherwise decide by itself is stated here.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from ah_ray.config import MediaConfig, ModelConfig, RecipeConfig
from ah_ray.errors import ConfigError

# ``swift_plugin`` runs inside MS-Swift and must not be imported here: it loads Qwen's utilities.
PLUGIN = Path(__file__).with_name("swift_plugin.py")
READER = "ah_ray"
MEDIA_VARIABLE = "AH_RAY_MEDIA"  # the MediaConfig as JSON


@dataclass(frozen=True)
class SwiftJob:
    """One training.

    Attributes:
        name: what people call it.
        model: the checkpoint to start from.
        recipe: how to tune it.
        media: what the model sees of a clip.
        rows: the data set, one JSON object per line (any fsspec URI); media paths are URIs.
        output: the folder that the trained checkpoint or adapter goes to (any fsspec URI).
    """

    name: str
    model: ModelConfig
    recipe: RecipeConfig
    media: MediaConfig
    rows: str
    output: str


@dataclass(frozen=True)
class Launch:
    """A training and what its finished folder holds besides the checkpoint.

    Attributes:
        job: the training.
        files: further files by name.
        marker: the file that is written last; the folder is complete when it is there.
    """

    job: SwiftJob
    files: Mapping[str, bytes]
    marker: str


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


def arguments(job: SwiftJob, node: Node, model: str, rows: str, output: str) -> list[str]:
    """The arguments of ``swift sft``.

    Args:
        job: the training.
        node: the machine it runs on.
        model: local path of the checkpoint.
        rows: local path of the data set, with local media paths.
        output: local folder for checkpoints.
    """
    recipe = job.recipe
    stated: dict[str, str | int | float | bool | list[str]] = {
        "model": model,
        "model_type": job.model.model_type,
        "template": job.model.template,
        "use_hf": True,  # and with check_model off: never ask a hub about a local folder
        "check_model": False,
        "dataset": rows,
        "split_dataset_ratio": 0,
        "strict": True,  # a bad row is an error, not another row
        "dataset_shuffle": True,
        "external_plugins": str(PLUGIN),
        "torch_dtype": job.model.dtype,
        "attn_impl": job.model.attention,
        "tuner_type": recipe.tuner,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": recipe.warmup_ratio,
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "max_length": recipe.max_length,
        "truncation_strategy": "left",
        "freeze_vit": not recipe.train_vision,
        "freeze_aligner": not recipe.train_aligner,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "dataloader_num_workers": node.loaders,
        "logging_steps": 10,
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "save_only_model": True,
        "report_to": "none",
        "output_dir": output,
        "add_version": False,
    }
    if recipe.tuner == "lora":
        stated |= {
            "lora_rank": recipe.lora_rank,
            "lora_alpha": recipe.lora_alpha,
            "target_modules": lora_modules(Path(model), recipe.lora_targets),
        }
    if recipe.deepspeed:
        stated["deepspeed"] = recipe.deepspeed
    if not node.use_gpu:
        stated["use_cpu"] = True
        if node.distributed:
            stated["ddp_backend"] = "gloo"
    stated |= recipe.extra_args
    return [
        part
        for key, value in stated.items()
        for part in (f"--{key}", *map(_text, value if isinstance(value, list) else [value]))
    ]


def lora_modules(checkpoint: Path, pattern: str) -> list[str]:
    """The full names of the checkpoint's modules that ``pattern`` matches as a whole.

    MS-Swift takes a pattern too, but for mixture-of-experts models PEFT reduces it to the last
    part of the names it matches, and ``q_proj`` is found again in the audio tower.

    Raises:
        ConfigError: nothing matches.
    """
    weights: set[str] = set()
    for file in checkpoint.glob("*.safetensors"):
        with safe_open(file, "np") as tensors:
            weights.update(tensors.keys())
    names = sorted(name.removesuffix(".weight") for name in weights if name.endswith(".weight"))
    matched = [name for name in names if re.fullmatch(pattern, name)]
    if not matched:
        raise ConfigError(
            "recipes: lora_targets", f"{pattern} matches no module of {checkpoint}",
            f"match names like {names[0] if names else 'those in its safetensors files'}",
        )  # fmt: skip
    return matched


def environment(job: SwiftJob, node: Node) -> dict[str, str]:
    """What the environment of ``swift`` must hold besides what is there."""
    media, unit = job.media, job.media.size_multiple**2
    stated = {
        MEDIA_VARIABLE: media.model_dump_json(),
        "FORCE_QWENVL_VIDEO_READER": READER,
        # Frames come at their final size; these bounds keep Qwen's utilities from changing it.
        "VIDEO_MIN_TOKEN_NUM": str(media.min_pixels // unit),
        "VIDEO_MAX_TOKEN_NUM": str(-(-media.max_pixels // unit)),
        "SWIFT_AUDIO_LOAD_BACKEND": "soundfile_pyav",
        "ENABLE_AUDIO_OUTPUT": "0",  # the thinker only: no speech is trained
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
    }
    if node.distributed:
        stated |= {
            "NNODES": str(node.count),
            "NODE_RANK": str(node.rank),
            "NPROC_PER_NODE": str(node.processes),
            "MASTER_ADDR": node.address,
            "MASTER_PORT": str(node.port),
        }
    if not node.use_gpu:
        stated["CUDA_VISIBLE_DEVICES"] = ""
    return stated


class SwiftError(RuntimeError):
    """`swift` failed; the message ends with the last lines it wrote."""


def run_swift(
    args: Sequence[str],
    extra_environment: Mapping[str, str],
    output: Path,
    on_progress: Callable[[Mapping[str, object]], None],
) -> Path:
    """Run ``swift sft`` to its end; it dies with this process.

    Args:
        args: from ``arguments``.
        extra_environment: from ``environment``.
        output: its ``output_dir``; what it prints goes to ``swift.log`` there.
        on_progress: called with each record that MS-Swift logs (loss, step, remaining time).

    Returns:
        The folder of the last checkpoint.

    Raises:
        SwiftError: it exited with an error or left no checkpoint.
    """
    output.mkdir(parents=True, exist_ok=True)
    log, records = output / "swift.log", output / "logging.jsonl"
    command = [sys.executable, "-m", "swift.cli.main", "sft", *args]
    inherited = {k: v for k, v in os.environ.items() if k not in _RAY_SETS}
    with log.open("wb") as sink:
        child = subprocess.Popen(
            command,
            env=inherited | dict(extra_environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    seen = 0
    try:
        while True:
            ended = child.poll() is not None
            # What follows the last newline is a record that is still being written.
            lines = records.read_text().split("\n")[:-1] if records.exists() else []
            for line in lines[seen:]:
                record = json.loads(line)
                if "loss" in record:
                    on_progress(record)
            seen = len(lines)
            if ended:
                break
            _wait(child)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.returncode:
        raise SwiftError(f"swift exited with {child.returncode}:\n{last_lines(log)}")
    checkpoints = sorted(output.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    if not checkpoints:
        raise SwiftError(f"swift left no checkpoint:\n{last_lines(log)}")
    return checkpoints[-1]


def last_lines(log: Path, count: int = 20) -> str:
    """The end of a log, without progress bars."""
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    return "\n".join(deque((line for line in lines if "it/s]" not in line), maxlen=count))


# Ray binds a worker to its device and threads with these; torchrun and MS-Swift set their own.
_RAY_SETS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent is gone, even by SIGKILL."""
    parent_death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
