from pathlib import Path

import hypothesis
import pytest
import s3fs

# Machines differ and share their cores: an example may take its time.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")


@pytest.fixture(autouse=True, scope="module")
def no_clients_of_servers_that_are_gone():
    """s3fs keeps its clients, and they keep the address that the environment had."""
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def real_media() -> Path:
    """Real videos beside the checkout; not part of the project."""
    folder = Path(__file__).parents[2] / "shared" / "media"
    if not folder.is_dir():
        pytest.skip("the real videos (../shared/media) are not on this machine")
    return folder
