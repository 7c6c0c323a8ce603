import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ah_ray.evaluation.metrics import bah_average_precision, binary_metrics

BITS = st.sampled_from([0, 1])
DECIDED = st.lists(st.tuples(BITS, BITS, st.floats(0, 1)), min_size=1, max_size=40)
NAMES = {"accuracy", "precision", "recall", "f1", "macro_f1"}
NAMES |= {"average_precision", "bah_average_precision"}


def plain_average_precision(labels, scores) -> float:
    """The benchmark's definition, written as loops."""
    points = []
    for threshold in [step / 1000 for step in range(1000)]:
        positive = [
            label for label, score in zip(labels, scores, strict=True) if score >= threshold
        ]
        precision = sum(positive) / len(positive) if positive else 0.0
        recall = sum(positive) / sum(labels) if sum(labels) else 0.0
        points.append((recall, precision))
    return sum(
        abs(right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(points)
    )


@given(DECIDED)
def test_the_metrics_are_those_of_scikit_learn(rows):
    labels, answers, scores = zip(*rows, strict=True)
    ours = binary_metrics(labels, answers, scores)
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(labels, answers))
    assert ours["precision"] == pytest.approx(sk.precision_score(labels, answers, zero_division=0))
    assert ours["recall"] == pytest.approx(sk.recall_score(labels, answers, zero_division=0))
    assert ours["f1"] == pytest.approx(sk.f1_score(labels, answers, zero_division=0))
    both = [sk.f1_score(labels, answers, pos_label=label, zero_division=0) for label in (0, 1)]
    assert ours["macro_f1"] == pytest.approx(np.mean(both))
    average_precision = sk.average_precision_score(labels, scores) if any(labels) else 0
    assert ours["average_precision"] == pytest.approx(average_precision)
    assert ours["bah_average_precision"] == pytest.approx(plain_average_precision(labels, scores))
    assert (ours["n"], ours["undecided"]) == (len(rows), 0)


@given(DECIDED)
def test_the_benchmarks_average_precision_is_its_own(rows):
    labels, _, scores = zip(*rows, strict=True)
    ours = bah_average_precision(labels, scores)
    assert ours == pytest.approx(plain_average_precision(labels, scores))
    assert 0 <= ours <= 1


@given(st.data(), DECIDED)
def test_the_order_of_videos_does_not_matter(data, rows):
    shuffled = data.draw(st.permutations(rows))
    columns, others = zip(*rows, strict=True), zip(*shuffled, strict=True)
    assert binary_metrics(*others) == pytest.approx(binary_metrics(*columns))


def test_perfect_answers():
    result = binary_metrics([1, 0, 1, 0], [1, 0, 1, 0], [0.99, 0.01, 0.9, 0.2])
    assert {result[name] for name in NAMES - {"bah_average_precision"}} == {1.0}
    # The area ends where the highest score does: the last threshold finds nothing.
    assert result["bah_average_precision"] == pytest.approx(0.75)
    sure = binary_metrics([1, 0], [1, 0], [1.0, 0.0])
    assert (sure["average_precision"], sure["bah_average_precision"]) == (1.0, 0.0)


def test_inverted_answers():
    result = binary_metrics([1, 0, 1, 0], [0, 1, 0, 1], [0.01, 0.99, 0.2, 0.9])
    assert {result[name] for name in ("accuracy", "precision", "recall", "f1", "macro_f1")} == {0}


def test_undecided_videos_are_counted_and_in_no_metric():
    decided = binary_metrics([1, 0, 1], [1, 0, 0], [0.9, 0.1, 0.4])
    more = binary_metrics([1, 0, 1, 1, 0], [1, 0, 0, None, None], [0.9, 0.1, 0.4, None, 0.5])
    assert more == decided | {"undecided": 2}


@pytest.mark.parametrize("labels", [[], [1, 0]])
def test_without_a_decided_video_there_is_no_metric(labels):
    result = binary_metrics(labels, [None] * len(labels), [None] * len(labels))
    assert result == dict.fromkeys(NAMES) | {"n": 0, "undecided": len(labels)}


def test_without_a_score_the_answer_is_the_score():
    labels, answers = [1, 0, 1], [1, 1, 0]
    given = binary_metrics(labels, answers, [1.0, 1.0, 0.0])
    assert binary_metrics(labels, answers, [None, None, None]) == given


def test_only_one_class_is_not_an_error():
    result = binary_metrics([1, 1], [1, 1], [0.9, 0.8])
    assert result["accuracy"] == 1.0
    assert result["macro_f1"] == pytest.approx(0.5)  # there is no negative to find
    assert binary_metrics([0, 0], [0, 0], [0.1, 0.2])["f1"] == 0.0


def test_columns_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        binary_metrics([1, 0], [1], [0.5, 0.5])


def test_the_result_is_plain_numbers():
    result = binary_metrics([1, 0], [1, 0], [0.9, 0.1])
    assert json.loads(json.dumps(result)) == result
