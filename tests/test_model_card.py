"""The README of a member."""

from pathlib import Path

import yaml
from huggingface_hub import ModelCard

from ah_ray.config import load_config
from ah_ray.members import MemberCard, card_of
from ah_ray.model_card import model_card

ROOT = Path(__file__).parents[1]
TRAINED = {
    "clips": 1234, "videos": 200, "participants": 40, "rows": 1234,
    "clips_by_label": {"No": 1000, "Yes": 234}, "versions": {"ms-swift": "4.6.0"},
    "base": "0123", "captions": {"uri": "/secret/place"},
    "checkpoint": {"step": 20, "eval_loss": 0.25, "validation": {"macro_f1": 0.75, "n": 30}},
}  # fmt: skip


def card(name: str = "v1", path: str = "Qwen/Qwen3-Omni-30B-A3B-Instruct") -> MemberCard:
    config = load_config(ROOT / "jobs" / "paper.yaml", "s3://bucket/secret/run")
    made = card_of(config, name)
    return made.model_copy(
        update={
            "trained": made.trained | TRAINED,
            "model": made.model.model_copy(update={"path": path}),
        }
    )


def test_hubs_read_it_and_people_find_metrics_and_limits() -> None:
    text = model_card(card()).decode()
    data = ModelCard(text).data
    assert data.base_model == "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    assert data.library_name == "peft"
    assert "ah_ray" in data.tags
    for told in ("- clips: 1,234", "- clips by label: No 1,000, Yes 234", "- lora.rank: 8",
                 "| macro F1 | 0.750 |", "| loss of clips | 0.2500 |", "n = 30", "no diagnosis",
                 "Made with ms-swift 4.6.0."):  # fmt: skip
        assert told in text


def test_it_names_no_place_and_is_the_same_each_time() -> None:
    made = card("v2", "/data/secret/base")
    text = model_card(made).decode()
    assert "secret" not in text
    assert "bucket" not in text
    assert ModelCard(text).data.base_model is None
    assert text == model_card(made).decode()


def test_a_base_model_as_it_is_says_so() -> None:
    made = card().model_copy(update={"weights": "base", "trained": {"base": "0123"}})
    text = model_card(made).decode()
    assert "The unchanged weights of Qwen/Qwen3-Omni-30B-A3B-Instruct" in text
    assert "None: the base model as it is." in text
    assert yaml.safe_load(text.split("---")[1])["library_name"] == "transformers"
