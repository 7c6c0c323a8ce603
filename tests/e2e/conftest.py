"""One real run of the demo, shared by the end-to-end tests."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.helpers import ah_ray


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of `ah-ray demo`, whole."""
    run = tmp_path_factory.mktemp("demo") / "run"
    done = ah_ray("demo", "--run", str(run))
    (run / "stdout.txt").write_text(done.stdout)
    return run


@pytest.fixture
def copy_of_demo(demo: Path, tmp_path: Path) -> Path:
    """A copy of the run to break."""
    copy = tmp_path / "run"
    shutil.copytree(demo, copy)
    return copy


@pytest.fixture
def same_inputs(demo: Path) -> list[str]:
    """The options with which a copy of the run still finds its archive and base model."""
    return ["--set", f"catalog.root={demo}/archive", "--set", f"model.path={demo}/base"]
