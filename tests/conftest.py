from pathlib import Path

import hypothesis
import pytest
import ray
import s3fs

# Machines differ and share their cores: an example may take its time.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The module that makes the demo's run comes first, and those that wait for it last."""

    def turn(item: pytest.Item) -> int:
        if item.path.parent.name != "e2e":
            return 1
        return 0 if item.path.name == "test_archive.py" else 2

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
