import json
import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ah_ray.evaluation.metrics import bah_average_precision, binary_metrics

BITS = st.sampled_from([0, 1])
SCORES = st.floats(0, 1) | st.integers(0, 1000).map(lambda step: step / 1000)
DECIDED = st.lists(st.tuples(BITS, BITS, SCORES), min_size=1, max_size=40)
BOTH_CLASSES = DECIDED.filter(lambda rows: {label for label, _, _ in rows} == {0, 1})
GRID = np.arange(0, 1, 0.001).tolist()  # the benchmark's thresholds
NAMES = {"accuracy", "precision", "recall", "f1", "macro_f1"}
NAMES |= {"average_precision", "bah_average_precision"}


def plain_average_precision(labels, scores) -> float:
    """The benchmark's definition, written as loops."""
    points = []
    for threshold in GRID:
        positive = [
            label for label, score in zip(labels, scores, strict=True) if score >= threshold
        ]
        precision = sum(positive) / len(positive) if positive else 0.0
        recall = sum(positive) / sum(labels) if sum(labels) else 0.0
        points.append((recall, precision))
    return sum(
        abs(right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(points)
    )


@given(BOTH_CLASSES)
def test_the_metrics_are_those_of_scikit_learn(rows):
    labels, answers, scores = zip(*rows, strict=True)
    with warnings.catch_warnings(action="error"):
        ours = binary_metrics(labels, answers, scores)
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(labels, answers))
    if any(answers):
        assert ours["precision"] == pytest.approx(sk.precision_score(labels, answers))
        assert ours["undefined"] == {}
    else:
        assert ours["precision"] is None
        assert ours["undefined"] == {"precision": "no video is answered positive"}
    assert ours["recall"] == pytest.approx(sk.recall_score(labels, answers))
    assert ours["f1"] == pytest.approx(sk.f1_score(labels, answers))
    both = [sk.f1_score(labels, answers, pos_label=label, zero_division=0) for label in (0, 1)]
    assert ours["macro_f1"] == pytest.approx(np.mean(both))
    average_precision = sk.average_precision_score(labels, scores)
    assert ours["average_precision"] == pytest.approx(average_precision)
    assert ours["bah_average_precision"] == pytest.approx(plain_average_precision(labels, scores))
    assert (ours["n"], ours["positives"]) == (len(rows), sum(labels))
    assert (ours["undecided"], ours["coverage"]) == (0, 1.0)


@given(DECIDED)
def test_the_benchmarks_average_precision_is_its_own(rows):
    labels, _, scores = zip(*rows, strict=True)
    ours = bah_average_precision(labels, scores)
    assert ours == pytest.approx(plain_average_precision(labels, scores))
    assert 0 <= ours <= 1


def test_a_score_on_the_grid_counts_as_the_benchmark_counts_it():
    score, threshold = 9 / 1000, GRID[9]
    assert threshold > score  # by one bit
    columns = [1, 0, 1], [score, 0.0085, 0.5]
    assert bah_average_precision(*columns) == pytest.approx(plain_average_precision(*columns))


UNKNOWN = st.sampled_from([None, math.nan, math.inf, -math.inf])
ANY = st.lists(
    st.tuples(BITS, BITS | st.none(), st.floats(0, 1) | UNKNOWN), min_size=1, max_size=40
)


@given(st.data(), ANY)
def test_the_order_of_videos_does_not_matter(data, rows):
    shuffled = data.draw(st.permutations(rows))
    columns, others = zip(*rows, strict=True), zip(*shuffled, strict=True)
    ours, theirs = binary_metrics(*columns), binary_metrics(*others)
    assert theirs.pop("undefined") == ours.pop("undefined")
    assert theirs == pytest.approx(ours)


@given(ANY)
def test_a_score_that_is_no_number_is_unknown(rows):
    labels, answers, scores = zip(*rows, strict=True)
    known = [score if score is not None and math.isfinite(score) else None for score in scores]
    assert binary_metrics(*zip(*rows, strict=True)) == binary_metrics(labels, answers, known)


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
    assert (decided["undecided"], decided["coverage"]) == (0, 1.0)
    more = binary_metrics([1, 0, 1, 1, 0], [1, 0, 0, None, None], [0.9, 0.1, 0.4, None, math.nan])
    assert more == decided | {"undecided": 2, "coverage": 0.6}


@pytest.mark.parametrize(("labels", "coverage"), [([], None), ([1, 0], 0.0)])
def test_without_a_decided_video_there_is_no_metric(labels, coverage):
    result = binary_metrics(labels, [None] * len(labels), [None] * len(labels))
    assert result.pop("undefined") == dict.fromkeys(NAMES, "no labelled video has an answer")
    counts = {"n": 0, "positives": 0, "undecided": len(labels), "coverage": coverage}
    assert result == dict.fromkeys(NAMES) | counts


def test_without_a_score_the_answer_is_the_score():
    labels, answers = [1, 0, 1], [1, 1, 0]
    given = binary_metrics(labels, answers, [1.0, 1.0, 0.0])
    assert binary_metrics(labels, answers, [None, None, None]) == given


@pytest.mark.parametrize("answers", [[1, 1], [1, 0], [0, 0]])
def test_what_one_class_does_not_define_is_null_with_the_reason(answers):
    ranked = {"macro_f1", "average_precision", "bah_average_precision"}
    with warnings.catch_warnings(action="error"):
        positive = binary_metrics([1, 1], answers, [0.9, 0.8])
        negative = binary_metrics([0, 0], answers, [0.9, 0.8])
    unsaid = set() if any(answers) else {"precision"}
    for result in (positive, negative):
        assert {name for name in NAMES if result[name] is None} == set(result["undefined"])
    assert set(positive["undefined"]) == ranked | unsaid
    assert set(negative["undefined"]) == ranked | unsaid | {"recall", "f1"}
    assert positive["undefined"]["macro_f1"] == "no video is labelled negative"
    assert negative["undefined"]["macro_f1"] == "no video is labelled positive"
    assert positive["accuracy"] == positive["recall"] == sum(answers) / 2
    assert negative["accuracy"] == 1 - sum(answers) / 2


def test_columns_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        binary_metrics([1, 0], [1], [0.5, 0.5])


def test_the_result_is_plain_numbers():
    result = binary_metrics([1, 0], [1, 0], [0.9, 0.1])
    assert json.loads(json.dumps(result)) == result
