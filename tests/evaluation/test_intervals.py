import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ah_ray.evaluation.intervals import Draws, Interval, People, draw, interval
from ah_ray.evaluation.weighted import Weighted, means, tallied


def people_of(*sizes: int) -> People:
    """So many people with so many videos each."""
    names = [f"p{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return People.of(names, [f"v{number}" for number in range(len(names))])


def mean_drawn(values, people: People, draws: int = 200) -> Draws:
    """The mean of a number that each video has."""
    return draw({"of": means({"mean": values})}, people, draws)["of"]["mean"]


def test_spellings_of_one_person_are_one_and_nobody_known_is_one_each():
    people = People.of(["P07", "p7", None, "8", None], list("abcde"))
    assert people.size == 4
    assert people.codes[0] == people.codes[1]
    assert len(set(people.codes.tolist())) == 4


def test_the_same_people_are_drawn_alike_in_any_order():
    names, values = ["a", "b", "b", "c", "d"], [1.0, 0.0, 1.0, 0.0, 1.0]
    one = mean_drawn(values, People.of(names, list("vwxyz")))
    other = mean_drawn(values[::-1], People.of(names[::-1], list("zyxwv")))
    assert np.array_equal(one.drawn, other.drawn)
    assert np.array_equal(one.without, other.without)
    third = mean_drawn(values, People.of(["e", *names[1:]], list("vwxyz")))
    assert not np.array_equal(one.drawn, third.drawn)


def test_people_are_drawn_with_all_of_their_videos():
    # Two people, one with three videos: what can be drawn is 2a, a + b and 2b.
    found = mean_drawn([1, 1, 1, 0], people_of(3, 1), 400)
    assert found.value == 0.75
    assert sorted(set(found.drawn.tolist())) == [0.0, 0.75, 1.0]
    assert np.mean(found.drawn == 0.75) == pytest.approx(0.5, abs=0.1)
    assert found.without.tolist() == [0.0, 1.0]


def test_many_videos_are_drawn_in_parts(monkeypatch):
    people = people_of(*[2] * 30)
    whole = mean_drawn(np.arange(60), people, 100)
    monkeypatch.setattr("ah_ray.evaluation.intervals._CELLS", 600)
    parts = mean_drawn(np.arange(60), people, 100)
    assert np.array_equal(np.sort(whole.without), np.sort(parts.without))
    assert len(parts.drawn) == 100
    assert parts.drawn.mean() == pytest.approx(whole.drawn.mean(), rel=0.1)


def test_of_symmetric_values_it_is_nearly_the_t_interval():
    values = np.linspace(0, 1, 40)
    found = interval(mean_drawn(values, people_of(*[1] * 40), 10_000))
    error = values.std(ddof=1) / np.sqrt(40)
    assert isinstance(found, Interval)
    assert found.low == pytest.approx(0.5 - 2.0227 * error, abs=0.1 * error)
    assert found.high == pytest.approx(0.5 + 2.0227 * error, abs=0.1 * error)


def test_of_skewed_values_it_reaches_further_to_the_long_side():
    found = interval(mean_drawn([1.0] * 36 + [0.0] * 4, people_of(*[1] * 40), 10_000))
    assert isinstance(found, Interval)
    assert 0.9 - found.low > 1.3 * (found.high - 0.9)


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 1)), min_size=2, max_size=12))
@settings(max_examples=40)
def test_an_interval_holds_possible_values_and_nearly_always_the_figure(groups):
    sizes, values = zip(*groups, strict=True)
    each = np.repeat(values, sizes)
    found = interval(mean_drawn(each, people_of(*sizes)))
    if isinstance(found, Interval):
        assert each.min() - 1e-9 <= found.low <= found.high <= each.max() + 1e-9
    else:
        assert np.ptp(each) < 1e-9


@pytest.mark.parametrize(
    ("values", "sizes", "why"),
    [
        ([1, 0], (2,), "there is one person alone"),
        ([1, 1, 1], (1, 2), "everybody gives the same, so what others would give is not seen"),
        ([np.nan, np.nan], (1, 1), "it is undefined itself"),
        ([1, np.nan, np.nan], (1, 1, 1), "among people drawn at random it is often undefined"),
    ],
)
def test_where_there_is_no_interval_is_the_reason(values, sizes, why):
    assert interval(mean_drawn(values, people_of(*sizes))) == why


def test_a_difference_is_between_the_same_draws():
    people = people_of(*[1] * 10)
    one, other = (mean_drawn(np.arange(10) - less, people) for less in (0, 1))
    difference = one.minus(other)
    assert difference.value == pytest.approx(1)
    assert difference.drawn == pytest.approx(1)


def test_95_percent_intervals_hold_the_truth_as_often_as_they_say():
    """500 draws of 60 people with 1 to 7 videos each, whose answers are more or less often right.

    A person is right with a chance of their own, so their videos are alike and an interval over
    videos would be too narrow.
    """
    rng = np.random.default_rng(5)

    def right(truth: np.ndarray, sure: np.ndarray) -> np.ndarray:
        return np.where(rng.random(len(truth)) < sure, truth, 1 - truth)

    def sample(people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        codes = np.repeat(np.arange(people), rng.integers(1, 8, people))
        share, ability = rng.beta(3, 2, people), rng.beta(6, 2, people)
        truth = (rng.random(len(codes)) < share[codes]).astype(int)
        return codes, truth, right(truth, ability[codes])

    def accuracy_and_f1(truth: np.ndarray, said: np.ndarray) -> Weighted:
        tallies = tallied(truth, said, 2)

        def under(weights: np.ndarray) -> dict:
            found = tallies(weights)
            return {"accuracy": found.accuracy, "macro_f1": found.f1.mean(axis=1)}

        return under

    codes, *everybody = sample(200_000)
    once = np.ones((1, len(codes)))
    wanted = {name: float(value[0]) for name, value in accuracy_and_f1(*everybody)(once).items()}
    held = dict.fromkeys(wanted, 0)
    for number in range(500):
        codes, truth, said = sample(60)
        figures = draw({"of": accuracy_and_f1(truth, said)}, People(codes, 60, number), 600)["of"]
        for name, figure in figures.items():
            found = interval(figure)
            held[name] += found.low <= wanted[name] <= found.high
    assert all(0.92 <= count / 500 <= 0.98 for count in held.values()), held
