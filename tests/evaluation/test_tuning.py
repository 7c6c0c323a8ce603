import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ah_ray.evaluation import tuning
from ah_ray.evaluation.tuning import FIGURES, Example, tunable, tune
from ah_ray.tasks.answers import Choice, Labels
from ah_ray.tasks.judgement import Judgement, Rules, verdict, video_answer
from ah_ray.tasks.opinions import Given

CHOICE = Choice(kind="choice", options=("Yes", "No"))
LABELS = Labels(kind="labels")
MEMBERS = ("a", "b", "c")

THRESHOLDED = st.sampled_from(
    [{"mean": {}}, {"mean": {"threshold": 0.4}}, {"noisy_or": {}}, {"top_k_mean": {"k": 1}}]
)
WEIGHTED = {"weighted": {"weights": {"a": 1}, "at_least": 2}}


def judged_by(clips, members, answer=CHOICE) -> Judgement:
    return Judgement(answer=answer, rules=Rules(clips=clips, members=members))


def example(number: int, truth: str, **answers: list[float]) -> Example:
    """A video, and of each member P(Yes) of each clip."""
    said = {
        name: [
            Given(f"{number}{k}", float(k), "ok", frozenset({"Yes" if yes >= 0.5 else "No"}),
                  {"Yes": yes, "No": 1 - yes})
            for k, yes in enumerate(chances)
        ]
        for name, chances in answers.items()
    }  # fmt: skip
    return Example(str(number), frozenset({truth}), said)


CHANCES = st.lists(st.floats(0, 1), min_size=1, max_size=3)
EXAMPLES = st.lists(
    st.tuples(st.sampled_from(["Yes", "No"]), *[CHANCES] * len(MEMBERS)), min_size=1, max_size=8
).map(
    lambda rows: [
        example(number, truth, **dict(zip(MEMBERS, chances, strict=True)))
        for number, (truth, *chances) in enumerate(rows)
    ]
)


def figure_of(examples, judgement, name) -> float:
    """Of the ensemble, by the rules themselves."""
    said = [
        verdict([video_answer(m, some, judgement) for m, some in one.answers.items()], judgement)
        for one in examples
    ]
    return FIGURES[name]([one.truth for one in examples], [v.labels for v in said], CHOICE)


@settings(max_examples=60, deadline=None)
@given(EXAMPLES, THRESHOLDED | st.just("most"), THRESHOLDED | st.just(WEIGHTED),
       st.sampled_from(["macro_f1", "accuracy"]))  # fmt: skip
def test_what_is_tuned_is_never_worse_where_it_was_tuned(examples, clips, members, name):
    judgement = judged_by(clips, members)
    found = tune(examples, judgement, FIGURES[name])
    tuned = judgement.model_copy(update={"rules": found.rules}).check("here", MEMBERS)
    assert found.after >= found.before
    assert figure_of(examples, judgement, name) == pytest.approx(found.before)
    assert figure_of(examples, tuned, name) == pytest.approx(found.after)


@settings(max_examples=40, deadline=None)
@given(EXAMPLES, st.lists(st.floats(0, 1), max_size=20))
def test_no_threshold_is_better_than_the_one_that_is_found(examples, others):
    examples = [one._replace(answers={"a": one.answers["a"]}) for one in examples]
    judgement = judged_by("first", {"mean": {}})
    found = tune(examples, judgement, FIGURES["accuracy"])
    for threshold in others:
        other = judged_by("first", {"mean": {"threshold": threshold}})
        assert figure_of(examples, other, "accuracy") <= found.after + 1e-12


def test_a_threshold_is_found_between_the_videos_of_either_option():
    high, low = (0.35, 0.3), (0.1, 0.2)
    examples = [example(k, "Yes", a=[yes]) for k, yes in enumerate(high)]
    examples += [example(k + 2, "No", a=[yes]) for k, yes in enumerate(low)]
    found = tune(examples, judged_by({"mean": {}}, "most"), FIGURES["macro_f1"])
    assert found.rules.clips == {"mean": {"threshold": pytest.approx(0.25)}}
    assert (found.before, found.after) == (pytest.approx(1 / 3), 1.0)


def test_what_is_good_already_is_left_as_it_is():
    examples = [example(0, "Yes", a=[0.9]), example(1, "No", a=[0.2])]
    rules = Rules(clips={"mean": {}}, members={"noisy_or": {"threshold": 0.5}})
    judgement = Judgement(answer=CHOICE, rules=rules)
    assert tune(examples, judgement, FIGURES["macro_f1"]).rules == rules


@pytest.mark.parametrize("at_once", [5, 2])
def test_who_is_right_weighs_more(monkeypatch, at_once):
    monkeypatch.setattr(tuning, "MOST_AT_ONCE", at_once)  # else one after the other
    examples = [
        example(k, truth, a=[yes], b=[1 - yes], c=[1 - yes])
        for k, (truth, yes) in enumerate([("Yes", 0.9), ("No", 0.1)] * 2)
    ]
    found = tune(examples, judged_by("first", WEIGHTED), FIGURES["macro_f1"])
    assert (found.before, found.after) == (0.0, 1.0)
    weights = found.rules.members["weighted"]["weights"]
    assert weights["a"] > weights["b"]


def test_words_have_a_threshold_too():
    def words(number, truth, **chances):
        given = Given("0", 0.0, "ok", frozenset(), chances)
        return Example(str(number), frozenset(truth), {"a": [given]})

    examples = [words(0, ["glad"], glad=0.4, sad=0.1), words(1, ["sad"], glad=0.1, sad=0.35)]
    judgement = judged_by({"mean": {}}, "any", LABELS)
    found = tune(examples, judgement, FIGURES["overlap"])
    assert (found.before, found.after) == (0.0, 1.0)
    assert 0.1 < found.rules.clips["mean"]["threshold"] < 0.35


def test_only_rules_with_thresholds_or_weights_can_be_tuned():
    assert tunable(Rules(clips="first", members="most")) == []
    assert tunable(Rules(clips={"at_least": 2}, members=WEIGHTED)) == ["members"]
    assert tunable(Rules(clips={"noisy_or": {}}, members={"mean": {}})) == ["clips", "members"]


@given(st.lists(st.tuples(*[st.sampled_from(["Yes", "No"])] * 2), min_size=1))
def test_figures_are_those_of_scikit_learn(rows):
    truth, said = ([frozenset({row[k]}) for row in rows] for k in (0, 1))
    plain = [row[0] for row in rows], [row[1] for row in rows]
    there = sorted({row[0] for row in rows})
    expected = metrics.f1_score(*plain, labels=there, average="macro", zero_division=0)
    assert FIGURES["macro_f1"](truth, said, CHOICE) == pytest.approx(expected)
    assert FIGURES["accuracy"](truth, said, CHOICE) == metrics.accuracy_score(*plain)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_decided_is_wrong(name):
    assert FIGURES[name]([frozenset({"Yes"})], [None], CHOICE) == 0.0
