import json
import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ah_ray.errors import ConfigError
from ah_ray.evaluation.explanations import explanations
from ah_ray.evaluation.judged import Judged
from ah_ray.evaluation.label_sets import Scores, label_sets
from ah_ray.evaluation.metrics import (
    HEADINGS,
    METRICS,
    NOTES,
    bah_average_precision,
    binary,
    classes,
    main_figure,
    measured,
    weighted,
)
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Choice, Labels

YES_NO = Choice(kind="choice", options=("Yes", "No"))
CUES = Choice(kind="choice", options=("smile", "frown", "bright", "dull"))
WORDS = Labels(kind="labels")

BITS = st.sampled_from([0, 1])
SCORES = st.floats(0, 1) | st.integers(0, 1000).map(lambda step: step / 1000)
DECIDED = st.lists(st.tuples(BITS, BITS, SCORES), min_size=1, max_size=40)
BOTH_CLASSES = DECIDED.filter(lambda rows: {label for label, _, _ in rows} == {0, 1})
GRID = np.arange(0, 1, 0.001).tolist()  # the benchmark's thresholds
NAMES = {"accuracy", "precision", "recall", "f1", "f1_Yes", "f1_No", "macro_f1", "weighted_f1"}
NAMES |= {"average_precision", "bah_average_precision"}


def judged(labels, answers, scores) -> list[Judged]:
    """Videos of a Yes/No question: 1 is Yes, a score is P(Yes)."""

    def said(bit) -> frozenset[str] | None:
        return None if bit is None else frozenset({"Yes" if bit else "No"})

    return [
        Judged(said(label), said(answer), {} if score is None else {"Yes": score})
        for label, answer, score in zip(labels, answers, scores, strict=True)
    ]


def binary_metrics(labels, answers, scores) -> dict:
    return binary(judged(labels, answers, scores), YES_NO)


def notes_of(metrics: dict) -> dict:
    """What is told beside the numbers; it is taken out of them."""
    return {name: metrics.pop(name) for name in NOTES & metrics.keys()}


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
    assert notes_of(theirs) == notes_of(ours)
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
    confusion = more.pop("confusion")
    assert (confusion["Yes"]["undecided"], confusion["No"]["undecided"]) == (1, 1)
    decided.pop("confusion")
    assert more == decided | {"undecided": 2, "coverage": 0.6}


@pytest.mark.parametrize(("labels", "coverage"), [([], None), ([1, 0], 0.0)])
def test_without_a_decided_video_there_is_no_metric(labels, coverage):
    result = binary_metrics(labels, [None] * len(labels), [None] * len(labels))
    nothing = {"Yes": None, "No": None}
    assert result.pop("confusion_shares") == {"Yes": nothing, "No": nothing}
    assert sum(row["undecided"] for row in result.pop("confusion").values()) == len(labels)
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
    assert set(positive["undefined"]) == ranked | unsaid | {"f1_No"}
    assert set(negative["undefined"]) == ranked | unsaid | {"recall", "f1", "f1_Yes"}
    assert positive["undefined"]["macro_f1"] == "no video is labelled negative"
    assert negative["undefined"]["macro_f1"] == "no video is labelled positive"
    assert positive["accuracy"] == positive["recall"] == sum(answers) / 2
    assert negative["accuracy"] == 1 - sum(answers) / 2


def test_the_result_is_plain_numbers():
    result = binary_metrics([1, 0], [1, 0], [0.9, 0.1])
    assert json.loads(json.dumps(result)) == result


# The benchmark's, computed anew from its definitions


def benchmark(labels, answers, scores) -> dict:
    """What ``bah_metrics.py`` reports, written as loops: F1 of a class that nobody says is 0."""
    pairs = list(zip(labels, answers, strict=True))
    f1, rows = {}, {}
    for c in (0, 1):
        hits, false, missed = (pairs.count(pair) for pair in ((c, c), (1 - c, c), (c, 1 - c)))
        f1[c] = 2 * hits / (2 * hits + false + missed)
        rows[c] = [pairs.count((c, said)) / labels.count(c) for said in (0, 1)]
    return {
        "accuracy": sum(a == b for a, b in pairs) / len(pairs),
        "f1_Yes": f1[1],
        "f1_No": f1[0],
        "macro_f1": (f1[0] + f1[1]) / 2,
        "weighted_f1": (labels.count(0) * f1[0] + labels.count(1) * f1[1]) / len(labels),
        "bah_average_precision": plain_average_precision(labels, scores),
        "confusion_shares": {"Yes": {"Yes": rows[1][1], "No": rows[1][0]},
                             "No": {"Yes": rows[0][1], "No": rows[0][0]}},
    }  # fmt: skip


@given(BOTH_CLASSES)
def test_all_of_the_benchmarks_metrics_are_its_own(rows):
    ours = binary_metrics(*zip(*rows, strict=True))
    theirs = benchmark(*zip(*rows, strict=True))
    shares = theirs.pop("confusion_shares")
    for label, row in shares.items():
        assert ours["confusion_shares"][label] == pytest.approx(row, abs=1e-9)
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-9)


# One class of several

OPTIONS = st.sampled_from(CUES.options)
CALLED = st.lists(st.tuples(OPTIONS, OPTIONS | st.none()), min_size=1, max_size=40)


def class_judged(rows) -> list[Judged]:
    def labels(label) -> frozenset[str] | None:
        return None if label is None else frozenset({label})

    return [Judged(labels(truth), labels(said), {}) for truth, said in rows]


def class_metrics(rows) -> dict:
    return METRICS["classes"](class_judged(rows), CUES)


@given(CALLED.filter(lambda rows: any(said for _, said in rows)))
def test_the_metrics_of_classes_are_those_of_scikit_learn(rows):
    with warnings.catch_warnings(action="error"):
        ours = class_metrics(rows)
    truth, said = zip(*((t, s) for t, s in rows if s is not None), strict=True)
    there = sorted(set(truth))
    assert ours["war"] == pytest.approx(sk.accuracy_score(truth, said))
    with warnings.catch_warnings(action="ignore"):  # of a class that is said and of no video
        assert ours["uar"] == pytest.approx(sk.balanced_accuracy_score(truth, said))
    for name, average in (("macro_f1", "macro"), ("weighted_f1", "weighted")):
        theirs = sk.f1_score(truth, said, labels=there, average=average, zero_division=0)
        assert ours[name] == pytest.approx(theirs)
    each = sk.recall_score(truth, said, labels=there, average=None, zero_division=0)
    assert ours["uar"] == pytest.approx(np.mean(each))
    matrix = sk.confusion_matrix(truth, said, labels=list(CUES.options))
    confusion = ours["confusion"]
    assert [[confusion[t][s] for s in CUES.options] for t in CUES.options] == matrix.tolist()
    assert ours["n"] == matrix.sum()
    assert ours["undefined"] == {}


@given(CALLED)
def test_every_video_is_counted_once(rows):
    ours = class_metrics(rows)
    confusion = ours["confusion"]
    assert sum(sum(row.values()) for row in confusion.values()) == len(rows)
    for label in CUES.options:
        assert sum(confusion[label].values()) == sum(truth == label for truth, _ in rows)
    assert sum(row["undecided"] for row in confusion.values()) == ours["undecided"]
    assert ours["n"] + ours["undecided"] == len(rows)
    assert ours["coverage"] == ours["n"] / len(rows)


@given(st.data(), CALLED)
def test_the_order_of_videos_does_not_matter_to_classes(data, rows):
    ours, theirs = class_metrics(rows), class_metrics(data.draw(st.permutations(rows)))
    assert notes_of(theirs) == notes_of(ours)
    assert theirs == pytest.approx(ours)


def test_classes_by_hand():
    rows = [("smile", "smile")] * 3 + [("smile", "frown"), ("frown", "frown"), ("dull", "smile")]
    ours = class_metrics(rows)
    assert ours["war"] == pytest.approx(4 / 6)
    assert ours["uar"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    f1 = {"smile": 3 / 4, "frown": 2 / 3, "dull": 0}  # bright is of no video and in no mean
    assert ours["macro_f1"] == pytest.approx(sum(f1.values()) / 3)
    weighted = (4 * f1["smile"] + f1["frown"] + f1["dull"]) / 6
    assert ours["weighted_f1"] == pytest.approx(weighted)
    nothing = dict.fromkeys((*CUES.options, "undecided"), 0)
    assert ours["confusion"] == {
        "smile": nothing | {"smile": 3, "frown": 1},
        "frown": nothing | {"frown": 1},
        "bright": nothing,
        "dull": nothing | {"smile": 1},
    }


def test_a_class_without_videos_that_is_said_costs_the_others_alone():
    ours = class_metrics([("smile", "smile"), ("smile", "dull"), ("frown", "frown")])
    assert ours["uar"] == pytest.approx(3 / 4)
    assert ours["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def test_undecided_videos_are_in_the_confusion_and_in_no_metric():
    rows = [("smile", "smile"), ("frown", "smile")]
    more = class_metrics([*rows, ("smile", None), ("dull", None)])
    confusion = class_metrics(rows)["confusion"]
    confusion["smile"]["undecided"] = confusion["dull"]["undecided"] = 1
    counts = {"undecided": 2, "coverage": 0.5, "confusion": confusion}
    assert confusion["dull"]["undecided"] == 1
    assert more == class_metrics(rows) | counts


@pytest.mark.parametrize(("rows", "coverage"), [([], None), ([("smile", None)], 0.0)])
def test_without_a_decided_video_no_metric_of_classes(rows, coverage):
    ours = class_metrics(rows)
    names = {"war", "uar", "macro_f1", "weighted_f1"}
    assert ours["undefined"] == dict.fromkeys(names, "no labelled video has an answer")
    assert {ours[name] for name in names} == {None}
    assert (ours["n"], ours["undecided"], ours["coverage"]) == (0, len(rows), coverage)
    assert json.loads(json.dumps(ours)) == ours


@given(BOTH_CLASSES)
def test_of_two_classes_the_macro_f1_is_the_same(rows):
    columns = list(zip(*rows, strict=True))
    ours = classes(judged(*columns), YES_NO)
    theirs = binary_metrics(*columns)
    assert ours["macro_f1"] == pytest.approx(theirs["macro_f1"])
    assert ours["war"] == pytest.approx(theirs["accuracy"])


# Metrics under weights


def counted_once(judged, metrics, answer) -> dict:
    """The numbers of metrics where every video counts once, and None for NaN."""
    found = weighted(judged, metrics, answer)(np.ones((1, len(judged))))
    return {name: None if np.isnan(value[0]) else value[0] for name, value in found.items()}


@given(ANY)
def test_under_equal_weights_binary_is_binary(rows):
    videos = judged(*zip(*rows, strict=True))
    ours, whole = counted_once(videos, ["binary"], YES_NO), binary_metrics(*zip(*rows, strict=True))
    assert ours == pytest.approx({name: whole[name] for name in ours})
    assert ours.keys() == NAMES


@given(CALLED)
def test_under_equal_weights_classes_are_classes(rows):
    videos = class_judged(rows)
    ours, whole = counted_once(videos, ["classes"], CUES), classes(videos, CUES)
    assert ours == pytest.approx({name: whole[name] for name in ours})
    assert ours.keys() == {"war", "uar", "macro_f1", "weighted_f1"}


def test_a_metric_that_is_a_function_alone_has_no_weights():
    videos = judged([1, 0], [1, 0], [0.9, 0.1])
    own = f"{__name__}:of_ones_own"
    assert counted_once(videos, [own], YES_NO) == {}
    assert counted_once(videos, [own, "classes"], YES_NO).keys() >= {"war", "uar"}


def test_sources_are_compared_by_what_benchmarks_rank_by():
    assert main_figure(binary([], YES_NO)) == "macro_f1"
    assert main_figure(classes([], CUES)) == "war"
    assert main_figure(label_sets({"groups": "wheel"})([], WORDS)) == "wheel_f1"
    assert main_figure(["agreement"]) is None


# Metrics by name


def test_metrics_of_a_task_go_into_one_table():
    rows = judged([1, 0, 1], [1, 0, None], [0.9, 0.1, None])
    both = measured(rows, ("binary", "classes"), YES_NO)
    assert both == binary(rows, YES_NO) | classes(rows, YES_NO)
    assert measured(rows, ("classes", "binary"), YES_NO) == both
    counts = {"n": 2, "undecided": 1, "coverage": 2 / 3, "undefined": {}}
    assert measured(rows, (), YES_NO) == counts
    nothing = measured([], ("binary", "classes"), YES_NO)
    assert set(nothing["undefined"]) == NAMES | {"war", "uar", "weighted_f1"}


def of_ones_own(judged, answer) -> dict:
    return {"answered": sum(one.said is not None for one in judged), "options": answer.options}


def test_a_metric_of_ones_own():
    rows = judged([1, 0], [1, None], [0.5, None])
    found = measured(rows, (f"{__name__}:of_ones_own", "binary"), YES_NO)
    assert (found["answered"], found["options"]) == (1, ("Yes", "No"))
    assert found["accuracy"] == 1


@pytest.mark.parametrize(
    ("metric", "answer", "problem"),
    [
        ("binary", CUES, "binary is for answers with 2 options, and this one has 4"),
        ("binary", WORDS, "binary is for answers with 2 options, and this one has none"),
        ("classes", WORDS, "classes is for answers with options, and this one has none"),
        ("f2", YES_NO, "there is no 'f2'"),
        ({"binary": 1}, YES_NO, "binary takes no argument"),
    ],
)
def test_a_metric_that_is_not_there_or_of_another_answer_is_refused(metric, answer, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        measured([], (metric,), answer)
    assert caught.value.where == "task: metrics"


NAMED = ("judge", "made_from", "task", "prompt", "rubric")
JUDGED = json.dumps(dict.fromkeys(NAMED, "") | {"scale": [1], "scores": {}})


def test_every_number_of_ours_has_a_heading_or_is_in_no_table(tmp_path):
    (tmp_path / "groups.json").write_text("[]")
    groups = ("none", str(tmp_path / "groups.json"), "wheel")
    sets = [label_sets({"groups": name}) for name in groups]
    (tmp_path / "judged.json").write_text(JUDGED)
    why = explanations({"reference": "reason", "judged": str(tmp_path / "judged.json")})
    numbers = {name for metric in (*METRICS.values(), *sets) for name in metric([], YES_NO)}
    numbers |= why([], load_task("emotion_reasoning").answer).keys()
    untold = {"precision", "recall", "words_f1", "groups_f1", "wheel_mean"} | NOTES
    untold |= {"f1_Yes", "f1_No", "positives"}
    untold |= {f"wheel_{level}_{name}" for level in "12" for name in Scores._fields}
    assert numbers - HEADINGS.keys() == untold
    assert HEADINGS.keys() <= numbers


def test_two_metrics_of_one_name_are_refused(tmp_path):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        file.write_text('[["glad", "happy"]]')
    one, other = ({"label_sets": {"groups": str(file)}} for file in files)
    with pytest.raises(ConfigError, match=r"a.json and b.json would both .* groups_"):
        measured([], (one, other), WORDS)
    both = measured(
        [], (one, {"label_sets": {"groups": "wheel"}}, {"label_sets": {"groups": "none"}}), WORDS
    )
    assert both["by"].keys() == both["videos_counted"].keys() == {"groups", "wheel", "words"}
    assert {"groups_f1", "wheel_f1", "words_f1"} <= both["undefined"].keys()
