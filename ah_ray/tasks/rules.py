"""From clip answers to a verdict: pure functions, the same for any order or repetition of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from ah_ray.tasks.policies import ReduceConfig

Status = Literal["ok", "unparseable", "error", "missing"]
_BEST_FIRST = ("ok", "unparseable", "error", "missing")

#: From this chance on an answer is positive. An even chance is: who looks for a behaviour would
#: rather look at one clip more.
THRESHOLD = 0.5


def is_positive(chance: float) -> bool:
    """What a chance or a mean of chances means; the one place that says so."""
    return chance >= THRESHOLD


class ClipAnswer(NamedTuple):
    """One member's answer to one clip of a video.

    Attributes:
        clip_id: of the clip.
        start_s: where the clip starts; earlier clips win ties for the evidence.
        status: of the prediction; ``missing`` when there is none.
        label: 1 or 0 when ``status`` is ok, else None.
        p_yes: P(positive); None, or no number, when the reply does not show it.
    """

    clip_id: str
    start_s: float
    status: Status
    label: int | None
    p_yes: float | None


class MemberVerdict(NamedTuple):
    """One member's answer to one video; the fields of ``schemas.MEMBER_VERDICT``."""

    member: str
    label: int | None
    score: float | None
    evidence_clip_id: str | None
    clips_ok: int
    clips_unparseable: int
    clips_error: int
    clips_missing: int


class Verdict(NamedTuple):
    """The ensemble's answer to one video; fields as in ``schemas.VERDICTS``."""

    votes_yes: int
    votes_no: int
    label: int | None
    score: float | None
    status: Literal["ok", "partial", "undecided"]
    coverage: float


def unique_answers(answers: Iterable[ClipAnswer]) -> list[ClipAnswer]:
    """Each clip once, in order of time: the best of its rows, whatever their order."""
    best: dict[str, ClipAnswer] = {}
    known = (answer._replace(p_yes=_known(answer.p_yes)) for answer in answers)
    for answer in sorted(known, key=_preference):
        best.setdefault(answer.clip_id, answer)
    return sorted(best.values(), key=lambda answer: (answer.start_s, answer.clip_id))


def _preference(answer: ClipAnswer) -> tuple[float, ...]:
    # Equal rows of a clip are the rule; should they differ, the choice must not depend on order.
    return (
        _BEST_FIRST.index(answer.status),
        -_or(answer.label, -1),
        -_or(_known(answer.p_yes), -1),
        answer.start_s,
    )


def _known(number: float | None) -> float | None:
    """A chance or score, or None when it is not known: what is no number is not."""
    return number if number is not None and math.isfinite(number) else None


def _or(number: float | None, instead: float) -> float:
    return instead if number is None else number


def clip_label(answer: ClipAnswer, policies: ReduceConfig) -> int | None:
    """What a clip counts as: 1, 0, or None when it is left out."""
    if answer.status == "ok":
        return answer.label
    policy = policies.invalid if answer.status == "unparseable" else policies.missing
    return {"exclude": None, "negative": 0, "positive": 1}[policy]


def max_over_clips(
    member: str, answers: Iterable[ClipAnswer], policies: ReduceConfig
) -> MemberVerdict:
    """A member's video answer: positive as soon as one clip is (the paper's y_video = max y_i).

    The score is the largest P(positive) of the usable clips, and the evidence is that clip. A clip
    whose reply states its answer but not P(positive) counts with its label.
    """
    clips = unique_answers(answers)
    used = [(clip, label) for clip in clips if (label := clip_label(clip, policies)) is not None]
    chances = [
        clip.p_yes if clip.status == "ok" and clip.p_yes is not None else float(label)
        for clip, label in used
    ]
    strongest = max(range(len(used)), key=lambda index: chances[index], default=None)
    counts = {status: sum(clip.status == status for clip in clips) for status in _BEST_FIRST}
    return MemberVerdict(
        member=member,
        label=max((label for _, label in used), default=None),
        score=None if strongest is None else chances[strongest],
        evidence_clip_id=None if strongest is None else used[strongest][0].clip_id,
        clips_ok=counts["ok"],
        clips_unparseable=counts["unparseable"],
        clips_error=counts["error"],
        clips_missing=counts["missing"],
    )


def _unique_members(verdicts: Iterable[MemberVerdict]) -> list[MemberVerdict]:
    """Each member once, sorted by name; of several verdicts the one with most usable clips."""

    def preference(verdict: MemberVerdict) -> tuple[Any, ...]:
        label, score = (_or(number, -1) for number in (verdict.label, verdict.score))
        counts = [-count for count in verdict[4:]]
        return (*counts, -label, -score, verdict.evidence_clip_id or "")

    best: dict[str, MemberVerdict] = {}
    known = (verdict._replace(score=_known(verdict.score)) for verdict in verdicts)
    for verdict in sorted(known, key=preference):
        best.setdefault(verdict.member, verdict)
    return [best[name] for name in sorted(best)]


def majority_vote(members: Sequence[MemberVerdict], policies: ReduceConfig) -> Verdict:
    """The verdict on a video: what more than half of the members that have an answer say.

    The score is the mean of the members' scores. A member without an answer does not vote; the
    verdict is then ``partial``, as it is when any clip answer is missing.
    """
    members = _unique_members(members)
    labels = [member.label for member in members if member.label is not None]
    scores = [member.score for member in members if member.score is not None]
    yes, no = labels.count(1), labels.count(0)
    score = sum(scores) / len(scores) if scores else None
    expected = sum(sum(member[4:]) for member in members)
    usable = sum(member.clips_ok for member in members)
    label: int | None = None
    if yes != no:
        label = int(yes > no)
    elif labels and policies.tie != "undecided":
        label = {"score": int(is_positive(score or 0.0)), "positive": 1, "negative": 0}[
            policies.tie
        ]
    if label is None:
        status: Literal["ok", "partial", "undecided"] = "undecided"
    else:
        status = "ok" if usable == expected else "partial"
    return Verdict(yes, no, label, score, status, usable / expected if expected else 0.0)


CLIP_RULES = {"max": max_over_clips}
MEMBER_RULES = {"majority": majority_vote}
