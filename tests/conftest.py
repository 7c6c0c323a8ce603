import os
from collections import Counter
from pathlib import Path

import fsspec
import hypothesis
import pytest
import ray
import s3fs

# Ray's workers would give way to the processes of all other tests, and those wait for the demo.
os.environ.setdefault("RAY_worker_niceness", "0")

# Machines differ and share their cores: an example may take its time.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The module that makes the demo's run comes first, and those that wait for it last.

    Of these the ones with few tests come first: theirs are whole runs, and would be the very last.
    """
    waiting = Counter(item.path for item in items if "demo" in getattr(item, "fixturenames", ()))

    def turn(item: pytest.Item) -> tuple[int, int]:
        if item.path not in waiting:
            return 1, 0
        return (0, 0) if item.path.name == "test_archive.py" else (2, waiting[item.path])

    items.sort(key=turn)


@pytest.fixture(autouse=True, scope="module")
def nothing_kept_of_another_module():
    """s3fs keeps its clients and Ray its workers, and both keep the environment that they saw."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def real_media() -> Path:
    """Real videos beside the checkout; not part of the project."""
    folder = Path(__file__).parents[2] / "shared" / "media"
    if not folder.is_dir():
        pytest.skip("the real videos (../shared/media) are not on this machine")
    return folder


@pytest.fixture(scope="module")
def server():
    from tests.s3 import s3_server  # slow to import; most tests need none

    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """An empty bucket, and a client that is not ours."""
    import boto3

    from tests.s3 import BUCKET

    monkeypatch.setenv("AH_RAY_CACHE", str(tmp_path / "cache"))
    client = boto3.client("s3", endpoint_url=server.url)
    client.create_bucket(Bucket=BUCKET)
    fsspec.filesystem("s3").invalidate_cache()
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])


@pytest.fixture(params=["local", "memory", "s3"])
def home(request, tmp_path):
    """A folder that is not there yet, on each kind of storage."""
    if request.param == "local":
        return str(tmp_path / "home")
    if request.param == "memory":
        return f"memory:///{tmp_path.name}"
    request.getfixturevalue("bucket")
    return "s3://bucket/home"
