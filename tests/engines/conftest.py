from pathlib import Path

import pytest

from ah_ray.toy.model import write_tiny_checkpoint
from tests.engines.real_vocabulary import write_real_omni
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


@pytest.fixture(scope="session")
def real_omni(tmp_path_factory: pytest.TempPathFactory, omni: Path) -> Path:
    """As ``omni``, with the vocabulary of the published models."""
    folder = tmp_path_factory.mktemp("models") / "real_omni"
    write_real_omni(folder, omni)
    return folder


@pytest.fixture(scope="session")
def real_vision(tmp_path_factory: pytest.TempPathFactory, real_omni: Path) -> Path:
    """As ``vision_only``, with the vocabulary of the published models."""
    folder = tmp_path_factory.mktemp("models") / "real_vision"
    write_tiny_qwen2_5_vl(folder, real_omni)
    return folder
