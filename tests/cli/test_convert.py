"""A model is converted from a shell, or refused."""

import json

from ah_ray.toy.model import write_tiny_checkpoint
from tests.engines.tiny_models import write_tiny_qwen2_5_vl


def test_a_model_is_converted_once(ah_ray, refused, tmp_path) -> None:
    omni, stock, hybrid = (tmp_path / name for name in ("omni", "stock", "hybrid"))
    write_tiny_checkpoint(omni)
    write_tiny_qwen2_5_vl(stock, omni)
    code, text = ah_ray("convert", stock, "--to", hybrid)
    assert code == 0, text
    assert "qwen2_5_vl_hybrid" in text
    assert json.loads((hybrid / "config.json").read_text())["model_type"] == "qwen2_5_vl_hybrid"
    assert "is there already" in refused("convert", stock, "--to", hybrid)
    assert "qwen3_omni_moe" in refused("convert", omni, "--to", tmp_path / "other")
    assert "there is no checkpoint" in refused("convert", tmp_path / "none", "--to", hybrid)
