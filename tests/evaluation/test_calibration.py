import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ah_ray.evaluation.calibration import abstention, reliability
from ah_ray.evaluation.judged import Judged
from ah_ray.tasks.answers import Choice, Labels

YES_NO = Choice(kind="choice", options=("Yes", "No"))
CUES = Choice(kind="choice", options=("smile", "frown", "bright"))
WORDS = Labels(kind="labels")

ROWS = st.lists(st.tuples(st.booleans(), st.booleans() | st.none(), st.floats(0, 1)), max_size=40)


def asked(truth, said, chance) -> Judged:
    """A Yes/No question with a P(Yes)."""

    def word(bit) -> frozenset[str] | None:
        return None if bit is None else frozenset({"Yes" if bit else "No"})

    return Judged(word(truth), word(said), {"Yes": chance, "No": 1 - chance})


def test_reliability_by_hand():
    rows = [(1, 1, 0.95), (1, 1, 1.0), (0, 1, 0.91), (0, 0, 0.2), (1, 0, 0.24), (0, None, 0.5)]
    found = reliability([asked(*row) for row in rows], YES_NO)
    assert found["n"] == 5
    assert found["bins"] == [
        {"low": 0.2, "high": 0.3, "n": 2, "chance": pytest.approx(0.22), "share": 0.5},
        {"low": 0.9, "high": 1.0, "n": 3, "chance": pytest.approx(2.86 / 3), "share": 2 / 3},
    ]
    assert found["ece"] == pytest.approx((2 * 0.28 + 0.86) / 5)
    brier = (0.05**2 + 0 + 0.91**2 + 0.2**2 + 0.76**2) / 5
    assert found["brier"] == pytest.approx(brier)


@given(ROWS)
def test_brier_is_that_of_scikit_learn_and_every_answer_is_in_a_bin(rows):
    found = reliability([asked(*row) for row in rows], YES_NO)
    decided = [(truth, chance) for truth, said, chance in rows if said is not None]
    assert sum(one["n"] for one in found["bins"]) == found["n"] == len(decided)
    if decided:
        theirs = sk.brier_score_loss(*zip(*decided, strict=True), pos_label=True, labels=[0, 1])
        assert found["brier"] == pytest.approx(theirs)
        assert 0 <= found["ece"] <= 1
    else:
        assert (found["brier"], found["ece"]) == (None, None)


def test_of_several_options_and_of_words_it_is_what_is_said():
    smile = Judged(frozenset({"smile"}), frozenset({"smile"}), {"smile": 0.6, "frown": 0.4})
    frown = Judged(frozenset({"smile"}), frozenset({"frown"}), {"frown": 0.6, "smile": 0.4})
    found = reliability([smile, frown], CUES)
    assert found["bins"] == [{"low": 0.6, "high": 0.7, "n": 2, "chance": 0.6, "share": 0.5}]
    words = Judged(frozenset({"glad"}), frozenset({"glad", "sad"}), {"glad": 0.8, "sad": math.nan})
    found = reliability([words], WORDS)
    assert [(one["chance"], one["share"]) for one in found["bins"]] == [(0.8, 1), (1, 0)]


def test_abstention_by_hand():
    rows = [(1, 1, 0.9), (0, 0, 0.1), (1, 0, 0.2), (0, 1, 0.6), (0, None, 0.9)]
    found = abstention([asked(*row) for row in rows])
    assert found == [
        {"chance": 0.9, "coverage": 0.4, "n": 2, "accuracy": 1.0},
        {"chance": 0.8, "coverage": 0.6, "n": 3, "accuracy": pytest.approx(2 / 3)},
        {"chance": 0.6, "coverage": 0.8, "n": 4, "accuracy": 0.5},
    ]


@given(ROWS)
def test_the_curve_ends_with_all_that_is_answered(rows):
    found = abstention([asked(*row) for row in rows])
    decided = [row for row in rows if row[1] is not None]
    assert len(found) <= 20
    assert [one["n"] for one in found] == sorted({one["n"] for one in found})
    assert [one["chance"] for one in found] == sorted({one["chance"] for one in found})[::-1]
    if decided:
        accuracy = sum(truth == said for truth, said, _ in decided) / len(decided)
        assert found[-1]["accuracy"] == pytest.approx(accuracy)
        assert found[-1]["n"] == len(decided)
    else:
        assert found == []


def test_of_many_answers_there_are_twenty_points():
    found = abstention([asked(1, 1, n / 1000) for n in range(1000)])
    assert [one["n"] for one in found] == list(range(50, 1001, 50))


def test_of_sets_of_words_it_is_how_much_is_the_same():
    words = Judged(frozenset({"glad", "calm"}), frozenset({"glad", "sad"}), {})
    assert abstention([words]) == [{"chance": 1, "coverage": 1, "n": 1, "accuracy": 1 / 3}]
