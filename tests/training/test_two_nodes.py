"""Trainings for real: MS-Swift under Ray Train, on two nodes that break."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from safetensors.numpy import load_file

from ah_ray import storage
from ah_ray.media.config import MediaConfig
from ah_ray.models.config import ModelConfig
from ah_ray.toy.base import cue_rows, write_cue_clips
from ah_ray.toy.model import write_tiny_checkpoint
from ah_ray.training.checkpoints import complete_checkpoints, delete, publish
from ah_ray.training.config import TrainConfig
from ah_ray.training.launch import fit
from ah_ray.training.process import STEP
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.rows import optimizer_steps
from ah_ray.training.swift import SwiftJob
from tests.s3 import new_bucket, s3_server

MEDIA = MediaConfig(fps=1, min_frames=2, max_frames=4, min_pixels=1024, max_pixels=8192)
STEPS, ROWS = 72, 24  # twelve epochs of batches of 4
LOOK_EVERY_S = 0.5  # a look at the bucket or at all processes takes time from those that train


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """A bucket on a server that Ray's nodes know too."""
    with s3_server(AH_RAY_CACHE=str(tmp_path / "cache")):
        yield new_bucket()


@pytest.fixture
def cluster(bucket: str) -> Iterator[Cluster]:
    """Three nodes with one CPU each, of which a training on two can lose one."""
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the untrained tiny model and a data set."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_tiny_checkpoint(folder / "model")
    rows = cue_rows(write_cue_clips(folder / "clips", 8, seed=1))[:ROWS]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def job(data: Path, store: str, **recipe) -> SwiftJob:
    values = {
        "full": {"vision": True, "aligner": True},
        "learning_rate": 1e-3,
        "global_batch_size": 4,
        "epochs": 12,
        "gradient_checkpointing": False,
        "log_every_steps": 1,
    }
    return SwiftJob(
        name="tiny",
        model=ModelConfig(path=str(data / "model"), dtype="float32"),
        recipe=RecipeConfig(**values | recipe),
        media=MEDIA,
        rows=str(data / "rows.jsonl"),
        store=store,
    )


def break_things(training: SwiftJob, cluster: Cluster, broken: list[str]) -> None:
    """Kill a rank after the first checkpoint, and a node after another."""
    wait_for_step(training, 5)
    _, rank = node_with_a_rank(cluster)
    rank.kill()
    broken.append("rank")
    raylet, _ = node_with_a_rank(cluster, since=time.time())  # before it trains: it is fast
    wait_for_step(training, 15)
    # With all that runs on it, as a machine that loses power.
    for process in (raylet, *raylet.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    broken.append("node")


def wait_for_step(training: SwiftJob, step: int) -> None:
    while all(checkpoint.step < step for checkpoint in complete_checkpoints(training.checkpoints)):
        time.sleep(LOOK_EVERY_S)


def node_with_a_rank(cluster: Cluster, since: float = 0) -> tuple[psutil.Process, psutil.Process]:
    """Wait for a node besides the head that trains: its raylet, and its process that trains.

    Args:
        cluster: has the nodes.
        since: the process began after this time.
    """
    while True:
        for node in cluster.worker_nodes:
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            for process in raylet.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    parts = [Path(part).name for part in process.cmdline()[:4]]
                    trains = "sft.py" in parts and "RANK" in process.environ()
                    if trains and process.create_time() > since:
                        return raylet, process
        time.sleep(LOOK_EVERY_S)


def test_two_nodes_that_break_train_as_one_process_does(
    cluster: Cluster, bucket: str, data: Path, tmp_path: Path
) -> None:
    alone = job(data, str(tmp_path / "alone"), batch_size=4)
    fit(alone, TrainConfig(loaders_per_process=1))

    shared = job(data, f"{bucket}/shared", batch_size=2, save_every_steps=5, save_total_limit=1)
    broken: list[str] = []
    arguments = (shared, cluster, broken)
    threading.Thread(target=break_things, args=arguments, daemon=True).start()
    scratch = tmp_path / "scratch"
    settings = TrainConfig(nodes=2, loaders_per_process=1, max_failures=3, scratch=str(scratch))
    fit(shared, settings)

    assert broken == ["rank", "node"]
    progress = json.loads(storage.read_bytes(shared.progress))
    (note,) = progress["notes"]
    assert int(note.removeprefix("goes on from step ")) >= 15
    assert progress["training"][STEP] == f"{STEPS}/{STEPS}"
    assert progress["training"]["tokens_per_s"] > 0
    assert not list(scratch.iterdir())  # nothing stays on the nodes
    assert any("tfevents" in file for file in storage.list_files(f"{shared.store}/tensorboard"))

    one = complete_checkpoints(alone.checkpoints)[-1]
    (two,) = complete_checkpoints(shared.checkpoints)  # save_total_limit
    assert one.step == two.step == STEPS
    assert (
        optimizer_steps(ROWS, alone.recipe, 1) == optimizer_steps(ROWS, shared.recipe, 2) == STEPS
    )
    assert one.loss == pytest.approx(two.loss, rel=1e-3)
    weights = []
    for checkpoint, uri in ((one, str(tmp_path / "one")), (two, f"{bucket}/two")):
        publish(checkpoint, uri, {"card": b"x"}, marker="card")
        names = {Path(file).name for file in storage.list_files(uri)}
        assert {"card", "config.json", "model.safetensors"} <= names
        assert not {"optimizer.pt", "training_args.bin", "complete.json"} & names
        weights.append(load_file(storage.localize(uri) / "model.safetensors"))
    untrained = load_file(data / "model" / "model.safetensors")
    moved = 0.0
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], rtol=0, atol=5e-4, err_msg=name)
        moved = max(moved, float(np.abs(value - untrained[name]).max()))
    assert moved > 1e-2


@pytest.mark.slow
def test_nodes_that_share_the_weights_go_on_with_their_own_shares(
    cluster: Cluster, bucket: str, data: Path, tmp_path: Path
) -> None:
    training = job(data, f"{bucket}/zero", batch_size=2, epochs=2, deepspeed="zero3")
    model = ModelConfig(path=str(data / "model"), dtype="bfloat16")
    training = replace(training, model=model, epoch_steps=ROWS // 4)
    settings = TrainConfig(nodes=2, loaders_per_process=1, scratch=str(tmp_path / "scratch"))
    fit(training, settings)
    first, second = complete_checkpoints(training.checkpoints)
    delete(second)  # as if it had been killed while it wrote that
    storage.remove(training.finished)
    fit(training, settings)
    assert json.loads(storage.read_bytes(training.progress))["notes"] == [
        f"goes on from step {first.step}"
    ]
    _, again = complete_checkpoints(training.checkpoints)
    assert again.step == second.step == 2 * first.step
    assert again.loss == pytest.approx(second.loss, rel=0.02)  # bfloat16
