"""Every part of the acceptance run for a GPU, whole, with tiny models on a CPU.

Nothing but the device and the sizes is new when it meets a GPU. What starts `swift` or vLLM takes
minutes and is in `make test-slow`.
"""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ah_ray.engines.engine import Reply
from ah_ray.models.qwen3_omni_size import parameters
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.engines import agreement, counter
from benchmarks.gpu.sizes import SIZES, TOY, draw


def run(part: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a part prints last."""
    main([part, "--size", "toy"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["part"], found["size"]) == (part, "toy")
    assert found["device"] == "CPU"
    return found


def test_the_real_size_is_that_of_the_published_model(tmp_path: Path) -> None:
    size = replace(SIZES["real"], gpus=0)
    folder = size.write_omni(tmp_path, size.thinker["text_config"]["num_hidden_layers"], False)
    with torch.device("meta"):
        model = draw(str(folder), "bfloat16", "sdpa")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert sum(weight.numel() for weight in model.parameters()) == 31_719_205_488
    assert not list(folder.glob("*.safetensors"))


def test_the_thinker_answers_at_each_batch_size(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("thinker", capsys)
    assert [row["batch"] for row in found["rows"]] == [1, 2, 4]
    for row in found["rows"]:
        assert 0 < row["of_matrix_rate"] < 1
        assert row["clips_per_s"] > 0
        assert row["peak_gib"] > 0
        assert row["preprocessing_ms"] > 0
        reached = row["clips_per_s"] * found["tflop_per_clip"]
        assert reached / found["matrix_tflop_per_s"] == pytest.approx(row["of_matrix_rate"])
    assert found["parameters"] == sum(parameters(TOY.thinker))


def test_kernels_agree_about_clips_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("kernels", capsys)
    assert [row["kernel"] for row in found["rows"]] == ["sdpa", "eager"]
    assert found["clips"] == 32
    assert found["equal_answers"] == 1
    assert found["largest_difference"] < 0.02
    assert found["spread_of_chances"] > 10 * found["largest_difference"]


def test_what_does_not_agree_is_counted() -> None:
    ours = [Reply(None, {"Yes": chance, "No": 1 - chance}) for chance in (0.9, 0.52, 0.1, 0.2)]
    theirs = [Reply(None, {"Yes": chance, "No": 1 - chance}) for chance in (0.8, 0.48, 0.1, 0.2)]
    found = agreement(ours, theirs)
    assert found["equal_answers"] == 0.75
    assert found["largest_difference"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="1 of 4"):
        agreement(ours, [*theirs[:3], Reply("text")])


def test_experts_and_attention_are_counted() -> None:
    ends = torch.tensor([2, 2, 6], dtype=torch.int32)  # of the rows of each expert
    rows, experts = torch.randn(6, 16).bfloat16(), torch.randn(3, 16, 8).bfloat16()
    heads = torch.randn(1, 2, 5, 16)
    with counter() as grouped, torch.inference_mode():
        torch.nn.functional.grouped_mm(rows, experts, offs=ends)
    with counter() as attended, torch.inference_mode():
        torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
    assert grouped.get_total_flops() == 2 * 6 * 16 * 8
    assert attended.get_total_flops() == 2 * (2 * 2 * 5 * 5 * 16)


@pytest.mark.slow
def test_an_adapter_is_trained_at_two_depths(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("lora", capsys)
    few, many, whole = found["rows"]
    assert [row["layers"] for row in (few, many, whole)] == [1, 2, 3]
    assert found["extrapolated_layers"] == 3
    for name in ("s_a_step", "memory_gib"):
        assert few[name] > 0
        assert whole[name] == pytest.approx(2 * many[name] - few[name])
    assert found["tokens_a_step"] > 100
    assert few["tokens_per_s"] == found["tokens_a_step"] / few["s_a_step"]
    assert whole["of_sizing"] == whole["memory_gib"] / whole["sizing_gib"]


@pytest.mark.slow
def test_zero_3_is_killed_and_resumed_and_its_member_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = run("zero3", capsys)
    first, again = found["rows"]
    assert (first["resumed"], again["resumed"]) == (False, True)
    assert first["step"] == again["step"] == 5
    assert first["loss"] == pytest.approx(again["loss"], rel=1e-3)
    assert found["optimizer_bytes_a_trained_parameter"] == pytest.approx(12, rel=0.1)
    assert found["weights_bytes_a_parameter"] == pytest.approx(2, rel=0.1)
    assert sum(found["chances_of_member"].values()) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm_serves_adapters_and_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("vllm", capsys)
    one, two, adapters, bare = found["rows"]
    assert all(row["answers_per_s"] > 0 and row["start_s"] > 0 for row in found["rows"])
    assert one["conversations"] > 1
    assert found["share_of_async_engine"] == two["answers_per_s"] / bare["answers_per_s"]
    assert found["adapters_vs_merged"] == adapters["answers_per_s"] / two["answers_per_s"]
