import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.engines.engine import likelier_answer
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.rules import (
    ClipAnswer,
    MemberVerdict,
    clip_label,
    is_positive,
    majority_vote,
    max_over_clips,
    unique_answers,
)

DEFAULT = ReduceConfig()
POLICIES = st.builds(
    ReduceConfig,
    invalid=st.sampled_from(["exclude", "negative", "positive"]),
    missing=st.sampled_from(["exclude", "negative"]),
    tie=st.sampled_from(["score", "positive", "negative", "undecided"]),
)


@st.composite
def answers(draw):
    number = draw(st.integers(0, 6))
    status = draw(st.sampled_from(["ok", "ok", "unparseable", "error", "missing"]))
    label = draw(st.sampled_from([0, 1])) if status == "ok" else None
    usual = st.floats(0.5, 1) if label else st.floats(0, 0.5)
    unknown = st.sampled_from([None, math.nan, math.inf])
    chance = draw(st.one_of(unknown, usual)) if status in {"ok", "unparseable"} else None
    return ClipAnswer(f"c{number}", float(number // 2), status, label, chance)


@st.composite
def odd_answers(draw):
    """Rows that no part of this software writes: whatever the columns can hold."""
    return ClipAnswer(
        f"c{draw(st.integers(0, 2))}", draw(st.sampled_from([0.0, 1.0, 2.0])),
        draw(st.sampled_from(["ok", "unparseable", "error", "missing"])),
        draw(st.sampled_from([0, 1, None])),
        draw(st.sampled_from([None, math.nan, float("nan"), -math.inf, math.inf, 0.0, 0.5, 1.0])),
    )  # fmt: skip


@st.composite
def odd_members(draw):
    number = st.integers(0, 2)
    return MemberVerdict(
        draw(st.sampled_from("ab")), draw(st.sampled_from([0, 1, None])),
        draw(st.sampled_from([None, math.nan, float("nan"), math.inf, 0.0, 0.5, 1.0])),
        draw(st.sampled_from([None, "c0", "c1"])), *(draw(number) for _ in range(4)),
    )  # fmt: skip


LISTS = st.lists(answers(), max_size=12)
VIDEOS = st.dictionaries(st.sampled_from("abcde"), LISTS, max_size=5)


def ok(number, label, chance=None) -> ClipAnswer:
    return ClipAnswer(f"c{number}", float(number), "ok", label, chance)


def bad(number, status) -> ClipAnswer:
    return ClipAnswer(f"c{number}", float(number), status, None, None)


def member(name, label, score=None, usable=1, errors=0) -> MemberVerdict:
    return MemberVerdict(name, label, score, None, usable, 0, errors, 0)


def vote(videos, policies):
    return majority_vote([max_over_clips(n, a, policies) for n, a in videos.items()], policies)


# Order and repetition


@given(st.data(), LISTS)
def test_each_clip_once_in_order_of_time(data, rows):
    unique = unique_answers(rows)
    assert [row.clip_id for row in unique] == sorted(
        {row.clip_id for row in rows}, key=lambda clip: (int(clip[1:]) // 2, clip)
    )
    assert {row[:4] for row in unique} <= {row[:4] for row in rows}
    assert all(row.p_yes is None or math.isfinite(row.p_yes) for row in unique)
    assert unique_answers(unique) == unique
    assert unique_answers(data.draw(st.permutations(rows + rows[::2]))) == unique


@given(st.data(), LISTS, POLICIES)
def test_rows_in_any_order_and_number_give_the_same(data, rows, policies):
    shuffled = data.draw(st.permutations(rows + rows[:3]))
    assert max_over_clips("m", shuffled, policies) == max_over_clips("m", rows, policies)


@given(st.data(), VIDEOS, POLICIES)
def test_members_in_any_order_and_number_give_the_same(data, videos, policies):
    members = [max_over_clips(n, rows, policies) for n, rows in videos.items()]
    shuffled = data.draw(st.permutations(members + members[:2]))
    assert majority_vote(shuffled, policies) == majority_vote(members, policies)


@given(st.data(), st.lists(odd_answers(), max_size=8), POLICIES)
def test_odd_rows_in_any_order_and_number_give_the_same(data, rows, policies):
    shuffled = data.draw(st.permutations(rows + rows[:2]))
    verdict = max_over_clips("m", rows, policies)
    assert max_over_clips("m", shuffled, policies) == verdict
    assert verdict.score is None or math.isfinite(verdict.score)


@given(st.data(), st.lists(odd_members(), max_size=6), POLICIES)
def test_odd_members_in_any_order_and_number_give_the_same(data, members, policies):
    shuffled = data.draw(st.permutations(members + members[:2]))
    verdict = majority_vote(members, policies)
    assert majority_vote(shuffled, policies) == verdict
    assert verdict.votes_yes + verdict.votes_no <= len({member.member for member in members})


def test_a_chance_that_is_no_number_does_not_hide_another():
    rows = [ok(0, 0, 0.2), ok(1, 0, math.nan), ok(2, 1, 0.9)]
    for order in itertools.permutations(rows):
        verdict = max_over_clips("m", order, DEFAULT)
        assert (verdict.score, verdict.evidence_clip_id) == (0.9, "c2")


def test_an_even_chance_is_positive_everywhere():
    assert [is_positive(chance) for chance in (0.0, 0.4999, 0.5, 1.0)] == [False, False, True, True]
    assert likelier_answer(load_task("cue_conflict"), 0.5).text == "<answer>Yes</answer>"
    assert majority_vote([member("a", 1, 0.7), member("b", 0, 0.3)], DEFAULT).label == 1


@pytest.mark.parametrize("order", [1, -1])
def test_a_usable_row_of_a_clip_wins(order):
    rows = [bad(0, "missing"), bad(0, "error"), bad(0, "unparseable"), ok(0, 0, 0.1), ok(0, 1, 0.9)]
    for best in reversed(range(len(rows))):
        assert unique_answers(rows[: best + 1][::order]) == [rows[best]]


# Sums and bounds


@given(LISTS, POLICIES)
def test_counts_add_up_to_the_clips(rows, policies):
    verdict = max_over_clips("m", rows, policies)
    unique = unique_answers(rows)
    counts = verdict.clips_ok, verdict.clips_unparseable, verdict.clips_error, verdict.clips_missing
    assert sum(counts) == len(unique)
    for count, status in zip(counts, ["ok", "unparseable", "error", "missing"], strict=True):
        assert count == sum(row.status == status for row in unique)


@given(VIDEOS, POLICIES)
def test_votes_coverage_and_status_fit(videos, policies):
    members = [max_over_clips(n, rows, policies) for n, rows in videos.items()]
    verdict = majority_vote(members, policies)
    assert verdict.votes_yes + verdict.votes_no == sum(m.label is not None for m in members)
    assert 0 <= verdict.coverage <= 1
    assert verdict.score is None or 0 <= verdict.score <= 1
    assert (verdict.label is None) == (verdict.status == "undecided")
    if verdict.status == "ok":
        assert verdict.coverage == 1
    if verdict.status == "partial":
        assert verdict.coverage < 1


@given(LISTS, POLICIES)
def test_the_evidence_is_the_clip_with_the_score(rows, policies):
    verdict = max_over_clips("m", rows, policies)
    used = {c.clip_id: c for c in unique_answers(rows) if clip_label(c, policies) is not None}
    assert (verdict.evidence_clip_id is None) == (not used)
    assert (verdict.label is None) == (not used)
    if used:
        clip = used[verdict.evidence_clip_id]
        stated = clip.p_yes if clip.status == "ok" else None
        assert verdict.score == (clip_label(clip, policies) if stated is None else stated)
        assert all(c.p_yes <= verdict.score for c in used.values() if c.status == "ok" and c.p_yes)


# More evidence never makes a verdict less positive


@given(st.data(), VIDEOS.filter(lambda videos: any(videos.values())), POLICIES)
def test_a_clip_that_turns_positive_never_makes_the_video_negative(data, videos, policies):
    name = data.draw(st.sampled_from([name for name, rows in videos.items() if rows]))
    rows = videos[name]
    index = data.draw(st.integers(0, len(rows) - 1))
    if rows[index].status != "ok":
        return
    # A clip may have rows that contradict each other, and an answer without a chance counts with
    # its label: the clip is raised above all that it may have counted as.
    alike = [row for row in rows if row.clip_id == rows[index].clip_id]
    counted = [
        row.p_yes if row.p_yes is not None and math.isfinite(row.p_yes) else float(row.label or 0)
        for row in alike
    ]
    raised = max([data.draw(st.floats(0.5, 1)), *counted])
    changed = [*rows]
    for other, row in enumerate(rows):
        if row.clip_id == rows[index].clip_id:
            changed[other] = row._replace(status="ok", label=1, p_yes=raised)
    before, after = vote(videos, policies), vote(videos | {name: changed}, policies)
    was = max_over_clips(name, rows, policies)
    now = max_over_clips(name, changed, policies)
    assert now.label == 1
    if before.label == 1:
        assert after.label == 1
    if was.score is not None:
        assert now.score >= was.score


@given(VIDEOS, POLICIES)
def test_a_clear_majority_wins_whatever_the_policy(videos, policies):
    verdict = vote(videos, policies)
    if verdict.votes_yes != verdict.votes_no:
        assert verdict.label == int(verdict.votes_yes > verdict.votes_no)


# Examples


def test_one_positive_clip_makes_the_video_positive():
    verdict = max_over_clips("m", [ok(0, 0, 0.2), ok(1, 1, 0.7), ok(2, 0, 0.4)], DEFAULT)
    assert verdict == MemberVerdict("m", 1, 0.7, "c1", 3, 0, 0, 0)


def test_only_negative_clips_make_it_negative():
    verdict = max_over_clips("m", [ok(0, 0, 0.2), ok(1, 0, 0.4)], DEFAULT)
    assert verdict == MemberVerdict("m", 0, 0.4, "c1", 2, 0, 0, 0)


def test_the_earlier_of_equal_clips_is_the_evidence():
    rows = [ok(2, 1, 0.7), ok(1, 1, 0.7), ok(3, 1, 0.7)]
    assert max_over_clips("m", rows, DEFAULT).evidence_clip_id == "c1"


def test_an_answer_without_a_probability_counts_with_its_label():
    assert max_over_clips("m", [ok(0, 1), ok(1, 0, 0.3)], DEFAULT).score == 1.0
    assert max_over_clips("m", [ok(0, 0)], DEFAULT).score == 0.0


@pytest.mark.parametrize(("policy", "label"), [("exclude", 0), ("negative", 0), ("positive", 1)])
def test_what_an_unparseable_answer_counts_as(policy, label):
    policies = ReduceConfig(invalid=policy)
    verdict = max_over_clips("m", [ok(0, 0, 0.2), bad(1, "unparseable")], policies)
    assert verdict.label == label
    assert (verdict.clips_ok, verdict.clips_unparseable) == (1, 1)
    alone = max_over_clips("m", [bad(1, "unparseable")], policies)
    assert alone.label == (None if policy == "exclude" else label)


@pytest.mark.parametrize("status", ["error", "missing"])
@pytest.mark.parametrize(("policy", "label"), [("exclude", None), ("negative", 0)])
def test_what_an_absent_answer_counts_as(policy, label, status):
    verdict = max_over_clips("m", [bad(0, status)], ReduceConfig(missing=policy))
    assert verdict.label == label
    assert verdict.score == label
    assert getattr(verdict, f"clips_{status}") == 1
    assert verdict.clips_ok == 0
    with_positive = [bad(0, status), ok(1, 1, 0.8)]
    assert max_over_clips("m", with_positive, ReduceConfig(missing=policy)).label == 1


@pytest.mark.parametrize(
    ("tie", "scores", "label"),
    [
        ("score", (0.9, 0.2), 1),
        ("score", (0.6, 0.3), 0),
        ("score", (0.7, 0.3), 1),  # exactly one half is positive
        ("positive", (0.6, 0.1), 1),
        ("negative", (0.9, 0.4), 0),
        ("undecided", (0.9, 0.4), None),
    ],
)
def test_how_a_tie_ends(tie, scores, label):
    members = [member("a", 1, scores[0]), member("b", 0, scores[1])]
    verdict = majority_vote(members, ReduceConfig(tie=tie))
    assert verdict.label == label
    assert (verdict.votes_yes, verdict.votes_no) == (1, 1)
    assert verdict.score == pytest.approx(sum(scores) / 2)
    assert verdict.status == ("undecided" if label is None else "ok")


@pytest.mark.parametrize(("labels", "label"), [((1, 1, 0), 1), ((1, 0, 0), 0), ((0, 0, 0), 0)])
def test_the_majority_decides_not_the_mean(labels, label):
    scores = (1.0, 0.51, 0.0) if label else (1.0, 0.49, 0.49)
    members = [member(n, v, s) for n, v, s in zip("abc", labels, scores, strict=True)]
    assert majority_vote(members, DEFAULT).label == label


def test_a_member_without_an_answer_does_not_vote_and_shows():
    members = [
        member("a", 1, 0.8),
        member("b", None, None, usable=0, errors=1),
        member("c", 1, 0.6),
    ]
    verdict = majority_vote(members, DEFAULT)
    assert (verdict.votes_yes, verdict.votes_no) == (2, 0)
    assert verdict.label == 1
    assert verdict.status == "partial"
    assert verdict.score == pytest.approx(0.7)
    assert verdict.coverage == pytest.approx(2 / 3)


@pytest.mark.parametrize("tie", ["score", "positive", "negative", "undecided"])
def test_no_usable_clip_at_all_is_undecided(tie):
    policies = ReduceConfig(tie=tie)
    videos = {"a": [bad(0, "error")], "b": [bad(0, "missing")], "c": [bad(0, "unparseable")]}
    verdict = vote(videos, policies)
    assert verdict == (0, 0, None, None, "undecided", 0.0)
    assert majority_vote([], policies) == (0, 0, None, None, "undecided", 0.0)


def test_a_policy_that_fills_in_answers_does_not_hide_that_they_lack():
    verdict = vote({"a": [ok(0, 1, 0.9), bad(1, "error")]}, ReduceConfig(missing="negative"))
    assert verdict.label == 1
    assert verdict.status == "partial"
    assert verdict.coverage == 0.5
