"""Launch a training on the cluster: Ray Train starts one worker per node, each runs ``swift``."""

from __future__ import annotations

import json
import math
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.fs
import ray
import ray.train
import ray.util
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from ah_ray import storage
from ah_ray.attention import attention_kernel
from ah_ray.checkpoints import local_checkpoint
from ah_ray.media.fragment import split_fragment
from ah_ray.models.architecture import find_architecture, require_type
from ah_ray.preflight import alive_nodes, nodes_for, text, train_wish
from ah_ray.progress import console
from ah_ray.schemas import stable_id
from ah_ray.tasks import SUBTITLE
from ah_ray.training.checkpoints import (
    Checkpoint,
    complete_checkpoints,
    delete_incomplete,
    needed_by,
    upload,
)
from ah_ray.training.config import TrainConfig
from ah_ray.training.megatron_trainer import require_divisible, require_installed, thinker_of
from ah_ray.training.process import STEP, SwiftError, last_lines, run_swift
from ah_ray.training.rows import RUN, with_subtitle
from ah_ray.training.swift import (
    Node,
    Paths,
    SwiftJob,
    command,
    environment,
)

_PROGRESS_EVERY_S = 5.0
_PATIENCE_S = 60.0  # within which nodes that are free have begun


def fit(job: SwiftJob, settings: TrainConfig) -> None:
    """Run one training on ``settings.nodes`` nodes to its end, unless it got there before.

    A training that was cut off goes on from its newest complete checkpoint; so does one that
    fails, ``settings.max_failures`` times.

    Args:
        job: what to train; its checkpoints are then in ``job.checkpoints``.
        settings: its resources.

    Raises:
        SwiftError: it failed once too often.
    """
    if storage.exists(job.finished):
        return
    delete_incomplete(job.checkpoints)
    storage.remove(storage.join(job.store, "ray"))
    trainer = make_trainer(_train_on_node, job, settings)
    interrupted = signal.getsignal(signal.SIGINT)
    try:
        with watched(job, settings.nodes, train_wish(settings).part.amounts):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise SwiftError(failure_message(job, settings, error)) from None
    finally:
        # Ray Train leaves its own answer to Ctrl-C, which ends whatever comes later with code 0.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupted)


def make_trainer(
    work: Callable[[Mapping[str, Any]], None], job: SwiftJob, settings: TrainConfig
) -> DataParallelTrainer:
    """What starts ``work`` on each node of a training, with its ``job`` and ``settings``."""
    filesystem, path = storage.filesystem_of(job.store)
    return DataParallelTrainer(
        work,
        train_loop_config={"job": job, "settings": settings},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.nodes,
            use_gpu=settings.use_gpu,
            resources_per_worker=dict(train_wish(settings).part.amounts),
            placement_strategy="STRICT_SPREAD" if settings.nodes > 1 else "PACK",
        ),
        # Ray's own state goes where the run goes, through the same filesystem as all else.
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=path,
            storage_filesystem=pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem)),
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
        ),
    )


def failure_message(
    job: SwiftJob, settings: TrainConfig, error: ray.train.TrainingFailedError
) -> str:
    """What people read of a training that is given up: the child's words, not Ray's stack."""
    causes = [
        str(getattr(cause, "_base_exc", cause))
        for cause in getattr(error, "worker_failures", {}).values()
    ]
    done = complete_checkpoints(job.checkpoints)
    kept = f"step {done[-1].step}" if done else "none"
    return (
        f"training of {job.name} failed {settings.max_failures + 1} times; newest complete "
        f"checkpoint: {kept}; the same command goes on from there\n"
        + "\n".join(dict.fromkeys(causes or [str(error)]))
        + f"\nall that it wrote: {job.logs}"
    )


def node_scratch(job: SwiftJob, settings: TrainConfig, rank: int) -> Path:
    """The folder on a node's disk that its part of a training uses while it runs."""
    parent = settings.scratch or tempfile.gettempdir()
    return Path(parent, f"ah_ray_train_{stable_id(job.store)}_{rank}")


def node_of(settings: TrainConfig, rank: int, address: str, port: int) -> Node:
    """A node's place in a training with these resources."""
    return Node(
        rank=rank,
        count=settings.nodes,
        processes=settings.processes_per_node,
        loaders=settings.loaders_per_process,
        address=address,
        port=port,
        use_gpu=settings.use_gpu,
    )


def node_paths(job: SwiftJob, scratch: Path, model: str, newest: Checkpoint | None) -> Paths:
    """Where a node's part of a training finds and leaves things.

    Checkpoints are written where they stay if that is a disk that all nodes reach; else they go
    to ``scratch`` and from there to the object store.
    """
    output, tensorboard = (storage.local_path(uri) for uri in (job.checkpoints, _tensorboard(job)))
    resume = None
    if newest is not None:
        resume = newest.uri if output else str(scratch / f"checkpoint-{newest.step}")
    return Paths(
        model=model,
        rows=str(scratch / "rows.jsonl"),
        validation=str(scratch / "validation.jsonl") if job.validation else None,
        output=str(output or scratch / "output"),
        tensorboard=str(tensorboard or scratch / "tensorboard"),
        resume=resume,
    )


def _tensorboard(job: SwiftJob) -> str:
    return storage.join(job.store, "tensorboard")


def _train_on_node(config: Mapping[str, Any]) -> None:
    """What each Ray Train worker does: bring the inputs, run ``swift``, report."""
    job: SwiftJob = config["job"]
    settings: TrainConfig = config["settings"]
    of_megatron = job.recipe.trainer == "megatron"
    if of_megatron:
        require_installed()
    rank = ray.train.get_context().get_world_rank()
    # Node 0 says where to meet and from where to go on: all must do the same.
    done = complete_checkpoints(job.checkpoints)
    address, port, newest = broadcast_from_rank_zero(
        (ray.util.get_node_ip_address(), free_port(), done[-1] if done else None)
    )
    node = node_of(settings, rank, address, port)
    scratch = node_scratch(job, settings, rank)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    started = time.monotonic()
    try:
        model = str(local_checkpoint(job.model.path))
        require_type(model, job.model.architecture)
        if of_megatron:
            require_divisible(thinker_of(model), job.recipe.sizes, model)
        paths = node_paths(job, scratch, model, newest)
        load = find_architecture(job.model.architecture).load_processor
        for rows, local in ((job.rows, paths.rows), (job.validation, paths.validation)):
            if rows and local:
                localize_rows(rows, Path(local), job.run, lambda: load(model).tokenizer)
        if newest is not None and paths.resume and paths.resume != newest.uri:
            each = settings.processes_per_node
            ours = range(rank * each, (rank + 1) * each)
            storage.get(newest.uri, Path(paths.resume), partial(needed_by, ours))
        Path(paths.output).mkdir(parents=True, exist_ok=True)
        kernel, note = attention_kernel(job.model.attention, node.use_gpu)
        report = _Report(job, paths, note, newest) if rank == 0 else None
        if newest is None or not newest.is_last:  # the trainer would make one step too many
            run_swift(
                command(job, node, paths),
                environment(job, node, paths),
                scratch / "swift.log",
                Path(paths.output, "logging.jsonl"),
                report or (lambda record: None),
            )
        if report is not None:
            if not complete_checkpoints(job.checkpoints):
                words = last_lines(scratch / "swift.log")
                raise SwiftError(f"swift left no checkpoint:\n{words}")
            report.end(kernel, time.monotonic() - started)
    finally:
        if (log := scratch / "swift.log").exists():
            storage.write_bytes(storage.join(job.logs, f"node-{rank}.log"), log.read_bytes())
        shutil.rmtree(scratch, ignore_errors=True)
    ray.train.report({"done": 1})


class _Report:
    """Keeps the newest records of a training, and TensorBoard's files, where others find them."""

    def __init__(
        self, job: SwiftJob, paths: Paths, note: str | None, newest: Checkpoint | None
    ) -> None:
        self._job, self._paths = job, paths
        notes = [note] if note else []
        if newest is not None:
            notes.append(f"goes on from step {newest.step}")
        self._progress: dict[str, object] = {"notes": notes}
        self._summary: dict[str, object] = {"notes": notes}
        self._written = -math.inf
        self._write()

    def __call__(self, record: Mapping[str, object]) -> None:
        self._summary |= record
        # Apart: a validation and the end have a step too, but not the training's loss at it.
        for kind, key in (("training", "loss"), ("validation", "eval_loss")):
            if key in record:
                self._progress[kind] = record
        if time.monotonic() - self._written >= _PROGRESS_EVERY_S:
            self._write()

    def end(self, attention: str, seconds: float) -> None:
        """The training is over."""
        self._write()
        facts = {"attention": attention, "seconds": round(seconds, 1)}
        storage.write_bytes(self._job.finished, json.dumps(facts | self._summary).encode())

    def _write(self) -> None:
        self._written = time.monotonic()
        storage.write_bytes(self._job.progress, json.dumps(self._progress).encode())
        if storage.local_path(self._job.store) is None:
            upload(Path(self._paths.tensorboard), _tensorboard(self._job))


@contextmanager
def watched(job: SwiftJob, nodes: int, resources: Mapping[str, float]) -> Iterator[None]:
    """Print a training's progress as its first node writes it, and what it waits for."""
    storage.remove(job.progress)
    ended = threading.Event()
    started = time.monotonic()
    said: set[str] = set()

    def say(lines: Iterable[str]) -> None:
        for line in lines:
            if line not in said:
                console.print(f"  {job.name}: {line}", markup=False)
                said.add(line)

    def recorded() -> list[str] | None:
        if not storage.exists(job.progress):
            return None
        return progress_lines(json.loads(storage.read_bytes(job.progress)))

    def watch() -> None:
        while not ended.wait(_PROGRESS_EVERY_S) and ray.is_initialized():
            lines = recorded()
            say(lines or [])
            there = nodes_for(resources, alive_nodes())
            late = lines is None and time.monotonic() - started >= _PATIENCE_S
            if there < nodes or late:
                say([f"waits for {nodes} nodes with {text(resources)} free; {there} are there"])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    say(recorded() or [])  # what it wrote after the last look


def progress_lines(progress: Mapping[str, Any]) -> list[str]:
    """What people read of a training: notes, its newest step with a loss, its last validation."""
    lines = [str(note) for note in progress["notes"]]
    if training := progress.get("training"):
        speed = f"{training['tokens_per_s']:.0f} tokens/s, " if training.get("tokens_per_s") else ""
        reward = f"reward {training['reward']:.3f}, " if "reward" in training else ""
        lines.append(
            f"step {training[STEP]}, loss {training['loss']:.4f}, {reward}"
            f"lr {training['learning_rate']:.2e}, {speed}{training['remaining_time']} left"
        )
    if validation := progress.get("validation"):
        lines.append(f"validation loss {validation['eval_loss']:.4f} at step {validation[STEP]}")
    return lines


def localize_rows(uri: str, target: Path, run: str, tokenizer: Callable[[], Any]) -> None:
    """Copy a data set to ``target`` with every media URI replaced by a local path.

    What is said in a clip is put into its conversation.

    Args:
        uri: the data set.
        target: the file to write.
        run: the run directory, which ``RUN`` stands for in media URIs.
        tokenizer: loads that of the model, for rows that need it.
    """
    rows = [json.loads(line) for line in storage.read_bytes(uri).splitlines()]
    if any(SUBTITLE in row for row in rows):
        known = tokenizer()
        rows = [with_subtitle(row, known) for row in rows]

    def local(media: str) -> str:
        source, fragment = split_fragment(media)
        if source.startswith(f"{RUN}/"):
            source = run + source.removeprefix(RUN)
        return f"{storage.localize(source)}{fragment}"

    def localized(row: dict[str, Any]) -> dict[str, Any]:
        kinds = [key for key in ("videos", "audios", "images") if key in row]
        return row | {key: [local(media) for media in row[key]] for key in kinds}

    with ThreadPoolExecutor(16) as pool, target.open("w", encoding="utf-8") as file:
        for row in pool.map(localized, rows):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
