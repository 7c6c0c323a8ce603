"""Videos, members and the run directory in object storage, behind a real S3 protocol server."""

import os
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from ah_ray import schemas, storage, tables
from ah_ray.config import load_config
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.stages import catalog_stage
from tests.e2e.helpers import ah_ray
from tests.s3 import new_bucket, s3_server


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """An empty bucket on a server of its own."""
    with s3_server(AH_RAY_CACHE=str(tmp_path / "cache")):
        yield new_bucket()
        S3FileSystem.clear_instance_cache()


def test_an_archive_in_a_bucket_is_scored_into_the_bucket(bucket: str, demo: Path) -> None:
    videos = sorted((demo / "archive" / "Videos").rglob("*.mp4"))[:2]
    for number, video in enumerate(videos):
        storage.write_bytes(f"{bucket}/videos/{number}/video.mp4", video.read_bytes())
    storage.write_bytes(f"{bucket}/videos/broken.mp4", videos[0].read_bytes()[:5000])
    storage.upload_folder(demo / "members" / "v3", f"{bucket}/members/v3", last="member.yaml")
    arguments = ["score", "--videos", f"{bucket}/videos", "--ensemble", f"{bucket}/members"]
    done = ah_ray(*arguments, "--run", f"{bucket}/run", env=dict(os.environ))
    assert "videos in: 3 = 2 verdicts + 1 in findings" in done.stdout
    verdicts = tables.read_table(f"{bucket}/run/verdicts", schemas.VERDICTS)
    assert set(verdicts["uri"].to_pylist()) == {
        f"{bucket}/videos/{number}/video.mp4" for number in range(2)
    }
    assert set(verdicts["status"].to_pylist()) == {"ok"}
    again = ah_ray(*arguments, "--run", f"{bucket}/run", env=dict(os.environ))
    assert "score v3: 0 clips to do" in again.stdout


def test_an_archive_in_a_bucket_is_read_as_on_a_disk(bucket: str, demo: Path) -> None:
    root, run = f"{bucket}/archive", RunDirectory.at(f"{bucket}/run")
    storage.upload_folder(demo / "archive", root, last="meta_data.yml")
    catalog_stage(run, load_config("jobs/demo.yaml", run.uri, [f"catalog.root={root}"]))
    found = run.videos().to_pylist()
    assert all(row.pop("uri").startswith(f"{root}/Videos/") for row in found)
    expected = RunDirectory.at(str(demo)).videos().drop_columns(["uri"]).to_pylist()
    assert sorted(found, key=itemgetter("video_id")) == sorted(expected, key=itemgetter("video_id"))
