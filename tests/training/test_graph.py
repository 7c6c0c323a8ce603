"""Every placement of a training that a config can ask for, on logical GPUs, with trivial work."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.train
from ray.cluster_utils import Cluster

from ah_ray.media.config import MediaConfig
from ah_ray.models.config import ModelConfig
from ah_ray.preflight import alive_nodes, train_wish, verdict
from ah_ray.training.config import TrainConfig
from ah_ray.training.launch import make_trainer
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.swift import SwiftJob


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[None]:
    node = {"num_cpus": 2, "num_gpus": 2}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    cluster.add_node(**node)
    ray.init(cluster.address, log_to_driver=False)
    interrupted = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, interrupted)  # Ray Train leaves its own
    ray.shutdown()
    cluster.shutdown()


def note(config: Mapping[str, Any]) -> None:
    """Leave word of what a worker was given."""
    context = ray.get_runtime_context()
    rank = ray.train.get_context().get_world_rank()
    found = {
        "node": context.get_node_id(),
        "resources": context.get_assigned_resources(),
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
    }
    Path(config["job"].store, f"rank-{rank}.json").write_text(json.dumps(found))
    ray.train.report({"done": 1})


@pytest.mark.parametrize(("nodes", "processes", "gpu"), [(1, 2, True), (2, 2, True), (2, 1, False)])
def test_each_node_has_a_worker_with_all_that_its_ranks_take(
    two_nodes: None, tmp_path: Path, nodes: int, processes: int, gpu: bool
) -> None:
    recipe = RecipeConfig(full={}, learning_rate=1)
    job = SwiftJob("m", ModelConfig(path="base"), recipe, MediaConfig(), "rows", str(tmp_path))
    settings = TrainConfig(
        nodes=nodes, processes_per_node=processes, use_gpu=gpu, cpus_per_node=1.5
    )
    assert verdict(train_wish(settings), alive_nodes()) is None
    make_trainer(note, job, settings).fit()
    workers = [json.loads(file.read_text()) for file in tmp_path.glob("rank-*.json")]
    assert len({worker["node"] for worker in workers}) == len(workers) == nodes
    for worker in workers:
        assert worker["resources"]["CPU"] == 1.5
        assert worker["resources"].get("GPU", 0) == (processes if gpu else 0)
        assert len(worker["devices"].split(",")) == (processes if gpu else 1)
