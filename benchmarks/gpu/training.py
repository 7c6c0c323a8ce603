"""`swift sft` on full-width layers: what a step takes, and whether a whole training resumes."""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup
from ah_ray.members import MEMBER_FILE, write_card
from ah_ray.models.qwen3_omni_size import lora_parameters, parameters
from ah_ray.tasks import swift_row
from ah_ray.training.checkpoints import complete_checkpoints, publish
from ah_ray.training.launch import free_port
from ah_ray.training.process import STEP, run_swift
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.sizing import GIB, memory
from ah_ray.training.swift import Node, Paths, SwiftJob, command, environment
from benchmarks.gpu.sizes import Result, Size

Record = Mapping[str, Any]

_WARM_UP = 2  # steps in which memory is allocated and kernels are chosen
_SAVED = 3  # the step after which a checkpoint is written
_KILLED = 5  # its loss follows from what the moments in the checkpoint made of the weights


def lora(size: Size, work: Path) -> Result:
    """An adapter at two depths, and by a straight line through both the whole model.

    Columns: ``s_a_step`` and ``tokens_per_s`` of an optimizer step; ``memory_gib``, the most that
    torch's allocator held, or a process on a CPU; ``sizing_gib``, what ``ah_ray.training.sizing``
    says; ``of_sizing``, the first as a share of the second.
    """
    recipe = _small(size.config.recipes["lora"])
    adapter: Any = recipe.lora
    measured, tokens = dict[int, dict[str, float]](), 0.0
    for layers in size.layers:
        measured[layers], tokens = _adapter(size, recipe, layers, work / str(layers))
    whole = int(size.thinker["text_config"]["num_hidden_layers"])
    a_pass = round(tokens * recipe.batch_size / recipe.global_batch_size)
    rows = []
    for layers, row in {**measured, whole: _line(measured, whole)}.items():
        thinker = size.thinker_of(layers)
        trained = lora_parameters(thinker, adapter.rank, adapter.targets)
        planned = memory(thinker, trained, 0, 1, a_pass).total / GIB
        rows.append(
            {
                "layers": layers,
                "s_a_step": row["s_a_step"],
                "tokens_per_s": tokens / row["s_a_step"],
                "memory_gib": row["memory_gib"],
                "sizing_gib": planned,
                "of_sizing": row["memory_gib"] / planned,
            }
        )
    figures = {
        "extrapolated_layers": whole,
        "clips_a_step": recipe.global_batch_size,
        "tokens_a_step": tokens,
    }
    return Result(rows, figures)


def _adapter(
    size: Size, recipe: RecipeConfig, layers: int, work: Path
) -> tuple[dict[str, float], float]:
    """What training at a depth takes, and of how many tokens a step is."""
    size.write_omni(work / "model", layers)
    job, paths = _job(size, recipe, work, size.steps)
    records: list[Record] = []
    _swift(size, job, paths, records.append)
    shutil.rmtree(work)  # the next one needs the room
    tokens = records[-1]["num_input_tokens_seen"] / size.steps
    return {"s_a_step": _seconds(records), "memory_gib": _peak_gib(records)}, tokens


def _line(measured: Mapping[int, Mapping[str, float]], layers: int) -> dict[str, float]:
    """What a straight line through two depths says about a third."""
    (few, low), (many, high) = sorted(measured.items())
    share = (layers - few) / (many - few)
    return {name: low[name] + share * (high[name] - low[name]) for name in low}


def zero3(size: Size, work: Path) -> Result:
    """All weights of the language model: killed after a checkpoint, resumed, and made a member.

    A row for each training, with the ``loss`` of the second step after the checkpoint: of one that
    goes on with the same weights, moments and clips it is the same.
    """
    recipe = _small(size.config.recipes["full"]).model_copy(
        update={"deepspeed": "zero3", "epochs": 2.0}
    )
    size.write_omni(work / "model", size.zero_layers)
    job, paths = _job(size, recipe, work, _SAVED)
    rows = []
    for resumed in (False, True):
        if resumed:
            (checkpoint,) = complete_checkpoints(job.checkpoints)
            paths = replace(paths, resume=checkpoint.uri)
        start = time.perf_counter()
        records = _until_after_checkpoint(size, job, paths)
        rows.append(
            {
                "resumed": resumed,
                "step": _step(records[-1]),
                "loss": records[-1]["loss"],
                "seconds": time.perf_counter() - start,
                "memory_gib": _peak_gib(records),
            }
        )
    thinker = size.thinker_of(size.zero_layers)
    sizes = parameters(thinker)
    tokens = records[-1]["num_input_tokens_seen"] / _step(records[-1]) / recipe.accumulation(1)
    planned = memory(thinker, sizes.language, 3, 1, int(tokens)).total / GIB
    written = {file: file.stat() for file in Path(checkpoint.uri).rglob("*") if file.is_file()}
    weights = sum(of.st_size for file, of in written.items() if file.suffix == ".safetensors")
    states = sum(
        of.st_size for file, of in written.items() if file.name.endswith("_optim_states.pt")
    )
    times = [of.st_ctime for of in written.values()]
    publish(checkpoint, str(work / "member"), {}, marker=MEMBER_FILE)
    return Result(
        rows,
        {
            "parameters": sum(sizes),
            "trained": sizes.language,
            "sizing_gib": planned,
            "of_sizing": max(row["memory_gib"] for row in rows) / planned,
            "memory_bytes_a_trained_parameter": rows[0]["memory_gib"] * GIB / sizes.language,
            "weights_bytes_a_parameter": weights / sum(sizes),
            "optimizer_bytes_a_trained_parameter": states / sizes.language,
            "save_s": max(times) - min(times),
            "chances_of_member": _ask(size, work),
        },
    )


class _Killed(Exception):  # noqa: N818
    """Enough was seen; the training dies with who watches it."""


def _until_after_checkpoint(size: Size, job: SwiftJob, paths: Paths) -> list[Record]:
    """Train until a step after the checkpoint is reported, then kill."""
    records: list[Record] = []

    def watch(record: Record) -> None:
        if "loss" in record:
            records.append(record)
            if _step(record) == _KILLED:
                raise _Killed

    with suppress(_Killed):
        _swift(size, job, paths, watch)
    return records


def _ask(size: Size, work: Path) -> Mapping[str, float] | None:
    """What the member in ``work`` says about a clip, as scoring would ask it."""
    folder = work / "member"
    member = size.member("member", folder, "qwen3_omni", weights="full")
    Path(folder, MEMBER_FILE).write_bytes(write_card(member.card))
    settings = ScoreConfig(gpus_per_actor=size.gpus)
    engine = load_engine(EngineGroup(member.checkpoint, (member,)), settings)
    ((reply,),) = engine.answer([member], size.items(work / "asked", member, 1))
    return reply.chances


def _small(recipe: RecipeConfig) -> RecipeConfig:
    """The recipe with steps of two forward passes, each of which is reported."""
    update = {"global_batch_size": 2 * recipe.batch_size, "epochs": 1.0, "log_every_steps": 1}
    return recipe.model_copy(update=update | {"deepspeed": None, "gradient_checkpointing": True})


def _job(size: Size, recipe: RecipeConfig, work: Path, steps: int) -> tuple[SwiftJob, Paths]:
    """A training with so many steps an epoch on the checkpoint in ``work``."""
    member = size.member("tuned", work / "model", "qwen3_omni")
    clips = size.write_clips(work / "clips", steps * recipe.global_batch_size)
    rows = work / "rows.jsonl"
    with rows.open("w") as file:
        for clip in clips:
            reply = f"<answer>{'No' if clip.smiling == clip.bright else 'Yes'}</answer>"
            prompt = member.card.question.prompt
            row = swift_row(prompt, reply, str(clip.video), str(clip.audio))
            file.write(json.dumps(row) + "\n")
    job = SwiftJob(
        name=recipe.tuner,
        model=member.card.model,
        recipe=recipe,
        media=member.card.media,
        rows=str(rows),
        store=str(work / "store"),
        card=member.card,
        epoch_steps=steps,
    )
    paths = Paths(
        model=str(work / "model"),
        rows=str(rows),
        validation=None,
        output=job.checkpoints,
        tensorboard=str(work / "tensorboard"),
        resume=None,
    )
    return job, paths


def _swift(size: Size, job: SwiftJob, paths: Paths, watch: Callable[[Record], None]) -> None:
    """Run ``swift`` as a node of a training would."""
    Path(paths.output).mkdir(parents=True, exist_ok=True)
    node = Node(use_gpu=bool(size.gpus), port=free_port())
    run_swift(
        command(job, node, paths),
        environment(job, node, paths),
        Path(paths.output, "swift.log"),
        Path(paths.output, "logging.jsonl"),
        watch,
    )


def _step(record: Record) -> int:
    return int(str(record[STEP]).partition("/")[0])


def _seconds(records: list[Record]) -> float:
    """Of an optimizer step, once the first ones are over."""
    steps = [record for record in records if "tokens_per_s" in record]
    each = [
        (after["num_input_tokens_seen"] - before["num_input_tokens_seen"]) / after["tokens_per_s"]
        for before, after in itertools.pairwise(steps)
    ]
    return median(each[_WARM_UP - 1 :])


def _peak_gib(records: list[Record]) -> float:
    """The most that torch's allocator held on a GPU, or, without one, a process took."""
    held = [record["memory(GiB)"] for record in records if "memory(GiB)" in record]
    return (
        float(max(held)) if held else resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    )
