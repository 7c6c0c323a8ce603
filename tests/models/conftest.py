from pathlib import Path

import pytest

from ah_ray.toy.model import write_tiny_checkpoint
from tests.engines.tiny_models import write_tiny_qwen2_5_vl


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2.5-VL."""
    folder = tmp_path_factory.mktemp("stock")
    write_tiny_checkpoint(folder / "omni")
    write_tiny_qwen2_5_vl(folder / "vision", folder / "omni")
    return folder / "vision"


@pytest.fixture(scope="session")
def hybrid(tmp_path_factory: pytest.TempPathFactory, stock: Path) -> Path:
    """The hybrid of that."""
    from ah_ray.models.hybrid_conversion import convert

    folder = tmp_path_factory.mktemp("hybrids") / "hybrid"
    convert(stock, folder)
    return folder
