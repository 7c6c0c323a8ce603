"""From the answers of several sources to one: pure functions, the same for any order of rows.

The sources are the clips of a video, and then the members of an ensemble; a rule does not know
which. ``first`` over clips is the paper's maximum, ``at_least`` is union, intersection, k of n and
majority.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ah_ray.errors import ConfigError
from ah_ray.names import Named, find_made
from ah_ray.tasks.answers import Answer, Candidate, LabelSet
from ah_ray.tasks.policies import ReduceConfig

Status = Literal["ok", "unparseable", "error", "missing"]
STATUSES = ("ok", "unparseable", "error", "missing")  # best first


class Given(NamedTuple):
    """One source's answer.

    Attributes:
        source: a clip id, or a member's name.
        start_s: where a clip starts; earlier ones win ties for the evidence.
        status: of the answer; ``missing`` when there is none.
        labels: what it gives; empty unless ``status`` is ok.
        chances: of labels, where they are known; a source without any is sure of what it gives.
    """

    source: str
    start_s: float
    status: Status
    labels: LabelSet = frozenset()
    chances: Mapping[str, float] = {}


class Considered(NamedTuple):
    """What the sources together say about one label.

    Attributes:
        label: it.
        chance: how likely it is, as the rule sees it.
        evidence: the source that speaks for it most: of those that give it, if any do.
        givers: the sources that give it.
    """

    label: str
    chance: float
    evidence: str
    givers: tuple[str, ...]


class Opinion(NamedTuple):
    """What a rule makes of its sources.

    Attributes:
        labels: what is decided; None when nothing is.
        considered: every label that was, the options of a choice in their order.
    """

    labels: LabelSet | None
    considered: tuple[Considered, ...] = ()


Rule = Callable[[Sequence[Given], Answer, ReduceConfig], Opinion]


def unique(givens: Iterable[Given], answer: Answer) -> list[Given]:
    """Each source once, in order of time: the best of its rows, whatever their order."""

    def preference(given: Given) -> tuple[Any, ...]:
        # Equal rows of a source are the rule; should they differ, order must not decide.
        ranks = sorted(answer.rank(label) for label in given.labels)
        chances = sorted((answer.rank(label), -chance) for label, chance in given.chances.items())
        return STATUSES.index(given.status), not ranks, ranks, not chances, chances, given.start_s

    best: dict[str, Given] = {}
    for given in sorted((_known(given) for given in givens), key=preference):
        best.setdefault(given.source, given)
    return sorted(best.values(), key=lambda given: (given.start_s, given.source))


def _known(given: Given) -> Given:
    """Chances are known together or not at all: what is no number says nothing."""
    finite = all(math.isfinite(chance) for chance in given.chances.values())
    return given if finite else given._replace(chances={})


def usable(givens: Iterable[Given], answer: Answer, policies: ReduceConfig) -> list[Given]:
    """The sources that count, in order of time, each with chances for what it says."""
    counted = []
    for given in unique(givens, answer):
        if given.status != "ok":
            policy = policies.invalid if given.status == "unparseable" else policies.missing
            if policy == "exclude":
                continue
            given = given._replace(labels=frozenset({policy}), chances={})
        if answer.options and not given.labels:
            continue  # somebody else's table: a choice without an option says nothing
        sure = dict.fromkeys(given.labels, 1.0)
        counted.append(given._replace(chances=given.chances or sure))
    return counted


def first(givens: Sequence[Given], answer: Answer, policies: ReduceConfig) -> Opinion:
    """The earliest option that any source gives: of Yes and No, Yes as soon as one says so.

    That is y_video = max y_i of the paper. An option is as likely as that it, and none before it,
    is the earliest: with F_k the largest chance that a source gives to the first k options
    together, it is F_k - F_(k-1); of two options the largest P(Yes), and what is left.

    Raises:
        ConfigError: the answer has no options.
    """
    if not answer.options:
        raise ConfigError("rules", "first needs options in an order", "use any, most, all")
    used = usable(givens, answer, policies)
    if not used:
        return Opinion(None)
    considered, before = [], 0.0
    for count, option in enumerate(answer.options, 1):
        together = max(
            math.fsum(given.chances.get(label, 0.0) for label in answer.options[:count])
            for given in used
        )
        upto = 1.0 if count == len(answer.options) else max(together, before)
        considered.append(_considered(option, used, max(upto - before, 0.0)))
        before = upto
    said = next((frozenset({one.label}) for one in considered if one.givers), None)
    return Opinion(said, tuple(considered))


def at_least(needed: int | str) -> Rule:
    """The labels that at least so many sources give.

    Args:
        needed: a number; ``all`` of the sources that count; or ``most`` of them: more than half, of
            a choice the option that is given most often.

    Raises:
        ConfigError: it is none of these.
    """
    is_count = isinstance(needed, int) and not isinstance(needed, bool) and needed > 0
    if not is_count and needed not in ("all", "most"):
        fix = "a whole number from 1 on, all, or most"
        raise ConfigError("rules", f"at_least cannot be {needed!r}", fix)

    def rule(givens: Sequence[Given], answer: Answer, policies: ReduceConfig) -> Opinion:
        used = usable(givens, answer, policies)
        if not used:
            return Opinion(None)
        said = {label for given in used for label in (*given.labels, *given.chances)}
        considered = tuple(
            _considered(label, used, _mean([given.chances.get(label, 0.0) for given in used]))
            for label in answer.options or sorted(said, key=answer.rank)
        )
        votes = {one.label: len(one.givers) for one in considered}
        counts = {"all": len(used), "most": answer.most(votes, len(used))}
        least = counts[needed] if isinstance(needed, str) else needed
        reached = [
            Candidate(one.label, one.chance) for one in considered if len(one.givers) >= least
        ]
        return Opinion(answer.settle(reached, policies.tie), considered)

    return rule


def _considered(label: str, used: Sequence[Given], chance: float) -> Considered:
    strongest = max(used, key=lambda one: (label in one.labels, one.chances.get(label, 0.0)))
    givers = tuple(sorted(given.source for given in used if label in given.labels))
    return Considered(label, chance, strongest.source, givers)


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


RULES: dict[str, Rule] = {
    "first": first,
    "any": at_least(1),
    "all": at_least("all"),
    "most": at_least("most"),
}
#: What makes a rule of an argument.
MAKERS: dict[str, Any] = {"at_least": at_least}


def find_rule(name: Named, where: str) -> Rule:
    """A rule by its name, or ``{name: argument}`` for what makes one.

    Raises:
        ConfigError: there is no such rule.
    """
    rule: Rule = find_made(name, RULES, MAKERS, where)
    return rule
