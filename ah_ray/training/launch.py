"""Launch a training on the cluster: Ray Train starts one worker per node, each runs ``swift``."""

from __future__ import annotations

import json
import math
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
import ray.util
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from ah_ray import storage
from ah_ray.checkpoints import local_checkpoint
from ah_ray.config import TrainConfig
from ah_ray.media.fragment import split_times, with_times
from ah_ray.progress import console
from ah_ray.training.swift import (
    Launch,
    Node,
    SwiftError,
    arguments,
    environment,
    run_swift,
)

_PROGRESS_EVERY_S = 5.0


def fit(launch: Launch, settings: TrainConfig, state: str) -> None:
    """Run one training on ``settings.nodes`` nodes and wait for its end.

    Args:
        launch: what to train.
        settings: its resources.
        state: a folder for Ray Train's own state and the progress; every node must reach it.

    Raises:
        SwiftError: it failed more than ``settings.max_failures`` times.
    """
    resources: dict[str, float] = {"CPU": settings.cpus_per_node}
    if settings.use_gpu:
        resources["GPU"] = settings.processes_per_node
    progress = storage.join(state, f"{launch.job.name}.progress.json")
    trainer = DataParallelTrainer(
        _train_on_node,
        train_loop_config={"launch": launch, "settings": settings, "progress": progress},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.nodes,
            use_gpu=settings.use_gpu,
            resources_per_worker=resources,
            placement_strategy="STRICT_SPREAD" if settings.nodes > 1 else "PACK",
        ),
        run_config=ray.train.RunConfig(
            name=launch.job.name,
            storage_path=state,
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
        ),
    )
    try:
        with _watched(launch.job.name, progress):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        causes = getattr(error, "worker_failures", {})
        reason = "\n".join(str(cause) for cause in causes.values()) or str(error)
        raise SwiftError(f"training of {launch.job.name} failed: {reason}") from None


def _train_on_node(config: Mapping[str, Any]) -> None:
    """What each Ray Train worker does: bring the inputs, run ``swift``, keep the result."""
    launch: Launch = config["launch"]
    settings: TrainConfig = config["settings"]
    job = launch.job
    context = ray.train.get_context()
    address, port = broadcast_from_rank_zero((ray.util.get_node_ip_address(), _free_port()))
    node = Node(
        rank=context.get_world_rank(),
        count=settings.nodes,
        processes=settings.processes_per_node,
        loaders=settings.loaders_per_process,
        address=address,
        port=port,
        use_gpu=settings.use_gpu,
    )
    with tempfile.TemporaryDirectory(prefix="ah_ray_train_") as scratch:
        rows, output = Path(scratch, "rows.jsonl"), Path(scratch, "output")
        localize_rows(job.rows, rows)
        model = str(local_checkpoint(job.model.path))
        checkpoint = run_swift(
            arguments(job, node, model, str(rows), str(output)),
            environment(job, node),
            output,
            _Progress(config["progress"]) if node.rank == 0 else lambda record: None,
        )
        if node.rank == 0:
            # A pickle that nothing of ours reads does not belong into a folder people share.
            (checkpoint / "training_args.bin").unlink(missing_ok=True)
            for name, data in launch.files.items():
                (checkpoint / name).write_bytes(data)
            storage.upload_folder(checkpoint, job.output, last=launch.marker)
    ray.train.report({"done": 1})


class _Progress:
    """Keeps the newest record of a training where the driver finds it."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._written = -math.inf

    def __call__(self, record: Mapping[str, object]) -> None:
        now = time.monotonic()
        if now - self._written >= _PROGRESS_EVERY_S:
            self._written = now
            storage.write_bytes(self._uri, json.dumps(record).encode())


@contextmanager
def _watched(name: str, uri: str) -> Iterator[None]:
    """Print a training's progress as its first node writes it to ``uri``."""
    storage.remove(uri)
    ended = threading.Event()

    def watch() -> None:
        said = ""
        while not ended.wait(_PROGRESS_EVERY_S):
            if not storage.exists(uri):
                continue
            record = json.loads(storage.read_bytes(uri))
            line = (
                f"  {name}: step {record['global_step/max_steps']}, loss {record['loss']:.4f}, "
                f"{record['remaining_time']} left"
            )
            if line != said:
                console.print(line)
                said = line

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def localize_rows(uri: str, target: Path) -> None:
    """Copy a data set to ``target`` with every media URI replaced by a local path."""
    rows = [json.loads(line) for line in storage.read_bytes(uri).splitlines()]

    def local(media: str) -> str:
        source, span = split_times(media)
        path = str(storage.localize(source))
        return with_times(path, span) if span else path

    def localized(row: dict[str, Any]) -> dict[str, Any]:
        return row | {key: [local(media) for media in row[key]] for key in ("videos", "audios")}

    with ThreadPoolExecutor(16) as pool, target.open("w", encoding="utf-8") as file:
        for row in pool.map(localized, rows):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
