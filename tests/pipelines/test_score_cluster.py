"""A node of a cluster that loses power while it scores."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from ah_ray import storage
from ah_ray.engines.config import ScoreConfig
from ah_ray.members import Member
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.pipelines.scorer import BATCHES_AT_ONCE
from tests.pipelines.scoring import predictions, without, write_manifest


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head and one more node; an engine's actor fits once on each."""
    head = {"num_cpus": 2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2)
    ray.init(cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.parametrize("asked", ["one option", "words, and words read in a text"])
def test_a_node_that_is_gone_costs_what_it_had_under_way(
    cluster: Cluster, member: Member, words: list[Member], videos: list[Path], tmp_path: Path,
    asked: str,
) -> None:  # fmt: skip
    members = [member] if asked == "one option" else words

    def scored(name: str, during: Any = None) -> list[dict[str, Any]]:
        run = RunDirectory.at(str(tmp_path / name))
        write_manifest(run, videos * 4, [])
        helper = threading.Thread(target=during, args=(run,), daemon=True) if during else None
        if helper:
            helper.start()
        score(
            run,
            members,
            ScoreConfig(
                engine="tests.pipelines.light_engines:SlowEngine", batch_size=3, max_actors=2,
                cpus_per_actor=1.2, cpus_per_decoder=0.5,
                engine_args={"begun": str(tmp_path / f"begun-{name}")},
            ),
        )  # fmt: skip
        if helper:
            helper.join(timeout=60)
        return predictions(run)

    def pull_the_plug(run: RunDirectory) -> None:
        while len(storage.list_files(run.predictions_path(members[-1].name))) < 2:
            time.sleep(0.05)
        (node,) = cluster.worker_nodes
        cluster.remove_node(node, allow_graceful=False)  # kill -9 of its raylet

    undisturbed = scored("undisturbed")
    disturbed = scored("disturbed", during=pull_the_plug)
    assert not cluster.worker_nodes
    mine = ("attempts", "made_from")  # the file that the engine notes in is an argument of it
    assert without(disturbed, *mine) == without(undisturbed, *mine)
    redone = len((tmp_path / "begun-disturbed").read_text().splitlines()) - len(disturbed)
    assert redone <= 3 * BATCHES_AT_ONCE, "more than what its one actor had in hand"


@pytest.fixture
def small_store() -> Iterator[None]:
    """A machine whose object store holds 200 MB."""
    ray.init(
        "local", num_cpus=2, object_store_memory=200_000_000, include_dashboard=False,
        log_to_driver=False,
    )  # fmt: skip
    yield
    ray.shutdown()


def test_decoders_that_are_faster_than_engines_do_not_fill_the_store(
    small_store: None, member: Member, videos: list[Path], tmp_path: Path
) -> None:
    media = member.card.media.model_copy(
        update={"min_frames": 4, "min_pixels": 2**18, "max_pixels": 2**19}
    )
    large = Member(member.uri, member.card.model_copy(update={"media": media}))
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos * 12, [])  # 3 MB of pixels for each clip
    score(
        run,
        [large],
        ScoreConfig(
            engine="tests.pipelines.light_engines:SlowEngine", batch_size=8, cpus_per_actor=1,
            cpus_per_decoder=0.5, engine_args={"begun": str(tmp_path / "begun")},
        ),
    )  # fmt: skip
    rows = predictions(run)
    assert len(rows) == 36 * len(videos)
    assert {row["status"] for row in rows} == {"ok"}
    here = ray.get_runtime_context().gcs_address
    told = ray._private.internal_api.memory_summary(here, stats_only=True)
    assert "Spilled" not in told, told
