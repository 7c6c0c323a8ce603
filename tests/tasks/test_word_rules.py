"""Rules over sets of words: weights, the intersection else the union, and votes of groups."""

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.errors import ConfigError
from ah_ray.tasks.answers import Choice, Labels
from ah_ray.tasks.judgement import Judgement, Rules
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.rules import Given, find_rule

WORDS = Labels(kind="labels")
YES_NO = Choice(kind="choice", options=("Yes", "No"))
POLICIES = ReduceConfig()
SYNONYMS = [["glad", "happy", "merry"], ["sad", "gloomy"]]

SETS = st.lists(
    st.frozensets(st.sampled_from(["glad", "happy", "merry", "sad", "gloomy", "calm"])),
    min_size=1, max_size=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def groups(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("groups") / "groups.json"
    path.write_text(json.dumps(SYNONYMS))
    return str(path)


def givens(sets) -> list[Given]:
    """Members a, b, c, ..., each with a set."""
    return [
        Given(name, 0.0, "ok", frozenset(said)) for name, said in zip("abcde", sets, strict=False)
    ]


def opinion(rule, sets, answer=WORDS):
    return find_rule(rule, "rules")(givens(sets), answer, POLICIES)


def said(rule, sets) -> set[str]:
    return set(opinion(rule, sets).labels)


def weighted(at_least, **weights):
    return {"weighted": {"weights": weights, "at_least": at_least}}


def grouped(rule, by, **more):
    return {"grouped": {"rule": rule, "by": by, **more}}


# Sets


@given(SETS)
def test_all_else_any_is_the_intersection_unless_that_is_empty(sets):
    both, either = frozenset.intersection(*sets), frozenset.union(*sets)
    assert said("all_else_any", sets) == (both or either)


@given(st.data(), SETS)
def test_one_source_alone_is_what_it_says_whatever_the_rule(data, sets):
    names = ["any", "all", "most", "all_else_any", {"at_least": 1}, weighted(0.5, a=0.5)]
    rule = data.draw(st.sampled_from(names))
    assert said(rule, sets[:1]) == sets[0]
    assert said(grouped(rule, "wheel"), sets[:1]) == sets[0]


@given(SETS)
def test_a_union_holds_every_set_and_every_rule_is_within_it(sets):
    union = said("any", sets)
    assert all(each <= union for each in sets)
    for rule in ("all", "most", "all_else_any", {"at_least": 2}, weighted(1.5, a=3)):
        assert said(rule, sets) <= union


# Weights


@given(SETS, st.integers(1, 5), st.sampled_from([0.1, 0.7, 1.0, 3.0]))
def test_equal_weights_count_as_votes_do(sets, needed, weight):
    # The sum of three tenths is more than 0.3, that of seven tenths and a tenth less than 0.8.
    rule = weighted(needed * weight, **dict.fromkeys("abcde", weight))
    ours, theirs = opinion(rule, sets), opinion({"at_least": needed}, sets)
    assert ours.labels == theirs.labels
    assert [one.givers for one in ours.considered] == [one.givers for one in theirs.considered]
    chances = [one.chance for one in theirs.considered]
    assert [one.chance for one in ours.considered] == pytest.approx(chances)


@given(st.data(), SETS, st.floats(0.1, 5), st.floats(0.1, 5))
def test_more_weight_is_harder_to_reach(data, sets, less, more):
    weights = data.draw(st.fixed_dictionaries(dict.fromkeys("abc", st.floats(0.1, 3))))
    low, high = sorted([less, more])
    assert said(weighted(high, **weights), sets) <= said(weighted(low, **weights), sets)


def test_who_weighs_more_decides_and_who_is_not_there_does_not_count():
    rule = weighted(2, a=2, d=5)  # b and c weigh 1
    assert said(rule, [{"glad"}, {"sad"}, {"calm", "sad"}]) == {"glad", "sad"}
    assert said(rule, [set(), {"sad"}]) == set()
    found = opinion(rule, [{"glad"}, {"sad"}, {"sad"}])
    assert [(one.label, one.chance) for one in found.considered] == [("glad", 0.5), ("sad", 0.5)]
    assert find_rule(rule, "rules")([], WORDS, POLICIES) == (None, ())


def test_weights_of_options():
    votes = [{"Yes"}, {"No"}, {"No"}]
    assert opinion(weighted(3, a=3), votes, YES_NO).labels == {"Yes"}
    assert opinion(weighted(2, a=3), votes, YES_NO).labels == {"Yes"}  # both: the likelier one
    assert opinion(weighted(4, a=3), votes, YES_NO).labels is None


# Groups


@given(SETS, st.sampled_from([{"at_least": 2}, "all", "most", "any"]))
def test_a_word_is_said_where_its_group_has_the_votes(groups, sets, rule):
    leader = {word: group[0] for group in SYNONYMS for word in group}
    as_groups = [frozenset(leader.get(word, word) for word in each) for each in sets]
    decided = said(rule, as_groups)
    found = opinion(grouped(rule, groups), sets)
    given_by = {word: [n for n, each in zip("abcde", sets, strict=False) if word in each]
                for word in frozenset.union(*sets)}  # fmt: skip
    assert found.labels == {word for word in given_by if leader.get(word, word) in decided}
    assert {one.label: list(one.givers) for one in found.considered} == given_by
    votes = Counter(group for each in as_groups for group in each)
    for one in found.considered:
        assert one.chance == pytest.approx(votes[leader.get(one.label, one.label)] / len(sets))


@given(SETS, st.sampled_from([{"at_least": 2}, "all", "all_else_any", weighted(2, a=2)]))
def test_votes_of_words_that_all_stand_alone_are_votes_of_words(sets, rule):
    assert opinion(grouped(rule, "none"), sets) == opinion(rule, sets)


def test_synonyms_vote_together_and_each_keeps_its_givers(groups):
    sets = [{"happy", "calm"}, {"merry"}, {"merry", "sad"}]
    assert said({"at_least": 3}, sets) == set()
    found = opinion(grouped({"at_least": 3}, groups), sets)
    assert found.labels == {"happy", "merry"}
    assert [(one.label, one.givers) for one in found.considered] == [
        ("calm", ("a",)), ("happy", ("a",)), ("merry", ("b", "c")), ("sad", ("c",)),
    ]  # fmt: skip


def test_votes_on_a_wheel_by_its_two_levels(tmp_path):
    # Ours: happy and excited are glad, apart at level 2; a word that it does not have is its own.
    sets = [{"happy", "zzz"}, {"excited", "zzz"}]
    assert said(grouped("all", "wheel"), sets) == {"happy", "excited", "zzz"}
    assert said(grouped("all", "wheel", level=2), sets) == {"zzz"}
    path = tmp_path / "two.json"
    wheels = {"one": {"up": {"joy": ["glee"]}}, "two": {"joy": {"x": []}, "glee": {"y": []}}}
    path.write_text(json.dumps({"wheels": wheels}))
    sets = [{"joy"}, {"glee"}]
    assert said(grouped("all", str(path)), sets) == {"joy", "glee"}
    assert said(grouped("all", str(path), wheel="two"), sets) == set()


# What a rule cannot be


@pytest.mark.parametrize(
    ("rule", "where", "problem"),
    [
        (weighted(0, a=1), "rules.weighted: at_least", "greater than 0"),
        (weighted(1), "rules.weighted: weights", "at least 1 item"),
        (weighted(1, a=-1), "rules.weighted: weights.a", "greater than 0"),
        ({"weighted": 2}, "rules.weighted", "valid dictionary"),
        ({"weighted": {"weight": {}, "at_least": 1}}, "rules.weighted", "unknown key"),
        ("weighted", "k", "needs an argument"),
        (grouped("best", "none"), "rules.grouped.rule", "no 'best'"),
        (grouped("any", "nothing.json"), "rules.grouped.by", "cannot be read"),
        (grouped("any", "wheel", wheel="big"), "rules.grouped.wheel", "no wheel 'big'"),
        (grouped("any", "wheel", level=3), "rules.grouped: level", "1 or 2"),
        (grouped("any", "none", wheel="big"), "rules.grouped.wheel", "no wheel 'big'"),
        ({"grouped": {"by": "none"}}, "rules.grouped: rule", "is missing"),
    ],
)
def test_what_a_rule_cannot_be_names_the_key(rule, where, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)) as caught:
        find_rule(rule, "k")
    assert where in caught.value.where


def test_groups_of_single_videos_make_no_rule(tmp_path):
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"videos": {"v": SYNONYMS}}))
    with pytest.raises(ConfigError, match="groups of single videos"):
        find_rule(grouped("any", str(path)), "k")


def test_options_have_no_groups():
    with pytest.raises(ConfigError, match="grouped is for words"):
        opinion(grouped("any", "none"), [], YES_NO)


@pytest.mark.parametrize("rule", [weighted(1, a=1, d=1), grouped(weighted(1, a=1, d=1), "none")])
def test_a_rule_names_members_that_vote(rule):
    judgement = Judgement(answer=WORDS, rules=Rules(clips="any", members=rule))
    assert judgement.check("t") == judgement.check("t", ["a", "b", "d"])
    with pytest.raises(ConfigError, match="no member d votes") as caught:
        judgement.check("t", ["a", "b"])
    assert (caught.value.where, caught.value.fix) == ("t: rules.members", "some of a, b")
    over_clips = Judgement(answer=WORDS, rules=Rules(clips=rule, members="any"))
    with pytest.raises(ConfigError, match="names members"):
        over_clips.check("t")


def test_verdicts_are_made_from_what_the_files_of_rules_hold(tmp_path):
    path = tmp_path / "groups.json"
    path.write_text(json.dumps(SYNONYMS))
    rules = Rules(clips="any", members=grouped(grouped("any", str(path)), "wheel"))
    judgement = Judgement(answer=WORDS, rules=rules)
    before = judgement.facts()
    assert judgement.facts() == before
    path.write_text("[]")
    assert judgement.facts() != before
    plain = Judgement(answer=WORDS, rules=Rules(clips="any", members="any"))
    assert plain.facts() == plain.model_dump(mode="json", exclude={"metrics"})
