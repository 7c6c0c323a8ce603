import numpy as np
import pytest

from ah_ray.evaluation.attributes import by_attribute, find_groups
from ah_ray.evaluation.intervals import People
from ah_ray.evaluation.weighted import means


def people_of(names: str) -> People:
    return People.of(list(names), [f"v{n}" for n in range(len(names))])


def results(stated, names, values, smallest):
    people = people_of(names)
    groups = find_groups(stated, people)
    return by_attribute(
        groups,
        lambda places: means({"mean": np.array(values)[places]}),
        people,
        "mean",
        smallest,
    )


STATED = [
    {"gender": "woman", "site": "A"},
    {"gender": "woman", "site": "A"},
    {"gender": "man", "site": "A"},
    {"gender": "man", "site": "A"},
    {"gender": "man", "site": "A"},
    {"gender": "other", "site": "A"},
    {"site": "A"},
]


def test_results_by_attribute_with_counts_and_the_largest_gap():
    found = results(STATED, "abcddef", [1, 0, 0, 0, 1, 1, 1], smallest=2)
    assert list(found) == ["gender"]  # one site tells no videos apart
    gender = found["gender"]
    assert list(gender["groups"]) == ["man", "woman"]
    man, woman = gender["groups"]["man"], gender["groups"]["woman"]
    assert (man["n"], man["people"], man["value"]) == (3, 2, pytest.approx(1 / 3))
    assert (woman["n"], woman["people"], woman["value"]) == (2, 2, 0.5)
    assert gender["left_out"] == {"groups": 1, "videos": 1}
    gap = gender["gap"]
    assert (gap["best"], gap["worst"]) == ("woman", "man")
    assert gap["difference"] == pytest.approx(1 / 6)


def test_a_group_of_few_people_is_not_shown_however_many_videos_it_has():
    found = results(STATED, "abcddef", [1, 0, 0, 0, 1, 1, 1], smallest=3)["gender"]
    assert found == {
        "groups": {}, "left_out": {"groups": 3, "videos": 6}, "gap": None,
    }  # fmt: skip


def test_groups_have_intervals_and_so_has_the_gap():
    stated = [{"side": "left" if n % 2 else "right"} for n in range(80)]
    values = [float(n % 2 and n % 10 != 1) for n in range(80)]
    found = results(stated, [f"p{n}" for n in range(80)], values, smallest=5)["side"]
    left, gap = found["groups"]["left"], found["gap"]
    assert left["low"] < left["value"] == 0.8 < left["high"]
    assert "everybody gives the same" in found["groups"]["right"]["why"]
    assert gap["low"] < gap["difference"] == 0.8 < gap["high"]


def test_many_numbers_are_shown_in_quarters_and_in_their_order():
    stated = [{"age": str(20 + n), "question": str(n % 11 % 3)} for n in range(40)]
    groups = find_groups(stated, people_of([f"p{n}" for n in range(40)]))
    ages = [group for group in groups if group.attribute == "age"]
    assert [group.value for group in ages] == ["20 to 29", "30 to 39", "40 to 49", "50 to 59"]
    assert [len(group.videos) for group in ages] == [10] * 4
    assert sorted(place for group in ages for place in group.videos) == list(range(40))
    questions = [group.value for group in groups if group.attribute == "question"]
    assert questions == ["0", "1", "2"]


def test_words_among_numbers_are_shown_as_they_are():
    stated = [{"age": str(n)} for n in range(20)] + [{"age": "unknown"}]
    groups = find_groups(stated, people_of([f"p{n}" for n in range(21)]))
    assert len(groups) == 21
    assert groups[2].value == "2"
    assert groups[-1].value == "unknown"
