"""What rules are given and what they make of it: sources, labels, evidence. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ah_ray.tasks.answers import Answer, LabelSet
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


#: One that names members has them in an attribute ``members``, one by a file its ``made_from``.
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


def added(numbers: Iterable[float]) -> float:
    """Their sum, rounded after each as on arrays; what ``sum`` does depends on Python's version."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def considered_of(label: str, used: Sequence[Given], chance: float) -> Considered:
    """What some sources say about a label, whose chance is known."""
    strongest = max(used, key=lambda one: (label in one.labels, one.chances.get(label, 0.0)))
    givers = tuple(sorted(given.source for given in used if label in given.labels))
    return Considered(label, chance, strongest.source, givers)
