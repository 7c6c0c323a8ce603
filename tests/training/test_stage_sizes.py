"""Sizes of the stages at full size, against what is known of the published model."""

import pytest

from ah_ray.training.stage_sizes import PUBLISHED, main, memory, shapes, size

MERGER = 44_574_464  # of the 7B class
STOCK = 8_292_166_656  # all of it, as its index of weights says


def test_a_hybrid_has_the_parameters_of_its_stock_model_and_of_one_more_expert_and_a_gate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = size(shapes())
    assert sizes["general"] == sizes["emotion"] == MERGER
    assert 6e6 < sizes["gate"] < 12e6
    assert sum(sizes.values()) - sizes["gate"] - MERGER == STOCK
    main([])
    said = capsys.readouterr().out
    assert f"| emotion | emotion | {MERGER:,} |" in said
    assert "| gate | gate, language by lora |" in said


def test_what_is_shared_is_divided() -> None:
    one, eight = (memory(PUBLISHED["text_config"], 1000, 80, gpus, 10) for gpus in (1, 8))
    assert (one.weights, one.gradients, one.optimizer) == (2000, 160, 960)
    assert (eight.weights, eight.gradients, eight.optimizer) == (2000, 20, 120)
    assert one.activations == eight.activations
