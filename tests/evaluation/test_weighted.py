import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ah_ray.evaluation import weighted
from ah_ray.evaluation.metrics import bah_average_precision

# Truth, answer (-1 for none), chance and how often it counts, of each video.
VIDEOS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-1, 2),
        st.floats(0, 1) | st.integers(0, 10).map(lambda step: step / 10),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=30,
)
TALLIED = {
    "accuracy": lambda t: t.accuracy,
    "uar": lambda t: weighted.over_present(t.recall),
    "macro_f1": lambda t: weighted.over_present(t.f1),
    "weighted_f1": lambda t: t.weighted_f1,
}


def repeated(rows) -> list[tuple[int, int, float]]:
    """Each video as often as it counts."""
    return [row[:3] for row in rows for _ in range(row[3])]


def under_weights(measure: weighted.Weighted, *weights) -> dict[str, list[float]]:
    with warnings.catch_warnings(action="error"):
        found = measure(np.array(weights, float))
    return {name: values.tolist() for name, values in found.items()}


def named(truth, said) -> weighted.Weighted:
    tallies = weighted.tallied(truth, said, 3)
    return lambda weights: {name: value(tallies(weights)) for name, value in TALLIED.items()}


@given(VIDEOS)
def test_a_weight_is_how_often_a_video_is_there(rows):
    truth, said, _, weights = zip(*rows, strict=True)
    ours = {name: value for name, (value,) in under_weights(named(truth, said), weights).items()}
    decided = [(t, s) for t, s, _ in repeated(rows) if s >= 0]
    if not decided:
        assert all(np.isnan(value) for value in ours.values())
        return
    truth, said = zip(*decided, strict=True)
    there = sorted(set(truth))
    f1 = {"labels": there, "zero_division": 0}
    assert ours == pytest.approx(
        {
            "accuracy": sk.accuracy_score(truth, said),
            "uar": sk.recall_score(truth, said, average="macro", **f1),
            "macro_f1": sk.f1_score(truth, said, average="macro", **f1),
            "weighted_f1": sk.f1_score(truth, said, average="weighted", **f1),
        }
    )


@given(VIDEOS)
def test_average_precision_under_weights_is_that_of_repeated_videos(rows):
    rows = [(min(truth, 1), *rest) for truth, *rest in rows]
    truth, _, chances, weights = zip(*rows, strict=True)
    ours = {k: v for k, (v,) in under_weights(weighted.ranked(truth, chances), weights).items()}
    copies = repeated(rows)
    if len({row[0] for row in copies}) < 2:
        assert all(np.isnan(value) for value in ours.values())
        return
    labels, _, scores = zip(*copies, strict=True)
    assert ours == pytest.approx(
        {
            "average_precision": sk.average_precision_score(labels, scores),
            "bah_average_precision": bah_average_precision(labels, scores),
        },
        abs=1e-12,
    )


@given(VIDEOS)
def test_a_video_that_does_not_count_changes_nothing(rows):
    truth, said, chances, weights = zip(*rows, strict=True)
    true = [t > 0 for t in truth]
    for without, with_it in (
        (weighted.ranked(true, chances), weighted.ranked([*true, 1], [*chances, np.nan])),
        (named(truth, said), named([*truth, 1], [*said, -1])),
    ):
        ours, theirs = under_weights(without, weights), under_weights(with_it, [*weights, 7])
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], nan_ok=True)


def test_each_draw_has_its_own_value():
    tallies = weighted.tallied([0, 1, 1], [0, 0, 1], 2)
    counts = np.array([[1, 1, 1], [0, 1, 1], [2, 0, 2]], float)
    assert tallies(counts).accuracy.tolist() == [2 / 3, 1 / 2, 1]
    assert tallies(counts).precision[:, 0].tolist() == [1 / 2, 0, 1]


def test_a_mean_is_over_those_that_have_a_number():
    means = weighted.means({"x": [1.0, np.nan, 0.25], "y": [3, 2, 1]})
    found = under_weights(means, [1, 1, 1], [1, 5, 3])
    assert found == {"x": [0.625, 0.4375], "y": [2.0, 16 / 9]}
    assert np.isnan(under_weights(means, [0, 1, 0])["x"][0])
