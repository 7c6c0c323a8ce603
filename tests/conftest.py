from pathlib import Path

import hypothesis
import pytest
import ray
import s3fs
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Machines differ and share their cores: an example may take its time.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")


class ByModule(LoadScopeScheduling):
    """One process runs all tests of a module, and one all of those that share the demo's run."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        return "tests/e2e" if module.startswith("tests/e2e/") else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByModule:
    return ByModule(config, log)


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
