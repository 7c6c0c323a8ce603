"""Base rates of the training videos, as a member without a model."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Reply
from ah_ray.engines.prior import base_rates, require_current_prior, write_prior
from ah_ray.engines.registry import load_engine
from ah_ray.ensemble import EngineGroup, engine_groups
from ah_ray.errors import ConfigError
from tests.engines.tiny_models import member, random_clips

OPTIONS = ("glad", "sad", "calm")


def video(number: int, split: str, label: str | None, question: str | None) -> dict:
    attributes = [] if question is None else [("question", question)]
    labels = None if label is None else [label]
    return {"video_id": str(number), "split": split, "labels": labels, "attributes": attributes}


def test_rates_come_from_the_videos_with_the_same_value() -> None:
    videos = [video(n, "train", "glad" if n < 3 else "sad", "a") for n in range(4)]
    videos += [video(n, "train", "sad" if n < 7 else "calm", "b") for n in range(4, 8)]
    videos += [video(8 + n, "test", "glad", value) for n, value in enumerate(["a", "b", "new"])]
    overall = {"glad": 3 / 8, "sad": 4 / 8, "calm": 1 / 8}
    by_question = base_rates(videos, ["train"], "question", OPTIONS)
    a, b = {"glad": 3, "sad": 1, "calm": 0}, {"glad": 0, "sad": 3, "calm": 1}
    for video_id, counts in (("8", a), ("9", b)):
        expected = {option: (counts[option] + overall[option]) / 5 for option in OPTIONS}
        assert by_question[video_id] == pytest.approx(expected)
    assert by_question["10"] == overall
    assert all(
        rates == overall for rates in base_rates(videos, ["train"], "overall", OPTIONS).values()
    )


VIDEOS = st.lists(
    st.builds(
        video,
        st.integers(0, 10_000),
        st.sampled_from(["train", "val", "test"]),
        st.sampled_from([*OPTIONS, None]),
        st.sampled_from(["a", "b", None]),
    ),
    unique_by=lambda row: row["video_id"],
)


@given(VIDEOS, st.sampled_from(["question", "overall"]), st.randoms())
def test_rates_see_no_label_of_other_splits_and_no_order(videos, attribute, random) -> None:
    rates = base_rates(videos, ["train"], attribute, OPTIONS)
    assert rates.keys() == {row["video_id"] for row in videos}
    for chances in rates.values():
        assert tuple(chances) == OPTIONS
        assert all(0 <= chance <= 1 for chance in chances.values())
        assert sum(chances.values()) == pytest.approx(1)
    blind = [
        {**row, "labels": row["labels"] if row["split"] == "train" else ["glad"]} for row in videos
    ]
    random.shuffle(blind)
    again = base_rates(blind, ["train"], attribute, OPTIONS)
    assert all(again[video_id] == pytest.approx(rates[video_id]) for video_id in rates)


def test_without_a_label_all_options_are_as_likely() -> None:
    (rates,) = base_rates([video(1, "train", None, "a")], ["train"], "question", OPTIONS).values()
    assert rates == dict.fromkeys(OPTIONS, 1 / 3)


def chances(yes: float) -> dict[str, float]:
    return {"Yes": yes, "No": 1 - yes}


def test_the_prior_answers_by_video_and_needs_no_model(omni: Path, tmp_path: Path) -> None:
    clips = random_clips(2)
    model = member(omni, "omni")
    card = model.card.model_copy(update={"name": "prior", "weights": "prior"})
    prior = write_prior(str(tmp_path / "prior"), card, {"0": chances(0.25), "1": chances(0.75)})
    assert [group.members for group in engine_groups([model, prior])] == [(model,), (prior,)]
    engine = load_engine(EngineGroup(prior.checkpoint, (prior,)), ScoreConfig())
    ((no, yes),) = engine.answer([prior], clips)
    assert (no, yes) == (Reply(None, chances(0.25)), Reply(None, chances(0.75)))


def test_a_prior_of_other_labels_is_told(omni: Path, tmp_path: Path) -> None:
    card = member(omni, "omni").card.model_copy(update={"name": "prior", "weights": "prior"})
    prior = write_prior(
        str(tmp_path / "prior"), card, {"0": chances(0.25), "1": chances(0.1 + 0.2)}
    )
    require_current_prior(prior, {"1": chances(0.1 + 0.2)})
    kept = {"0": chances(0.25)}
    for now in (kept | {"new": chances(0.25)}, kept | {"1": chances(0.5)}):
        with pytest.raises(ConfigError, match="run `ah-ray score` again"):
            require_current_prior(prior, now)
