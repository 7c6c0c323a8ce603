"""Every pool that a config can ask for, on logical GPUs: Ray needs no device to plan with them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from ah_ray import storage
from ah_ray.members import Member
from ah_ray.pipelines.batches import clip_ids, one_by_one, plan_batches
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.score import score
from tests.pipelines.scoring import settings, write_manifest


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize("gpus", [0, 0.5, 1, 2])
def test_every_call_of_an_engine_has_one_planned_batch(
    two_gpus: None, member: Member, videos: list[Path], tmp_path: Path, gpus: float
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos * 2, [])  # batches of three clips, of which four would fit
    how = settings(batch_size=4, gpus_per_actor=gpus, max_actors=2)
    score(run, [member], how)
    plan = plan_batches(run.clips("scoring"), 4)
    planned = [set(clip_ids(batch).to_pylist()) for batch in one_by_one(plan)]
    parts = [
        set(pq.read_table(part)["clip_id"].to_pylist())
        for part in storage.list_files(run.predictions_path(member.name))
    ]
    assert len(planned) == 2 * len(videos)
    assert sorted(map(sorted, parts)) == sorted(map(sorted, planned))


def test_all_engines_that_the_cluster_holds_load_at_once(
    two_gpus: None, member: Member, videos: list[Path], tmp_path: Path
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    write_manifest(run, videos, [])
    arguments = {"begun": str(tmp_path / "begun"), "together": 4}
    share = {"gpus_per_actor": 0.5, "cpus_per_actor": 0.25, "max_actors": 8, "batch_size": 1}
    score(run, [member], settings("SociableEngine", engine_args=arguments, **share))
    assert len(set((tmp_path / "begun").read_text().split())) == 4
    assert len(run.predictions()) == 3 * len(videos)
