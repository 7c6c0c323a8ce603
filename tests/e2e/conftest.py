"""One real run of the demo, shared by the end-to-end tests."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.e2e.helpers import ah_ray


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The run directory of `ah-ray demo`, whole; processes that test side by side share it."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    run = folder / "demo"
    with FileLock(folder / "demo.lock"):
        if not (run / "stdout.txt").exists():
            # Ray's workers would give way to the other tests, which then wait for them.
            environment = os.environ | {"RAY_worker_niceness": "0"}
            done = ah_ray("demo", "--run", str(run), env=environment)
            (run / "stdout.txt").write_text(done.stdout)
    return run


@pytest.fixture
def copy_of_demo(demo: Path, tmp_path: Path) -> Path:
    """A copy of the run to break."""
    copy = tmp_path / "run"
    shutil.copytree(demo, copy)
    return copy
