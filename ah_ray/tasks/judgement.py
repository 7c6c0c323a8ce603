"""How a run judges: from clip answers to a member's answer on a video, from these to the verdict.

It belongs to the run and not to the members, so that rules, policies and metrics can be changed and
applied again to answers that are there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from ah_ray.errors import ConfigError
from ah_ray.names import Named
from ah_ray.tasks.answers import Answer, LabelSet
from ah_ray.tasks.parsing import Reader, find_reader
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.rules import STATUSES, Considered, Given, find_rule, unique
from ah_ray.yaml_objects import Frozen


class Rules(Frozen):
    """Which rules judge; see ``rules.RULES``, or ``module:function`` of your own.

    Attributes:
        clips: from a member's answers to the clips of a video to its answer on the video.
        members: from the members' answers on the video to the verdict.
    """

    clips: Named
    members: Named


class Judgement(Frozen):
    """How answers are judged.

    Attributes:
        answer: what the members whose answers count can say.
        rules: by default the usual ones of such an answer.
        policies: how replies are read, what absent answers and even votes count as.
        metrics: that verdicts are measured by; see ``evaluation.metrics``.
    """

    answer: Answer
    rules: Rules
    policies: ReduceConfig = ReduceConfig()
    metrics: tuple[Named, ...] = ()

    @classmethod
    def usual(cls, answer: Answer, policies: ReduceConfig) -> Judgement:
        """How answers are judged where nobody states rules."""
        clips, members = answer.rules
        return cls(answer=answer, rules=Rules(clips=clips, members=members), policies=policies)

    @property
    def reader(self) -> Reader | None:
        """What reads replies in place of ``answer``; None where that is strict.

        Raises:
            ConfigError: as ``parsing.find_reader``.
        """
        return find_reader(self.policies.parse, self.answer)

    def check(self, where: str, voters: Collection[str] | None = None) -> Judgement:
        """Itself, if it can judge.

        Args:
            where: names the task.
            voters: the members that a rule may name; None where they are not known yet.

        Raises:
            ConfigError: a rule or the parser is not there, does not go with the answer or names a
                member that does not vote, or a policy names no option.
        """
        find_reader(self.policies.parse, self.answer)
        for key, name in (("clips", self.rules.clips), ("members", self.rules.members)):
            place = f"{where}: rules.{key}"
            rule = find_rule(name, place)
            rule([], self.answer, self.policies)
            named = set(getattr(rule, "members", ()))
            if named and key == "clips":
                raise ConfigError(place, f"{name} names members", "state it as rules.members")
            if voters is not None and (unknown := sorted(named.difference(voters))):
                problem = f"no member {', '.join(unknown)} votes"
                raise ConfigError(place, problem, f"some of {', '.join(sorted(voters))}")
        for key, word in self.policies.named_labels().items():
            if word not in self.answer.options:
                raise ConfigError(
                    f"reduce.{key}",
                    f"is {word!r}, which is no answer to {where}",
                    f"one of {', '.join(self.answer.options) or 'the usual words'}",
                )
        return self

    def facts(self) -> dict[str, Any]:
        """What verdicts are made from beside the answers, as plain values.

        Metrics are not among it; what the files hold that rules name is.
        """
        rules = (find_rule(name, "rules") for name in (self.rules.clips, self.rules.members))
        files = [getattr(rule, "made_from", None) for rule in rules]
        stated = self.model_dump(mode="json", exclude={"metrics"})
        return stated | ({"files": files} if any(files) else {})


class MemberVerdict(NamedTuple):
    """One member's answer on one video; the fields of ``schemas.MEMBER_VERDICT``."""

    member: str
    labels: LabelSet | None
    considered: tuple[Considered, ...]
    clips_ok: int
    clips_unparseable: int
    clips_error: int
    clips_missing: int

    @property
    def chances(self) -> dict[str, float]:
        """Of each label that was considered."""
        return {one.label: one.chance for one in self.considered}


class Verdict(NamedTuple):
    """The ensemble's answer on one video; fields as in ``schemas.VERDICTS``."""

    labels: LabelSet | None
    considered: tuple[Considered, ...]
    status: Literal["ok", "partial", "undecided"]
    coverage: float


def video_answer(member: str, givens: Iterable[Given], judgement: Judgement) -> MemberVerdict:
    """A member's answer on a video, from its answers to the clips."""
    clips = unique(givens, judgement.answer)
    rule = find_rule(judgement.rules.clips, "rules.clips")
    opinion = rule(clips, judgement.answer, judgement.policies)
    counts = (sum(clip.status == status for clip in clips) for status in STATUSES)
    return MemberVerdict(member, opinion.labels, opinion.considered, *counts)


def _preference(member: MemberVerdict) -> tuple[Any, ...]:
    """Sorts answers of one member, should there be several: that with most usable clips first."""
    counts = (-count for count in member[3:])
    return (*counts, member.labels is None, sorted(member.labels or ()), member.considered)


def verdict(members: Sequence[MemberVerdict], judgement: Judgement) -> Verdict:
    """The verdict on a video, from the members' answers on it.

    A member without an answer does not vote; the verdict is then ``partial``, as it is when any
    clip answer is missing. The evidence for a label is that of the member that speaks for it most.
    """
    by_name = {member.member: member for member in sorted(members, key=_preference, reverse=True)}
    votes = [
        Given(member.member, 0.0, "ok", member.labels, member.chances)
        for member in by_name.values()
        if member.labels is not None
    ]
    rule = find_rule(judgement.rules.members, "rules.members")
    opinion = rule(votes, judgement.answer, judgement.policies)
    expected = sum(sum(member[3:]) for member in by_name.values())
    usable = sum(member.clips_ok for member in by_name.values())
    if opinion.labels is None:
        status: Literal["ok", "partial", "undecided"] = "undecided"
    else:
        status = "ok" if usable == expected else "partial"
    coverage = usable / expected if expected else 0.0
    return Verdict(opinion.labels, opinion.considered, status, coverage)
