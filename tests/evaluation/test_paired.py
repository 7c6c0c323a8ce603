import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.evaluation.intervals import People, draw
from ah_ray.evaluation.judged import Judged
from ah_ray.evaluation.paired import compared, mcnemar
from ah_ray.evaluation.weighted import means

RIGHT, WRONG = frozenset({"Yes"}), frozenset({"No"})
ENDS = st.lists(st.tuples(*[st.sampled_from([RIGHT, WRONG, None])] * 2), max_size=30)


def judged(*said) -> list[Judged]:
    return [Judged(RIGHT, one) for one in said]


def test_mcnemar_by_hand():
    first = judged(*[RIGHT] * 8, *[WRONG] * 2, *[RIGHT] * 5, *[WRONG] * 3, None)
    second = judged(*[WRONG] * 8, *[RIGHT] * 2, *[RIGHT] * 5, *[WRONG] * 3, RIGHT)
    found = mcnemar(first, second)
    assert (found["first_alone"], found["second_alone"]) == (8, 2)
    # Of ten coins, two or fewer of one side: 2 * (1 + 10 + 45) / 1024.
    assert found["p"] == pytest.approx(112 / 1024)


@given(ENDS)
def test_who_is_named_first_does_not_matter(rows):
    one, other = (judged(*column) for column in zip(*rows, strict=True)) if rows else ([], [])
    there, back = mcnemar(one, other), mcnemar(other, one)
    assert there["p"] == pytest.approx(back["p"])
    assert 0 < there["p"] <= 1
    assert there["first_alone"] == back["second_alone"]
    assert mcnemar(one, one) == {"first_alone": 0, "second_alone": 0, "p": 1.0}


def drawn(*columns) -> list:
    people = People.of([f"p{n}" for n in range(len(columns[0]))], [str(n) for n in columns[0]])
    figures = draw({k: means({"mean": c}) for k, c in enumerate(columns)}, people, 2000)
    return [figures[k]["mean"] for k in range(len(columns))]


def test_a_difference_on_every_video_is_sure_and_none_is_none():
    values = np.linspace(0, 1, 40)
    noise = np.tile([0.01, -0.01], 20)
    better, worse, alike = drawn(values + 0.1 + noise, values, values + noise)
    found = compared(better, worse)
    assert found["difference"] == pytest.approx(0.1)
    assert 0.09 < found["low"] < 0.1 < found["high"] < 0.11
    assert found["p"] == pytest.approx(2 / 2001)
    assert compared(alike, worse)["p"] > 0.5
    assert compared(alike, worse)["low"] < 0 < compared(alike, worse)["high"]


def test_the_same_answers_differ_by_nothing():
    one, other = drawn([0, 1, 1, 0], [0, 1, 1, 0])
    found = compared(one, other)
    assert (found["difference"], found["p"]) == (0, 1)
    assert "everybody gives the same" in found["why"]


def test_what_is_undefined_is_not_compared():
    one, other = drawn([np.nan, np.nan], [1, 0])
    found = compared(one, other)
    assert (found["difference"], found["low"], found["p"]) == (None, None, None)
