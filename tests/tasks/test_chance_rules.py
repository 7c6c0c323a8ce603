"""Rules that go by chances."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.errors import ConfigError
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Choice, Labels
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.rules import Given, find_rule

YES_NO = load_task("cue_conflict").answer
THREE = Choice(kind="choice", options=("a", "b", "c"), reply="{answer}")
WORDS = Labels(kind="labels")
DEFAULT = ReduceConfig()
RULES = [
    "soft",
    {"mean": {"threshold": 0.5}},
    {"noisy_or": {"threshold": 0.5}},
    {"top_k_mean": {"k": 2, "threshold": 0.5}},
]


def sources(*chances: float) -> list[Given]:
    """Of Yes: what each says follows from it."""
    return [
        Given(f"c{k}", float(k), "ok", frozenset({"Yes" if p >= 0.5 else "No"}),
              {"Yes": p, "No": 1 - p})
        for k, p in enumerate(chances)
    ]  # fmt: skip


def judged(rule, givens, answer=YES_NO, policies=DEFAULT):
    return find_rule(rule, "rules")(givens, answer, policies)


def chance(rule, *chances: float) -> float:
    return judged(rule, sources(*chances)).considered[0].chance


def test_by_hand():
    assert chance("soft", 0.2, 0.4, 0.9) == pytest.approx(0.5)
    assert chance({"mean": {}}, 0.2, 0.4, 0.9) == pytest.approx(0.5)
    assert chance({"noisy_or": {}}, 0.5, 0.5, 0.2) == pytest.approx(1 - 0.5 * 0.5 * 0.8)
    assert chance({"top_k_mean": {"k": 2}}, 0.2, 0.4, 0.9) == pytest.approx(0.65)
    assert chance({"top_k_mean": {"k": 9}}, 0.2, 0.4, 0.9) == pytest.approx(0.5)


@pytest.mark.parametrize(("threshold", "said"), [(0.3, "Yes"), (0.35, "No"), (0.0, "Yes")])
def test_the_threshold_is_where_the_first_option_begins(threshold, said):
    opinion = judged({"mean": {"threshold": threshold}}, sources(0.1, 0.5))
    assert opinion.labels == {said}
    assert opinion.considered[0].evidence == "c1", "the clip that is surest of it"
    assert opinion.considered[0].givers == ("c1",)


def test_of_several_options_the_likeliest_is_said():
    givens = [Given("v", 0, "ok", frozenset({"b"}), {"a": 0.2, "b": 0.5, "c": 0.3}),
              Given("w", 0, "ok", frozenset({"c"}), {"a": 0.2, "b": 0.2, "c": 0.6})]  # fmt: skip
    opinion = judged("soft", givens, THREE)
    assert opinion.labels == {"c"}
    assert [one.chance for one in opinion.considered] == pytest.approx([0.2, 0.35, 0.45])
    assert judged({"mean": {"threshold": 0.1}}, givens, THREE).labels == {"a"}
    assert judged({"mean": {"threshold": 0.3}}, givens, THREE).labels == {"c"}


def test_words_are_pooled_each_by_itself():
    said = ({"glad", "calm"}, {"glad"}, set())
    givens = [Given(f"m{k}", 0, "ok", frozenset(words)) for k, words in enumerate(said)]
    assert judged("soft", givens, WORDS).labels == {"glad"}
    assert judged({"mean": {"threshold": 0.3}}, givens, WORDS).labels == {"glad", "calm"}
    assert judged({"noisy_or": {"threshold": 1.0}}, givens, WORDS).labels == {"glad", "calm"}


def test_nobody_decides_nothing_and_absent_answers_are_what_is_stated():
    assert judged("soft", []).labels is None
    lost = [Given("c", 0, "missing"), *sources(0.4)]
    assert judged("soft", lost).labels == {"No"}
    counted = ReduceConfig(missing="Yes", invalid="exclude")
    assert judged("soft", lost, policies=counted).labels == {"Yes"}  # sure of it


@pytest.mark.parametrize(
    "bad",
    [
        {"mean": {"threshold": 1.1}},
        {"top_k_mean": {}},
        {"top_k_mean": {"k": 0}},
        {"noisy_or": {"thresh": 0.1}},
    ],
)
def test_a_wrong_setting_is_refused(bad):
    with pytest.raises(ConfigError):
        find_rule(bad, "rules")


some = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@pytest.mark.parametrize("rule", RULES)
@given(some, st.randoms())
def test_order_changes_nothing(rule, chances, random):
    givens = sources(*chances)
    shuffled = random.sample(givens, len(givens))
    one, other = judged(rule, givens), judged(rule, [*shuffled, *shuffled[:1]])
    assert one == other
    assert math.fsum(c.chance for c in one.considered) == pytest.approx(1)


@pytest.mark.parametrize("rule", RULES)
@given(st.floats(0, 1))
def test_one_source_is_that_source(rule, p):
    (source,) = sources(p)
    opinion = judged(rule, [source])
    assert opinion.considered[0].chance == pytest.approx(p)
    if abs(p - 0.5) > 1e-9:
        assert opinion.labels == source.labels


@pytest.mark.parametrize("rule", RULES)
@given(some, st.integers(0, 5), st.floats(0, 1))
def test_a_larger_chance_never_makes_yes_less_likely(rule, chances, place, p):
    raised = [*chances]
    place %= len(raised)
    raised[place] = max(raised[place], p)
    assert chance(rule, *raised) >= chance(rule, *chances) - 1e-12


@given(some)
def test_noisy_or_is_at_least_the_largest(chances):
    assert chance({"noisy_or": {}}, *chances) >= max(chances) - 1e-12
    assert chance({"noisy_or": {}}, *chances) >= chance({"top_k_mean": {"k": 1}}, *chances) - 1e-12
