"""What is asked of a cluster against what is there: arithmetic alone."""

from pathlib import Path

import pytest

from ah_ray.config import load_config
from ah_ray.engines.config import ScoreConfig
from ah_ray.media.config import PrepareConfig
from ah_ray.preflight import (
    Amounts,
    cluster_text,
    prepare_wish,
    score_wish,
    train_wish,
    verdict,
    waiting_text,
    wishes,
)
from ah_ray.training.config import TrainConfig

PAPER = Path(__file__).parents[1] / "jobs" / "paper.yaml"
LAPTOP = {"CPU": 2.0, "memory": 1e10}
GPU_NODE = {"CPU": 32.0, "GPU": 8.0}


def score_settings(**values: float) -> ScoreConfig:
    return ScoreConfig(**{"max_actors": 64, **values})


@pytest.mark.parametrize(
    ("settings", "nodes", "fix"),
    [
        ({}, [LAPTOP], None),
        ({"cpus_per_actor": 4}, [LAPTOP], "set score.cpus_per_actor to at most 1 "),
        ({"cpus_per_actor": 2}, [LAPTOP], "set less for score.cpus_per_actor"),
        ({"cpus_per_actor": 2}, [LAPTOP, LAPTOP], None),
        ({"cpus_per_actor": 1.5, "cpus_per_decoder": 0.5}, [LAPTOP], None),
        ({"cpus_per_actor": 0.1, "min_actors": 10}, [LAPTOP], None),
        # The pool at its smallest must leave a decoder its CPU.
        ({"min_actors": 2}, [LAPTOP], "set score.min_actors to at most 1 "),
        ({"min_actors": 3}, [LAPTOP, LAPTOP], None),
        ({"min_actors": 4}, [LAPTOP, LAPTOP], "set score.min_actors to at most 3 "),
        ({"cpus_per_decoder": 4}, [LAPTOP], "set score.cpus_per_decoder to at most 1 "),
        ({"gpus_per_actor": 1}, [LAPTOP], "no node has a GPU: score.gpus_per_actor asks for 1"),
        ({"gpus_per_actor": 16}, [GPU_NODE] * 2, "set score.gpus_per_actor to at most 8 "),
        ({"gpus_per_actor": 0.5, "min_actors": 16}, [GPU_NODE], None),
        # The decoder goes where it hinders least.
        ({"gpus_per_actor": 1, "cpus_per_actor": 4, "min_actors": 8}, [GPU_NODE, LAPTOP], None),
        (
            {"gpus_per_actor": 1, "cpus_per_actor": 4, "min_actors": 8},
            [GPU_NODE],
            "set score.min_actors to at most 7 ",
        ),
    ],
)
def test_scoring(settings: dict[str, float], nodes: list[Amounts], fix: str | None) -> None:
    refusal = verdict(score_wish(score_settings(**settings)), nodes)
    assert refusal is None if fix is None else refusal is not None and refusal.fix.startswith(fix)


def test_training_has_a_node_for_each_worker() -> None:
    settings = {"processes_per_node": 8, "cpus_per_node": 32, "use_gpu": True}
    wish = train_wish(TrainConfig(nodes=2, **settings))
    assert verdict(wish, [GPU_NODE, GPU_NODE]) is None
    refusal = verdict(wish, [{"CPU": 192.0, "GPU": 16.0}])
    assert refusal is not None
    assert refusal.fix.startswith("set train.nodes to at most 1 ")
    refusal = verdict(wish, [LAPTOP])  # the paper's recipe on a laptop
    assert str(refusal) == (
        "train.cpus_per_node, train.processes_per_node: asks for 2 times a training's node "
        "(32 CPU and 8 GPU), each on a node of its own; the cluster has 1 node with 2 CPU and "
        "0 GPU\n  fix: set train.cpus_per_node to at most 2; no node has a GPU: "
        "train.processes_per_node asks for 8 (--set KEY=VALUE), or give RAY_ADDRESS of a cluster "
        "with more"
    )
    assert verdict(train_wish(TrainConfig(processes_per_node=8)), [LAPTOP]) is None  # on CPUs


def test_a_run_asks_for_what_each_of_its_stages_asks() -> None:
    paper = load_config(PAPER, "run")
    refused = [wish for wish in wishes(paper) if verdict(wish, [LAPTOP]) is not None]
    assert refused == [train_wish(paper.train), score_wish(paper.score)]
    cluster = [{"CPU": 192.0, "GPU": 8.0}] * 2
    assert not [wish for wish in wishes(paper) if verdict(wish, cluster) is not None]


def test_preparing_needs_one_node_for_one_video() -> None:
    wish = prepare_wish(PrepareConfig(cpus_per_video=3))
    assert verdict(wish, [LAPTOP, {"CPU": 4.0}]) is None
    assert verdict(wish, [LAPTOP, LAPTOP]) is not None


def test_nodes_that_are_alike_are_told_together() -> None:
    assert cluster_text([GPU_NODE, LAPTOP, GPU_NODE]) == (
        "2 nodes with 32 CPU and 8 GPU, 1 node with 2 CPU and 0 GPU"
    )


def test_what_others_hold_is_waited_for_by_name() -> None:
    engine = score_wish(score_settings(gpus_per_actor=1)).part
    there = {"CPU": 4.0, "GPU": 1.0}
    assert waiting_text(engine, {"CPU": 1.0}, there) == (
        "waits for 1 CPU and 1 GPU for an engine; in the cluster 0 of 1 GPU are free"
    )
    assert waiting_text(engine, {"CPU": 0.5}, there) == (
        "waits for 1 CPU and 1 GPU for an engine; in the cluster 0.5 of 4 CPU and 0 of 1 GPU are "
        "free"
    )
    assert waiting_text(engine, there, there) is None
