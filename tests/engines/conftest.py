from pathlib import Path

import pytest

from ah_ray.toy.model import write_tiny_checkpoint
from tests.engines.tiny_models import write_tiny_qwen2_5_vl


@pytest.fixture(scope="session")
def omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "omni"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def vision_only(tmp_path_factory: pytest.TempPathFactory, omni: Path) -> Path:
    folder = tmp_path_factory.mktemp("models") / "vision"
    write_tiny_qwen2_5_vl(folder, omni)
    return folder
