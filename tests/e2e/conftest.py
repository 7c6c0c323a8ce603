"""One real run of the demo, shared by the end-to-end tests."""

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
            done = ah_ray("demo", "--run", str(run))
            (run / "stdout.txt").write_text(done.stdout)
    return run


@pytest.fixture
def copy_of_demo(demo: Path, tmp_path: Path) -> Path:
    """A copy of the run to break."""
    copy = tmp_path / "run"
    shutil.copytree(demo, copy)
    return copy
