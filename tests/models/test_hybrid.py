"""A hybrid begins as the model that it is made of, and stays what it is however it is batched."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item
from ah_ray.engines.registry import load_engine
from ah_ray.engines.transformers_engine import to_model
from ah_ray.ensemble import EngineGroup
from ah_ray.errors import ConfigError
from ah_ray.models.architecture import find_architecture
from ah_ray.models.hybrid import MODEL_TYPE, QWEN2_5_VL_HYBRID
from ah_ray.models.hybrid_conversion import convert
from ah_ray.models.hybrid_modeling import HybridCompressor, HybridConfig
from ah_ray.models.qwen2_5_vl import QWEN2_5_VL
from tests.engines.tiny_models import member, random_clips

TEXT = "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>Glad?<|im_end|>\n"
CLIPS = random_clips(4, unit=28, seed=3)


def logits(model: Any, folder: Path, clips: list[Item]) -> torch.Tensor:
    encoded = QWEN2_5_VL_HYBRID.encode(
        QWEN2_5_VL_HYBRID.load_processor(str(folder)), TEXT, ["video"], clips
    )
    with torch.inference_mode():
        found: torch.Tensor = model(**to_model(encoded, model, QWEN2_5_VL_HYBRID.times)).logits
    return found


def unequal(folder: Path) -> Any:
    """A hybrid whose gate and experts have drifted apart."""
    model = QWEN2_5_VL_HYBRID.load_model(str(folder), "float32", "sdpa").eval()
    merger = model.model.visual.merger
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for weight in [*merger.emotion.parameters(), *merger.gate.last.parameters()]:
            weight.add_(torch.randn_like(weight) * 0.3)
    return model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_answers_exactly_as_the_model_that_it_is_made_of(
    stock: Path, hybrid: Path, dtype: str
) -> None:
    before = QWEN2_5_VL.load_model(str(stock), dtype, "sdpa").eval()
    after = QWEN2_5_VL_HYBRID.load_model(str(hybrid), dtype, "sdpa").eval()
    theirs, ours = logits(before, hybrid, CLIPS), logits(after, hybrid, CLIPS)
    assert (theirs - ours).abs().max().item() == 0.0
    assert after.model.visual.merger.weights.tolist() == [[0.5, 0.5]] * len(CLIPS)
    # And it is no accident: with another gate it answers otherwise once experts differ.
    assert (logits(unequal(hybrid), hybrid, CLIPS) - theirs).abs().max() > 1e-3


def test_each_clip_has_its_gate_which_sums_to_one_whatever_is_beside_it(hybrid: Path) -> None:
    model = unequal(hybrid)
    together = logits(model, hybrid, CLIPS)[:, -1]
    gates = model.model.visual.merger.weights
    assert gates.dtype == torch.float32
    assert gates.sum(dim=1).tolist() == pytest.approx([1.0] * len(CLIPS), abs=1e-6)
    assert gates[:, 0].unique().numel() == len(CLIPS)
    for number, clip in enumerate(CLIPS):
        alone = logits(model, hybrid, [clip])[0, -1]
        torch.testing.assert_close(model.model.visual.merger.weights[0], gates[number])
        torch.testing.assert_close(alone, together[number], atol=2e-5, rtol=1e-4)


def test_patches_come_out_in_their_order_with_the_gate_of_their_item(hybrid: Path) -> None:
    merger: HybridCompressor = unequal(hybrid).model.visual.merger
    features = torch.randn(12 + 8, 64, generator=torch.Generator().manual_seed(0))
    merger.lengths = torch.tensor([12, 8])
    mixed = merger(features)
    assert mixed.shape == (5, 64)
    first, second = merger.weights
    for place, gate in enumerate([first, first, first, second, second]):
        window = features[4 * place : 4 * place + 4]
        expected = gate[0] * merger.general(window) + gate[1] * merger.emotion(window)
        torch.testing.assert_close(mixed[place], expected[0])


def test_it_is_saved_and_found_by_what_its_folder_says(hybrid: Path, tmp_path: Path) -> None:
    model = unequal(hybrid)
    model.save_pretrained(tmp_path / "again")
    config = AutoConfig.from_pretrained(tmp_path / "again")
    assert isinstance(config, HybridConfig)
    assert config.model_type == MODEL_TYPE
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "again").eval()
    for (name, one), (other, two) in zip(
        model.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(one, two)
    assert find_architecture(MODEL_TYPE) is QWEN2_5_VL_HYBRID


def test_it_is_a_member_that_answers_as_the_other_does(stock: Path, hybrid: Path) -> None:
    chances = []
    for folder in (stock, hybrid):
        one = member(folder, folder.name)
        engine = load_engine(EngineGroup(one.checkpoint, (one,)), ScoreConfig())
        (replies,) = engine.answer([one], CLIPS)
        chances.append([reply.chances for reply in replies])
    assert chances[0] == chances[1]


def test_only_a_qwen2_5_vl_is_made_one_and_nothing_is_written_over(
    hybrid: Path, stock: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=MODEL_TYPE):
        convert(hybrid, tmp_path / "twice")
    with pytest.raises(ConfigError, match="is there already"):
        convert(stock, hybrid)
    with pytest.raises(ConfigError, match="7 heads do not divide"):
        convert(stock, tmp_path / "new", gate_heads=7)
    assert list(tmp_path.iterdir()) == []
