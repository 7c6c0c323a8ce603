"""The two sizes of the acceptance run, and what its parts have in common.

A size is data: what is built, shown and trained. The parts are the same code for both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import transformers

from ah_ray.config import RunConfig, load_config
from ah_ray.engines.engine import Item
from ah_ray.errors import ItemError
from ah_ray.media.config import MediaConfig
from ah_ray.media.decode import decode
from ah_ray.media.segment import Span
from ah_ray.members import Member, MemberCard
from ah_ray.models.architecture import find_architecture
from ah_ray.models.config import ModelConfig
from ah_ray.models.qwen import with_whole_positions
from ah_ray.models.qwen3_omni import QWEN3_OMNI
from ah_ray.models.qwen3_omni_size import PUBLISHED
from ah_ray.tasks import load_task
from ah_ray.toy import cues
from ah_ray.toy.base import CueClip, write_cue_clips
from ah_ray.toy.model import TINY, write_checkpoint
from ah_ray.toy.parts import random_model
from ah_ray.toy.vision import write_tiny_vision

GIB = 2**30
SEED = 0
DTYPE: Literal["bfloat16"] = "bfloat16"
RANDOM = f"{__name__}:RANDOM_OMNI"


@dataclass(frozen=True)
class Size:
    """What a part is run with.

    Attributes:
        gpus: that it runs on: one, or none for a CPU.
        job: the run config whose settings of model, media, recipes and scoring are taken.
        thinker: sizes of the Qwen3-Omni; see ``models.qwen3_omni_size``.
        served: the architecture of what vLLM serves. Its CPU build puts no adapters on experts.
        pictures: width and height of the clips.
        frames: of each clip, ten a second.
        clips: different ones that engines are asked about.
        batches: clips a forward pass, of the part ``thinker``.
        matrix: height and width of the matrices that the device multiplies for comparison.
        layers: of the language models that are tuned by an adapter.
        zero_layers: of the one that is tuned whole.
        kernel_layers: of the one that is asked with two attention kernels.
        steps: optimizer steps of a training by an adapter.
    """

    gpus: Literal[0, 1]
    job: str
    thinker: Mapping[str, Mapping[str, Any]]
    served: str
    pictures: Sequence[tuple[int, int]]
    frames: tuple[int, int]
    clips: int
    batches: tuple[int, ...]
    matrix: int
    layers: tuple[int, int]
    zero_layers: int
    kernel_layers: int
    steps: int

    @property
    def device(self) -> str:
        """As torch names it."""
        return "cuda" if self.gpus else "cpu"

    @property
    def config(self) -> RunConfig:
        """The settings of the job."""
        return load_config(self.job, "run")

    def thinker_of(self, layers: int) -> dict[str, Mapping[str, Any]]:
        """The sizes of one whose language model has so many layers."""
        text = {**self.thinker["text_config"], "num_hidden_layers": layers}
        return {**self.thinker, "text_config": text}

    def write_omni(self, folder: Path, layers: int, weights: bool = True) -> Path:
        """Write a random Qwen3-Omni of the size of all but its number of layers.

        Its tokenizer knows the words of the task, as a published one knows those of a language.
        """
        with torch.device(self.device):
            write_checkpoint(
                folder, self.thinker_of(layers), SEED, texts=self._texts, merges=4000,
                dtype=DTYPE, weights=weights,
            )  # fmt: skip
        return folder

    def write_served(self, folder: Path) -> Path:
        """Write what vLLM needs of a model to draw its weights itself."""
        if self.served == "qwen2_5_vl":
            write_tiny_vision(folder, self._texts)
            return folder
        return self.write_omni(folder, self.thinker["text_config"]["num_hidden_layers"], False)

    @property
    def _texts(self) -> list[str]:
        task = load_task(self.config.task)
        prompts = [
            text for prompt in task.prompts.values() for text in (prompt.system, prompt.user)
        ]
        return [*prompts, "<answer>Yes</answer> <answer>No</answer> system user assistant\n"] * 10

    def member(self, name: str, folder: Path, architecture: str, **values: Any) -> Member:
        """A member that is asked as the job says.

        Args:
            name: of the member.
            folder: with its checkpoint.
            architecture: of its checkpoint.
            values: others on its card.
        """
        config, ours = self.config, find_architecture(architecture)
        media: MediaConfig = config.media
        if "audio" not in ours.kinds:
            media = media.model_copy(update={"audio": "none", "size_multiple": ours.unit})
        model = ModelConfig(path=str(folder), architecture=architecture, dtype=DTYPE)
        question = load_task(config.task).question("short", "prompt")
        card = MemberCard(
            name=name, weights="base", question=question, model=model, media=media,
            segmentation=config.segmentation,
        )  # fmt: skip
        return Member(str(folder), card.model_copy(update=values))

    def write_clips(self, folder: Path, count: int) -> list[CueClip]:
        """Write clips as files of picture and sound."""
        return write_cue_clips(folder, count, SEED, sizes=self.pictures, frames=self.frames)

    def items(self, folder: Path, member: Member, count: int) -> list[Item]:
        """Clips in memory, as a member is asked about them."""
        found, span = [], Span(0.0, self.frames[0] / 10)
        for clip in self.write_clips(folder, count):
            ((_, decoded),) = decode(str(clip.video), [span], member.card.media)
            if isinstance(decoded, ItemError):
                raise decoded
            found.append(Item(**vars(decoded), video_id=clip.video.stem))
        return found


REAL = Size(
    gpus=1,
    job="jobs/paper.yaml",
    thinker=PUBLISHED,
    served="qwen3_omni",
    pictures=((512, 512),),
    frames=(50, 50),
    clips=128,
    batches=(1, 8, 32),
    matrix=8192,
    layers=(4, 12),
    zero_layers=4,
    kernel_layers=12,
    steps=8,
)
TOY = Size(
    gpus=0,
    job="jobs/demo.yaml",
    thinker=TINY
    | {"text_config": TINY["text_config"] | {"vocab_size": 512, "num_hidden_layers": 3}},
    served="qwen2_5_vl",
    pictures=cues.SIZES,
    frames=(25, 25),
    clips=32,
    batches=(1, 2, 4),
    matrix=512,
    layers=(1, 2),
    zero_layers=1,
    kernel_layers=2,
    steps=4,
)
SIZES = {"real": REAL, "toy": TOY}


def draw(path: str, dtype: str, attention: str) -> Any:
    """A model of the config in a folder with random weights, on torch's default device."""
    config = transformers.AutoConfig.from_pretrained(path)
    kind = getattr(transformers, config.architectures[0])
    return random_model(
        kind, config, SEED, dtype=getattr(torch, dtype), attn_implementation=attention
    )


def _load_random(path: str, dtype: str, attention: str) -> Any:
    model = draw(path, dtype, attention)
    model.generation_config = transformers.GenerationConfig.from_pretrained(path)
    model.thinker.generation_config = model.generation_config
    with_whole_positions(model.thinker)
    return model


#: A Qwen3-Omni whose weights are drawn where they are used: no disk has to hold them.
RANDOM_OMNI = replace(QWEN3_OMNI, load_model=_load_random)


class Result(NamedTuple):
    """What a part has found.

    Attributes:
        rows: of its table.
        figures: beside the table.
    """

    rows: list[dict[str, Any]]
    figures: dict[str, Any]


def device_name(size: Size) -> str:
    """What a part ran on."""
    return str(torch.cuda.get_device_name()) if size.gpus else "CPU"


def matrix_rate(size: Size) -> float:
    """Floating-point operations a second of large matrices multiplied: what there is to have."""
    dtype = getattr(torch, DTYPE)
    one, other = torch.randn(2, size.matrix, size.matrix, device=size.device).to(dtype)
    times = 10

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(times):
            product = one @ other
        product[0, 0].item()  # waits for the device
        return time.perf_counter() - start

    return times * 2 * size.matrix**3 / min(seconds() for _ in range(4))


def forget_peak(size: Size) -> None:
    """Measure the next peak anew; that of a CPU's process stays what it was."""
    if size.gpus:
        torch.cuda.reset_peak_memory_stats()


def peak_gib(size: Size) -> float:
    """The most that torch took of the device, or this process of memory."""
    if size.gpus:
        return float(torch.cuda.max_memory_allocated() / GIB)
    # Not ru_maxrss, which begins with what the parent held.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20
