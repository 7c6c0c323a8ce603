"""Base rates of the training videos, as a member without a model."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.prior import base_rates, require_current_prior, write_prior
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup, engine_groups
from ah_ray.errors import ConfigError
from tests.engines.tiny_models import member, random_clips


def video(number: int, split: str, label: int | None, question: str | None) -> dict:
    attributes = [] if question is None else [("question", question)]
    return {"video_id": str(number), "split": split, "label": label, "attributes": attributes}


def test_rates_come_from_the_videos_with_the_same_value() -> None:
    videos = [video(n, "train", int(n < 3), "a") for n in range(4)]
    videos += [video(n, "train", 0, "b") for n in range(4, 8)]
    videos += [video(8, "test", 1, "a"), video(9, "test", 1, "b"), video(10, "test", 1, "new")]
    overall = 3 / 8
    by_question = base_rates(videos, ["train"], "question")
    assert by_question["8"] == pytest.approx((3 + overall) / 5)
    assert by_question["9"] == pytest.approx((0 + overall) / 5)
    assert by_question["10"] == overall
    assert set(base_rates(videos, ["train"], "overall").values()) == {overall}


VIDEOS = st.lists(
    st.builds(
        video,
        st.integers(0, 10_000),
        st.sampled_from(["train", "val", "test"]),
        st.sampled_from([0, 1, None]),
        st.sampled_from(["a", "b", None]),
    ),
    unique_by=lambda row: row["video_id"],
)


@given(VIDEOS, st.sampled_from(["question", "overall"]), st.randoms())
def test_rates_see_no_label_of_other_splits_and_no_order(videos, attribute, random) -> None:
    rates = base_rates(videos, ["train"], attribute)
    assert rates.keys() == {row["video_id"] for row in videos}
    assert all(0 <= rate <= 1 for rate in rates.values())
    blind = [{**row, "label": row["label"] if row["split"] == "train" else 1} for row in videos]
    random.shuffle(blind)
    assert base_rates(blind, ["train"], attribute) == pytest.approx(rates)


def test_the_prior_answers_by_video_and_needs_no_model(omni: Path, tmp_path: Path) -> None:
    clips = random_clips(2)
    model = member(omni, "omni")
    card = model.card.model_copy(update={"name": "prior", "weights": "prior"})
    prior = write_prior(str(tmp_path / "prior"), card, {"0": 0.25, "1": 0.75})
    assert [group.members for group in engine_groups([model, prior])] == [(model,), (prior,)]
    engine = load_engine(EngineGroup(prior.checkpoint, (prior,)), ScoreConfig())
    ((no, yes),) = engine.answer([prior], clips)
    assert (no.p_yes, yes.p_yes) == (0.25, 0.75)
    assert (no.text, yes.text) == ("<answer>No</answer>", "<answer>Yes</answer>")


def test_a_prior_of_other_labels_is_told(omni: Path, tmp_path: Path) -> None:
    card = member(omni, "omni").card.model_copy(update={"name": "prior", "weights": "prior"})
    prior = write_prior(str(tmp_path / "prior"), card, {"0": 0.25, "1": 0.1 + 0.2})
    require_current_prior(prior, {"1": 0.1 + 0.2})
    for now in ({"0": 0.25, "new": 0.25}, {"0": 0.25, "1": 0.5}):
        with pytest.raises(ConfigError, match="run `ah-ray score` again"):
            require_current_prior(prior, now)
