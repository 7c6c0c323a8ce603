import itertools
import math
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ah_ray.engines.engine import Reply
from ah_ray.errors import ConfigError
from ah_ray.pipelines.scorer import read
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Choice, Labels
from ah_ray.tasks.judgement import Judgement, MemberVerdict, Rules, verdict, video_answer
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.rules import (
    RULES,
    STATUSES,
    Considered,
    Given,
    at_least,
    find_rule,
    first,
    unique,
    usable,
)

YES_NO = load_task("cue_conflict").answer
WORDS = Labels(kind="labels")
CHOICES = [
    YES_NO,
    Choice(kind="choice", options=("a", "b", "c"), absent="c"),
    Choice(kind="choice", options=("d", "c", "b", "a")),
]
DEFAULT = ReduceConfig()
ANY = Rules(clips="any", members="any")
UNKNOWN = [math.nan, math.inf, -math.inf]


def words_of(answer) -> tuple[str, ...]:
    return answer.options or ("glad", "sad", "calm")


@st.composite
def policies(draw, answer):
    left_out = st.just("exclude") | st.sampled_from(answer.options or ("exclude",))
    ties = ("score", "undecided", *answer.options)
    return ReduceConfig(
        invalid=draw(left_out), missing=draw(left_out), tie=draw(st.sampled_from(ties))
    )


@st.composite
def judgements(draw, kinds=(*CHOICES, WORDS), clips=None, members=None):
    answer = draw(st.sampled_from(kinds))
    names = ["any", "all", "most", "all_else_any", {"at_least": 2}]
    grouped = {"grouped": {"rule": draw(st.sampled_from(names)), "by": "wheel"}}
    names += ["first"] if answer.options else [grouped]
    weighted = {"weighted": {"weights": {"v": 2, "x": 0.5}, "at_least": 1.5}}
    rules = Rules(
        clips=clips or draw(st.sampled_from(names)),
        members=members or draw(st.sampled_from([*names, weighted])),
    )
    return Judgement(answer=answer, rules=rules, policies=draw(policies(answer))).check("t")


PAPER = judgements([YES_NO], "first", "most")
FIRST = judgements(CHOICES, "first")


@st.composite
def shares(draw, count):
    """Chances that add up to one, in some order."""
    parts = draw(st.lists(st.integers(0, 1000), min_size=count, max_size=count).filter(any))
    return [part / sum(parts) for part in parts]


@st.composite
def clips(draw, answer):
    """Answers to clips as scoring writes them: chances of all options, of none, or no numbers."""
    number = draw(st.integers(0, 6))
    status = draw(st.sampled_from(["ok", "ok", *STATUSES]))
    words = words_of(answer)
    chances = {}
    if answer.options and status in ("ok", "unparseable"):
        chances = dict(zip(words, draw(shares(len(words))), strict=True))
    labels = frozenset[str]()
    if status == "ok":
        many = st.sets(st.sampled_from(words), min_size=1)
        labels = frozenset(draw(many)) if not answer.options else {max(words, key=chances.get)}
    unknown = draw(st.sampled_from(["known", "known", "absent", *UNKNOWN]))
    if unknown == "absent":
        chances = {}
    elif unknown != "known":
        chances = dict.fromkeys(chances, unknown)
    return Given(f"c{number}", float(number // 2), status, frozenset(labels), chances)


@st.composite
def odd_clips(draw, answer):
    """Rows that no part of this software writes: whatever the columns can hold."""
    words = st.sampled_from([*words_of(answer), "odd"])
    numbers = st.sampled_from([math.nan, float("nan"), *UNKNOWN, 0.0, 0.5, 1.0])
    return Given(
        f"c{draw(st.integers(0, 2))}", draw(st.sampled_from([0.0, 1.0, 2.0])),
        draw(st.sampled_from(STATUSES)), frozenset(draw(st.sets(words, max_size=2))),
        draw(st.dictionaries(words, numbers, max_size=3)),
    )  # fmt: skip


@st.composite
def odd_members(draw, answer):
    number = st.integers(0, 2)
    words = st.sampled_from(words_of(answer))
    considered = st.builds(
        Considered, words, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from(["c0", "c1"]),
        st.just(()),
    )  # fmt: skip
    return MemberVerdict(
        draw(st.sampled_from("xy")), draw(st.none() | st.frozensets(words, max_size=2)),
        tuple(draw(st.lists(considered, max_size=2))), *(draw(number) for _ in range(4)),
    )  # fmt: skip


def clip_lists(judgement, least=0):
    return st.lists(clips(judgement.answer), min_size=least, max_size=10)


def archives(judgement):
    """Answers to the clips of a video by member."""
    return st.dictionaries(st.sampled_from("vwxyz"), clip_lists(judgement), max_size=5)


def ok(number, label, chance=None) -> Given:
    """An answer to a Yes/No question with P(Yes)."""
    chances = {} if chance is None else {"Yes": chance, "No": 1 - chance}
    return Given(f"c{number}", float(number), "ok", frozenset({label}), chances)


def bad(number, status) -> Given:
    return Given(f"c{number}", float(number), status)


def member(name, label, chance=None, usable=1, errors=0) -> MemberVerdict:
    clip = ok(0, label, chance) if label else bad(0, "error")
    answer = video_answer(name, [clip], paper())
    return answer._replace(clips_ok=usable, clips_error=errors)


def paper(**changes) -> Judgement:
    return load_task("cue_conflict").judged(ReduceConfig(**changes))


def on_video(rows, **changes) -> MemberVerdict:
    return video_answer("m", rows, paper(**changes))


def vote(videos, judgement):
    return verdict([video_answer(n, rows, judgement) for n, rows in videos.items()], judgement)


def one(labels) -> str | None:
    return None if labels is None else next(iter(labels))


def votes(found) -> dict[str, int]:
    return {considered.label: len(considered.givers) for considered in found.considered}


# Order and repetition


@given(st.data(), judgements())
def test_each_clip_once_in_order_of_time(data, judgement):
    answer, rows = judgement.answer, data.draw(clip_lists(judgement))
    found = unique(rows, answer)
    assert [row.source for row in found] == sorted(
        {row.source for row in rows}, key=lambda clip: (int(clip[1:]) // 2, clip)
    )
    assert {row[:3] for row in found} <= {row[:3] for row in rows}
    assert all(math.isfinite(chance) for row in found for chance in row.chances.values())
    assert unique(found, answer) == found
    assert unique(data.draw(st.permutations(rows + rows[::2])), answer) == found


@given(st.data(), judgements())
def test_rows_in_any_order_and_number_give_the_same(data, judgement):
    rows = data.draw(clip_lists(judgement))
    shuffled = data.draw(st.permutations(rows + rows[:3]))
    assert video_answer("m", shuffled, judgement) == video_answer("m", rows, judgement)


@given(st.data(), judgements())
def test_members_in_any_order_and_number_give_the_same(data, judgement):
    videos = data.draw(archives(judgement))
    members = [video_answer(name, rows, judgement) for name, rows in videos.items()]
    shuffled = data.draw(st.permutations(members + members[:2]))
    assert verdict(shuffled, judgement) == verdict(members, judgement)


@given(st.data(), judgements())
def test_odd_rows_in_any_order_and_number_give_the_same(data, judgement):
    rows = data.draw(st.lists(odd_clips(judgement.answer), max_size=8))
    shuffled = data.draw(st.permutations(rows + rows[:2]))
    found = video_answer("m", rows, judgement)
    assert video_answer("m", shuffled, judgement) == found
    assert all(math.isfinite(chance) for chance in found.chances.values())


@given(st.data(), judgements())
def test_odd_members_in_any_order_and_number_give_the_same(data, judgement):
    members = data.draw(st.lists(odd_members(judgement.answer), max_size=6))
    shuffled = data.draw(st.permutations(members + members[:2]))
    found = verdict(members, judgement)
    assert verdict(shuffled, judgement) == found
    names = {member.member for member in members}
    assert all(set(considered.givers) <= names for considered in found.considered)


def test_a_chance_that_is_no_number_does_not_hide_another():
    rows = [ok(0, "No", 0.2), ok(1, "No", math.nan), ok(2, "Yes", 0.9)]
    for order in itertools.permutations(rows):
        found = on_video(order)
        assert (found.chances["Yes"], found.considered[0].evidence) == (0.9, "c2")


def test_of_even_chances_the_earlier_option_wins_everywhere():
    even = dict.fromkeys(YES_NO.options, 0.5)
    assert read(Reply(None, even), YES_NO).labels == {"Yes"}
    assert vote({"a": [ok(0, "Yes", 0.7)], "b": [ok(0, "No", 0.3)]}, paper()).labels == {"Yes"}


@given(st.floats(0.5, 1))
def test_a_mean_of_one_half_is_positive(chance):
    videos = {"a": [ok(0, "Yes", chance)], "b": [ok(0, "No", 1 - chance)]}
    assert vote(videos, paper()).labels == {"Yes"}


@pytest.mark.parametrize("order", [1, -1])
def test_a_usable_row_of_a_clip_wins(order):
    rows = [bad(0, "missing"), bad(0, "error"), bad(0, "unparseable")]
    rows += [ok(0, "No", 0.1), ok(0, "Yes", 0.9)]
    for best in reversed(range(len(rows))):
        assert unique(rows[: best + 1][::order], YES_NO) == [rows[best]]


# Sums and bounds


@given(st.data(), judgements())
def test_counts_add_up_to_the_clips(data, judgement):
    rows = data.draw(clip_lists(judgement))
    found = video_answer("m", rows, judgement)
    each = unique(rows, judgement.answer)
    counts = found.clips_ok, found.clips_unparseable, found.clips_error, found.clips_missing
    assert sum(counts) == len(each)
    for count, status in zip(counts, STATUSES, strict=True):
        assert count == sum(row.status == status for row in each)


@given(st.data(), judgements())
def test_votes_coverage_and_status_fit(data, judgement):
    videos = data.draw(archives(judgement))
    members = [video_answer(name, rows, judgement) for name, rows in videos.items()]
    found = verdict(members, judgement)
    said = Counter(label for member in members for label in member.labels or ())
    assert Counter(votes(found)) == said
    assert 0 <= found.coverage <= 1
    assert all(0 <= considered.chance <= 1 for considered in found.considered)
    assert (found.labels is None) == (found.status == "undecided")
    if judgement.answer.options:
        assert found.labels is None or len(found.labels) == 1
    if found.status == "ok":
        assert found.coverage == 1
    if found.status == "partial":
        assert found.coverage < 1


@given(st.data(), judgements(CHOICES))
def test_the_chances_of_the_options_add_up(data, judgement):
    found = video_answer("m", data.draw(clip_lists(judgement)), judgement)
    if found.considered:
        assert list(found.chances) == list(judgement.answer.options)
        assert math.fsum(found.chances.values()) == pytest.approx(1)


@given(st.data(), judgements())
def test_the_evidence_is_the_first_clip_that_speaks_for_a_label_most(data, judgement):
    rows = data.draw(clip_lists(judgement))
    found = video_answer("m", rows, judgement)
    used = usable(rows, judgement.answer, judgement.policies)
    assert (not found.considered) == (not used)
    for considered in found.considered:
        label = considered.label
        speaks = [(label in given.labels, given.chances.get(label, 0.0)) for given in used]
        assert considered.evidence == used[speaks.index(max(speaks))].source
        givers = {given.source for given in used if considered.label in given.labels}
        assert set(considered.givers) == givers


# The earliest option that any source gives


@given(st.data(), FIRST)
def test_first_says_the_earliest_option_that_is_given(data, judgement):
    answer = judgement.answer
    rows = data.draw(clip_lists(judgement))
    found = video_answer("m", rows, judgement)
    said = {label for given in usable(rows, answer, judgement.policies) for label in given.labels}
    assert found.labels == ({min(said, key=answer.options.index)} if said else None)


@given(st.data(), FIRST)
def test_the_first_k_options_together_are_as_likely_as_the_likeliest_clip_says(data, judgement):
    rows = data.draw(clip_lists(judgement))
    found = video_answer("m", rows, judgement)
    used = usable(rows, judgement.answer, judgement.policies)
    for count in range(1, len(found.considered) + 1):
        options = judgement.answer.options[:count]
        ours = math.fsum(found.chances[option] for option in options)
        assert ours == pytest.approx(
            max(math.fsum(given.chances.get(option, 0.0) for option in options) for given in used)
        )


@given(st.data(), PAPER)
def test_of_two_options_it_is_the_papers_maximum(data, judgement):
    """y_video = max y_i, and the score is the largest P(Yes): to the bit."""
    rows = data.draw(clip_lists(judgement))
    found = video_answer("m", rows, judgement)
    used = usable(rows, YES_NO, judgement.policies)
    if not used:
        assert (found.labels, found.considered) == (None, ())
        return
    chances = [given.chances.get("Yes", 0.0) for given in used]
    assert found.chances == {"Yes": max(chances), "No": 1 - max(chances)}
    assert found.considered[0].evidence == used[chances.index(max(chances))].source
    assert found.labels == ({"Yes"} if any("Yes" in given.labels for given in used) else {"No"})


@given(st.data(), PAPER)
def test_members_vote_as_in_the_paper(data, judgement):
    videos = data.draw(archives(judgement))
    members = [video_answer(name, rows, judgement) for name, rows in videos.items()]
    said = [one(member.labels) for member in members if member.labels is not None]
    by_name = sorted(members, key=lambda member: member.member)
    scores = [member.chances["Yes"] for member in by_name if member.labels is not None]
    found = verdict(members, judgement)
    if not said:
        assert (found.labels, found.considered, found.status) == (None, (), "undecided")
        return
    score = sum(scores) / len(scores)
    yes, no = said.count("Yes"), said.count("No")
    assert votes(found) == {"Yes": yes, "No": no}
    assert found.considered[0].chance == score
    tie = judgement.policies.tie
    if yes != no:
        expected = "Yes" if yes > no else "No"
    elif tie == "score":
        assume(abs(score - 0.5) > 1e-9)
        expected = "Yes" if score > 0.5 else "No"
    else:
        expected = None if tie == "undecided" else tie
    assert one(found.labels) == expected


@given(st.data(), FIRST)
def test_a_clip_that_turns_to_the_first_option_never_takes_it_from_the_video(data, judgement):
    videos = data.draw(archives(judgement).filter(lambda videos: any(videos.values())))
    answer = judgement.answer
    name = data.draw(st.sampled_from([name for name, rows in videos.items() if rows]))
    rows = videos[name]
    index = data.draw(st.integers(0, len(rows) - 1))
    if rows[index].status != "ok":
        return
    looked_for, last = answer.options[0], answer.options[-1]
    # A clip may have rows that contradict each other, and an answer without a chance counts with
    # its label: the clip is raised above all that it may have counted as.
    alike = [row for row in rows if row.source == rows[index].source]
    counted = [usable([row], answer, judgement.policies) for row in alike]
    known = [given.chances.get(looked_for, 0.0) for some in counted for given in some]
    raised = max([data.draw(st.floats(0.5, 1)), *known])
    sure = {looked_for: raised, last: 1 - raised}
    changed = [
        row._replace(status="ok", labels=frozenset({looked_for}), chances=sure)
        if row.source == rows[index].source else row
        for row in rows
    ]  # fmt: skip
    before, after = vote(videos, judgement), vote(videos | {name: changed}, judgement)
    was = video_answer(name, rows, judgement)
    now = video_answer(name, changed, judgement)
    assert now.labels == {looked_for}
    # Between more than two options a tie may end otherwise, for others may be likelier as well.
    if before.labels == {looked_for} and len(answer.options) == 2:
        assert after.labels == {looked_for}
    if was.considered:
        assert now.chances[looked_for] >= was.chances[looked_for]


# The labels that so many sources give


@given(st.data(), judgements([WORDS]), st.integers(1, 5))
def test_labels_that_enough_sources_give(data, judgement, needed):
    rows = data.draw(clip_lists(judgement, 1))
    used = usable(rows, WORDS, DEFAULT)
    assume(used)
    given_by = Counter(label for given in used for label in given.labels)
    sets = [given.labels for given in used]

    def said(rule) -> frozenset[str]:
        return rule(rows, WORDS, DEFAULT).labels

    assert said(at_least(needed)) == {w for w, count in given_by.items() if count >= needed}
    assert said(at_least(needed + 1)) <= said(at_least(needed))
    assert said(RULES["any"]) == frozenset.union(*sets)
    assert said(RULES["all"]) == frozenset.intersection(*sets)
    assert said(RULES["most"]) == {w for w, count in given_by.items() if count > len(used) / 2}


@given(st.data(), judgements(CHOICES))
def test_no_option_has_more_votes_than_the_one_that_most_give(data, judgement):
    rows = data.draw(clip_lists(judgement))
    found = RULES["most"](rows, judgement.answer, judgement.policies)
    counts = votes(found)
    leaders = [label for label in counts if counts[label] == max(counts.values())]
    if len(leaders) == 1:  # a clear majority wins whatever the policy
        assert found.labels == set(leaders)
    elif leaders:
        tie, said = judgement.policies.tie, one(found.labels)
        assert said == {"undecided": None}.get(tie, tie) if tie != "score" else said in leaders


@given(st.data(), judgements(CHOICES), st.integers(1, 4))
def test_an_option_is_decided_for_only_with_votes_enough(data, judgement, needed):
    rows = data.draw(clip_lists(judgement))
    for rule, least in ((at_least(needed), needed), (RULES["all"], None)):
        found = rule(rows, judgement.answer, DEFAULT)
        counts, used = votes(found), usable(rows, judgement.answer, DEFAULT)
        enough = {label for label in counts if counts[label] >= (least or len(used))}
        assert found.labels is None if not enough else found.labels <= enough


@pytest.mark.parametrize("answer", [*CHOICES, WORDS], ids=repr)
@pytest.mark.parametrize("name", ["any", "all", "most", {"at_least": 3}, {"at_least": "most"}])
def test_without_a_source_nothing_is_decided(answer, name):
    assert find_rule(name, "k")([], answer, DEFAULT) == (None, ())
    assert find_rule(name, "k")([bad(0, "error")], answer, DEFAULT) == (None, ())


@pytest.mark.parametrize("needed", [0, -1, 1.5, True, "none", "2", None, [1], {}])
def test_what_at_least_cannot_be(needed):
    with pytest.raises(ConfigError, match="a whole number from 1 on, all, or most"):
        find_rule({"at_least": needed}, "rules.clips")


def test_first_needs_options():
    with pytest.raises(ConfigError, match="first needs options in an order"):
        first([], WORDS, DEFAULT)


# Examples


def test_one_positive_clip_makes_the_video_positive():
    found = on_video([ok(0, "No", 0.25), ok(1, "Yes", 0.75), ok(2, "No", 0.5)])
    considered = Considered("Yes", 0.75, "c1", ("c1",)), Considered("No", 0.25, "c0", ("c0", "c2"))
    assert found == MemberVerdict("m", frozenset({"Yes"}), considered, 3, 0, 0, 0)


def test_only_negative_clips_make_it_negative():
    found = on_video([ok(0, "No", 0.25), ok(1, "No", 0.375)])
    considered = Considered("Yes", 0.375, "c1", ()), Considered("No", 0.625, "c0", ("c0", "c1"))
    assert found == MemberVerdict("m", frozenset({"No"}), considered, 2, 0, 0, 0)


def test_the_earlier_of_equal_clips_is_the_evidence():
    rows = [ok(2, "Yes", 0.7), ok(1, "Yes", 0.7), ok(3, "Yes", 0.7)]
    assert on_video(rows).considered[0].evidence == "c1"


def test_an_answer_without_a_probability_counts_with_its_label():
    assert on_video([ok(0, "Yes"), ok(1, "No", 0.3)]).chances["Yes"] == 1.0
    assert on_video([ok(0, "No")]).chances["Yes"] == 0.0


@pytest.mark.parametrize(("policy", "label"), [("exclude", "No"), ("No", "No"), ("Yes", "Yes")])
def test_what_an_unparseable_answer_counts_as(policy, label):
    found = on_video([ok(0, "No", 0.2), bad(1, "unparseable")], invalid=policy)
    assert found.labels == {label}
    assert (found.clips_ok, found.clips_unparseable) == (1, 1)
    alone = on_video([bad(1, "unparseable")], invalid=policy)
    assert one(alone.labels) == (None if policy == "exclude" else label)


@pytest.mark.parametrize("status", ["error", "missing"])
@pytest.mark.parametrize(
    ("policy", "label", "chance"), [("exclude", None, None), ("No", "No", 0), ("Yes", "Yes", 1)]
)
def test_what_an_absent_answer_counts_as(policy, label, chance, status):
    found = on_video([bad(0, status)], missing=policy)
    assert one(found.labels) == label
    assert found.chances.get("Yes") == chance
    assert getattr(found, f"clips_{status}") == 1
    assert found.clips_ok == 0
    assert on_video([bad(0, status), ok(1, "Yes", 0.8)], missing=policy).labels == {"Yes"}


@pytest.mark.parametrize(
    ("tie", "scores", "label"),
    [
        ("score", (0.9, 0.2), "Yes"),
        ("score", (0.6, 0.3), "No"),
        ("score", (0.7, 0.3), "Yes"),  # exactly one half is positive
        ("Yes", (0.6, 0.1), "Yes"),
        ("No", (0.9, 0.4), "No"),
        ("undecided", (0.9, 0.4), None),
    ],
)
def test_how_a_tie_ends(tie, scores, label):
    members = [member("a", "Yes", scores[0]), member("b", "No", scores[1])]
    found = verdict(members, paper(tie=tie))
    assert one(found.labels) == label
    assert votes(found) == {"Yes": 1, "No": 1}
    assert found.considered[0].chance == pytest.approx(sum(scores) / 2)
    assert found.status == ("undecided" if label is None else "ok")


@pytest.mark.parametrize(
    ("labels", "label"),
    [(("Yes", "Yes", "No"), "Yes"), (("Yes", "No", "No"), "No"), (("No", "No", "No"), "No")],
)
def test_the_majority_decides_not_the_mean(labels, label):
    scores = (1.0, 0.51, 0.0) if label == "Yes" else (1.0, 0.49, 0.49)
    members = [member(n, v, s) for n, v, s in zip("abc", labels, scores, strict=True)]
    assert verdict(members, paper()).labels == {label}


def test_a_member_without_an_answer_does_not_vote_and_shows():
    members = [
        member("a", "Yes", 0.8),
        member("b", None, usable=0, errors=1),
        member("c", "Yes", 0.6),
    ]
    found = verdict(members, paper())
    assert votes(found) == {"Yes": 2, "No": 0}
    assert found.considered[0].givers == ("a", "c")
    assert found.labels == {"Yes"}
    assert found.status == "partial"
    assert found.considered[0].chance == pytest.approx(0.7)
    assert found.coverage == pytest.approx(2 / 3)


@given(judgements())
def test_no_usable_clip_at_all_is_undecided(judgement):
    left_out = judgement.model_copy(update={"policies": ReduceConfig(tie=judgement.policies.tie)})
    videos = {"a": [bad(0, "error")], "b": [bad(0, "missing")], "c": [bad(0, "unparseable")]}
    assert vote(videos, left_out) == (None, (), "undecided", 0.0)
    assert verdict([], left_out) == (None, (), "undecided", 0.0)


def test_a_policy_that_fills_in_answers_does_not_hide_that_they_lack():
    found = vote({"a": [ok(0, "Yes", 0.9), bad(1, "error")]}, paper(missing="No"))
    assert found.labels == {"Yes"}
    assert found.status == "partial"
    assert found.coverage == 0.5


def test_words_that_two_of_three_members_say():
    said = [{"glad", "calm"}, {"glad", "sad"}, {"calm", "glad"}]
    videos = {n: [Given("c0", 0.0, "ok", frozenset(s))] for n, s in zip("abc", said, strict=True)}
    rules = Rules(clips="any", members={"at_least": 2})
    found = vote(videos, Judgement(answer=WORDS, rules=rules))
    assert found.labels == {"glad", "calm"}
    assert [(c.label, c.chance, c.givers) for c in found.considered] == [
        ("calm", pytest.approx(2 / 3), ("a", "c")),
        ("glad", 1.0, ("a", "b", "c")),
        ("sad", pytest.approx(1 / 3), ("b",)),
    ]
    assert found.status == "ok"


# What judges


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        ({"rules": {"clips": "best", "members": "most"}}, "t: rules.clips", "no 'best'"),
        ({"rules": {"clips": "most", "members": "at_least"}}, "t: rules.members", "an argument"),
        ({"rules": {"clips": {"most": 1}, "members": "most"}}, "t: rules.clips", "no argument"),
        ({"policies": {"tie": "positive"}}, "reduce.tie", "'positive', which is no answer to t"),
        ({"policies": {"invalid": "no"}}, "reduce.invalid", "'no'"),
        ({"policies": {"missing": "Maybe"}}, "reduce.missing", "'Maybe'"),
        (
            {"answer": WORDS, "rules": ANY, "policies": {"missing": "No"}},
            "reduce.missing",
            "'No', which is no answer to t",
        ),
        ({"answer": WORDS}, "rules", "first needs options"),
    ],
)
def test_what_cannot_judge_names_the_key(change, where, problem):
    values = paper().model_dump() | change
    with pytest.raises(ConfigError) as caught:
        Judgement.model_validate(values).check("t")
    assert caught.value.where == where
    assert problem in caught.value.problem


def test_the_usual_rules_of_each_kind_can_judge():
    for answer in (*CHOICES, WORDS):
        rules = Judgement.usual(answer, DEFAULT).check("t").rules
        votes = ("first" if answer.absent else "most", "most") if answer.options else ("any", "any")
        assert (rules.clips, rules.members) == votes


def test_every_rule_of_the_table_is_found():
    assert {name: find_rule(name, "k") for name in RULES} == RULES
