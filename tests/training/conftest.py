from pathlib import Path

import pytest

from ah_ray.toy.model import write_tiny_checkpoint
from tests.engines.real_vocabulary import write_real_omni
from tests.engines.tiny_models import write_tiny_qwen2_5_vl


@pytest.fixture(scope="session")
def tiny_qwen2_5_vl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2.5-VL with the real vocabulary: MS-Swift knows its tokens by their numbers."""
    folder = tmp_path_factory.mktemp("qwen2_5_vl")
    write_tiny_checkpoint(folder / "tiny")
    write_real_omni(folder / "real", folder / "tiny")
    write_tiny_qwen2_5_vl(folder / "vision", folder / "real")
    return folder / "vision"
