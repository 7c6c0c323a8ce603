"""What is told beside the metrics."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ah_ray.evaluation.config import EvaluateConfig
from ah_ray.evaluation.judged import Judged
from ah_ray.evaluation.statistics import Shown, majority, statistics
from ah_ray.tasks.answers import Choice, Labels

YES_NO = Choice(kind="choice", options=("Yes", "No"), reply="{answer}")
WORDS = Labels(kind="labels")
FEW = EvaluateConfig(draws=1000, smallest_group=2)
SETS = [{"label_sets": {"groups": "none"}}]


def answers(truth: str, said: str) -> list[Judged]:
    """From a letter for each video: y, n, and - for undecided."""
    words = {"y": frozenset({"Yes"}), "n": frozenset({"No"}), "-": None}
    return [
        Judged(words[t], words[s], {"Yes": {"y": 0.9, "n": 0.2}.get(s, 0.5)}, f"v{k}")
        for k, (t, s) in enumerate(zip(truth, said, strict=True))
    ]


def shown(people: str, **attributes: str) -> list[Shown]:
    return [
        Shown(f"v{k}", person, {name: letters[k] for name, letters in attributes.items()})
        for k, person in enumerate(people)
    ]


TRUTH = "yynnyynnyynn"
SOURCES = {"a": answers(TRUTH, "ynnnyynyyynn"), "all": answers(TRUTH, "yynnyynyyy-n")}
PEOPLE = shown("aabbccddeeff", age="334433443344", odd="121111111111")


def found(sources=SOURCES, people=PEOPLE):
    return statistics(sources, people, "all", ["binary"], YES_NO, FEW)


def test_of_whom_and_by_what():
    told = found()
    assert told["people"]["count"] == 6
    assert told["people"]["note"] == "with fewer than 30 people they are optimistic"
    assert told["compared_by"] == "macro_f1"
    assert told["compared"].keys() == {"a"}
    assert told["compared"]["a"]["mcnemar"] == {"first_alone": 1, "second_alone": 0, "p": 1.0}
    assert told["abstention"]["all"][-1]["coverage"] == pytest.approx(11 / 12)
    groups = told["groups"]
    assert groups["age"]["groups"].keys() == {"3", "4"}
    assert groups["odd"]["left_out"] == {"groups": 1, "videos": 1}  # one person: not told of
    assert groups["odd"]["gap"] is None


def test_the_same_people_give_the_same_numbers_in_any_order():
    order = [7, 3, 11, 0, 5, 1, 9, 2, 4, 10, 6, 8]
    sources = {name: [judged[k] for k in order] for name, judged in SOURCES.items()}
    again = found(sources, [PEOPLE[k] for k in order])
    assert again["intervals"] == {
        name: {key: pytest.approx(bounds) for key, bounds in figures.items()}
        for name, figures in found()["intervals"].items()
    }


def test_a_source_is_no_better_than_itself():
    same = statistics(SOURCES | {"b": SOURCES["all"]}, PEOPLE, "all", ["binary"], YES_NO, FEW)
    assert same["compared"]["b"]["difference"] == 0
    assert same["compared"]["b"]["mcnemar"]["p"] == 1


def test_sets_of_words_have_intervals_too():
    truth = [frozenset({"glad", "calm"}), frozenset({"sad"}), frozenset({"glad"})]
    said = [frozenset({"glad"}), frozenset({"sad", "calm"}), frozenset({"sad"})]
    judged = [Judged(t, s, {}, f"v{k}") for k, (t, s) in enumerate(zip(truth, said, strict=True))]
    told = statistics({"all": judged}, shown("abc"), "all", SETS, WORDS, FEW)
    assert told["compared_by"] == "words_mean"
    bounds = told["intervals"]["all"]["words_recall"]
    assert bounds["low"] <= 0.5 <= bounds["high"]
    assert majority([], judged, SETS, WORDS) is None


def test_a_task_without_such_metrics_has_no_intervals():
    told = statistics(SOURCES, PEOPLE, "all", [], YES_NO, FEW)
    assert (told["compared_by"], told["groups"]) == (None, {})
    assert told["intervals"] == {"a": {}, "all": {}}
    assert told["compared"]["a"].keys() == {"mcnemar"}


@given(st.lists(st.sampled_from("yn"), max_size=9))
@settings(max_examples=25)
def test_the_majority_is_what_other_videos_say(labels):
    known = [one.truth for one in answers("".join(labels), "-" * len(labels))]
    always = majority(known, SOURCES["all"], ["binary"], YES_NO)
    often = labels if labels else list(TRUTH)
    assert always["always"] == (["Yes"] if often.count("y") >= often.count("n") else ["No"])
    assert always["accuracy"] == 0.5
    assert always["of"] == ("other videos" if labels else "these videos")
