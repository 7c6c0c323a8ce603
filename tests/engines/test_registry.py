"""Engines by name; none of ours is imported for it."""

import subprocess
import sys

import pytest

from ah_ray.engines.registry import ENGINES, EngineKind, find_engine
from ah_ray.errors import ConfigError

MEDIALESS = EngineKind("tests.pipelines.light_engines:LightEngine", needs_model=False)


def test_ours_and_those_of_ones_own():
    assert find_engine("vllm") is ENGINES["vllm"]
    path = "tests.pipelines.light_engines:LightEngine"
    assert find_engine(path) == EngineKind(path)
    assert find_engine(f"{__name__}:MEDIALESS") is MEDIALESS


@pytest.mark.parametrize("name", ["none", "tests.none:Engine", "tests.pipelines.light_engines:No"])
def test_an_engine_that_is_none_is_refused_before_anything_starts(name):
    with pytest.raises(ConfigError, match=r"score\.engine"):
        find_engine(name)


def test_finding_ours_imports_neither_torch_nor_vllm():
    code = (
        "import sys; from ah_ray.engines.registry import find_engine as f; f('vllm'); "
        "f('transformers'); sys.exit(bool({'torch', 'vllm', 'transformers'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
