from pathlib import Path

import hypothesis
import pytest
import ray
import s3fs

# Machines differ and share their cores: an example may take its time.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")


def pytest_itemcollected(item: pytest.Item) -> None:
    """One process runs all tests of a module, and one all of those that share the demo's run."""
    group = item.path.parent if item.path.parent.name == "e2e" else item.path
    item.add_marker(pytest.mark.xdist_group(str(group)))


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
