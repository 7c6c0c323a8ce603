"""Jobs that score on one small cluster at the same time, and wishes that it cannot grant."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from ah_ray import preflight, schemas, tables
from ah_ray.errors import ConfigError
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.members import Member, write_card
from ah_ray.pipelines.manifest import Manifest
from ah_ray.pipelines.prepare import prepare
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.score import score
from tests.pipelines.scoring import predictions, settings, write_manifest


@pytest.fixture(scope="module")
def two_cpus() -> Iterator[Cluster]:
    head = {"num_cpus": 2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def a_run(folder: Path, videos: list[Path]) -> RunDirectory:
    run = RunDirectory.at(str(folder))
    write_manifest(run, videos, [])
    return run


JOB = """
import sys
from ah_ray.members import read_member
from ah_ray.pipelines.manifest import Manifest
from ah_ray.pipelines.prepare import prepare
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.score import score
from tests.pipelines.scoring import settings

score(
    RunDirectory.at(sys.argv[1]),
    [read_member(sys.argv[2])],
    settings(cpus_per_actor=1, cpus_per_decoder=1, max_actors=2),
)
"""


def test_two_jobs_on_two_cpus_take_turns(
    two_cpus: Cluster, member: Member, videos: list[Path], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", two_cpus.address)
    (Path(member.uri) / "member.yaml").write_bytes(write_card(member.card))
    runs = [a_run(tmp_path / name, videos * 4) for name in ("one", "two")]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", JOB, run.uri, member.uri], stdout=subprocess.PIPE, text=True
        )
        for run in runs
    ]
    said = [job.communicate(timeout=120)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    for run in runs:
        assert len(predictions(run)) == 12 * len(videos)
    assert sum("waits for its turn: another job" in words for words in said) == 1
    assert not re.search("worker processes have been started|usage stat", "".join(said))


@pytest.mark.parametrize(
    ("wish", "fix"),
    [
        ({"cpus_per_actor": 4}, "score.cpus_per_actor to at most 1.5"),
        ({"gpus_per_actor": 1}, "no node has a GPU"),
        ({"min_actors": 4, "max_actors": 4}, "score.min_actors to at most 3"),
    ],
)
def test_what_the_cluster_can_never_grant_is_refused(
    two_cpus: Cluster, member: Member, videos: list[Path], tmp_path: Path, wish: Any, fix: str
) -> None:
    run = a_run(tmp_path / "run", videos)
    with pytest.raises(ConfigError, match=fix):
        score(run, [member], settings(**wish))
    assert not predictions(run)


def test_a_video_that_takes_more_than_a_node_is_refused(
    two_cpus: Cluster, videos: list[Path], tmp_path: Path
) -> None:
    run = RunDirectory.at(str(tmp_path))
    rows = [{"video_id": "0", "uri": str(videos[0]), "intervals": [], "attributes": {}}]
    tables.write_rows(rows, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    how = (SegmentationConfig(), MediaConfig(), PrepareConfig(cpus_per_video=3), LimitsConfig())
    with pytest.raises(ConfigError, match=r"prepare\.cpus_per_video to at most 2"):
        prepare(run, Manifest("scoring", ["test"], *how))


def test_what_another_job_holds_is_waited_for_aloud(
    two_cpus: Cluster, member: Member, videos: list[Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(preflight, "_PATIENCE_S", 2.0)

    @ray.remote(num_cpus=1)
    class Other:
        def there(self) -> None:
            pass

    other = Other.remote()
    ray.get(other.there.remote())
    leave = threading.Timer(8, ray.kill, [other])
    leave.start()
    run = a_run(tmp_path / "run", videos)
    score(run, [member], settings(cpus_per_actor=1, cpus_per_decoder=1))
    assert len(predictions(run)) == 3 * len(videos)
    assert "waits for 1 CPU for a" in capsys.readouterr().out
