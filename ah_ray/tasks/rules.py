"""From the answers of several sources to one: pure functions, the same for any order of rows.

The sources are the clips of a video, and then the members of an ensemble; a rule does not know
which. ``first`` over clips is the paper's maximum, ``at_least`` is union, intersection, k of n and
majority. ``Grouped`` lets any of them count meanings in the place of words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from ah_ray.errors import ConfigError
from ah_ray.names import Named, find_made
from ah_ray.tasks.answers import Answer, Candidate
from ah_ray.tasks.chance_rules import SOFT, NoisyOr, Pooled, TopKMean
from ah_ray.tasks.opinions import (
    STATUSES,
    Considered,
    Given,
    Opinion,
    Rule,
    Status,
    added,
    considered_of,
    unique,
    usable,
)
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.words.groups import WHEEL, View, find_grouping
from ah_ray.yaml_objects import Frozen, Positive, build


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
            added(given.chances.get(label, 0.0) for label in answer.options[:count])
            for given in used
        )
        upto = 1.0 if count == len(answer.options) else max(together, before)
        considered.append(considered_of(option, used, max(upto - before, 0.0)))
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
        considered = _weighed(used, answer, dict.fromkeys((given.source for given in used), 1))
        votes = {one.label: len(one.givers) for one in considered}
        counts = {"all": len(used), "most": answer.most(votes, len(used))}
        least = counts[needed] if isinstance(needed, str) else needed
        reached = [one for one in considered if len(one.givers) >= least]
        return _settled(reached, considered, answer, policies)

    return rule


def all_else_any(givens: Sequence[Given], answer: Answer, policies: ReduceConfig) -> Opinion:
    """The labels that all sources give; where there are none, those that any gives."""
    opinion = at_least("all")(givens, answer, policies)
    return opinion if opinion.labels else at_least(1)(givens, answer, policies)


class Weighted(Frozen):
    """The labels whose givers have weight enough together.

    Attributes:
        weights: of members, by name; of one that is not here it is 1. Who has given no answer is
            not counted.
        at_least: what the weights of a label's givers must add up to.
    """

    weights: dict[str, Positive] = Field(min_length=1)
    at_least: Positive

    @property
    def members(self) -> AbstractSet[str]:
        """The members that are named."""
        return self.weights.keys()

    def __call__(self, givens: Sequence[Given], answer: Answer, policies: ReduceConfig) -> Opinion:
        """The rule; a chance is the weighted mean of those of the sources."""
        used = usable(givens, answer, policies)
        if not used:
            return Opinion(None)
        weights = {given.source: self.weights.get(given.source, 1.0) for given in used}
        considered = _weighed(used, answer, weights)
        reached = []
        for one in considered:
            together = added(weights[giver] for giver in one.givers)
            # Seven tenths and a tenth are eight.
            if together > self.at_least or math.isclose(together, self.at_least):
                reached.append(one)
        return _settled(reached, considered, answer, policies)


class Grouped(Frozen):
    """A rule that counts meanings: who gives a word votes for all words of its group.

    What is decided are words: all those that were given of a group with votes enough, each with
    the sources that gave it itself. Its chance is that of its group. A word in no group is one of
    its own.

    Attributes:
        rule: by what is decided between groups.
        by: the groups; see ``groups.find_grouping``.
        level: of a wheel: 1 for its few classes, 2 for the finer ones.
        wheel: the name of one, of a file with several; by default the first.
    """

    rule: Named
    by: str
    level: Literal[1, 2] = 1
    wheel: str | None = None

    _rule: Rule = PrivateAttr()
    _classes: View = PrivateAttr()
    _hash: str | None = PrivateAttr()

    def model_post_init(self, _: Any) -> None:
        """Find the rule and the groups.

        Raises:
            ConfigError: one of them is not there, or holds for single videos.
        """
        where, by = "rules.grouped", find_grouping(self.by, "rules.grouped.by")
        if by.of_videos:
            problem = f"{self.by} has groups of single videos, and a rule is the same for all"
            raise ConfigError(f"{where}.by", problem, "name a file of `groups` alone")
        level = str(self.level) if by.kind == WHEEL else ""
        views = {name: view for (of_level, name), view in by.views.items() if of_level == level}
        wheel = next(iter(views)) if self.wheel is None else self.wheel
        if wheel not in views:
            known = f"one of {sorted(views)}" if level else "leave it out"
            raise ConfigError(f"{where}.wheel", f"{self.by} has no wheel {wheel!r}", known)
        self._rule, self._classes = find_rule(self.rule, f"{where}.rule"), views[wheel]
        self._hash = by.hash

    @property
    def members(self) -> AbstractSet[str]:
        """The members that its rule names."""
        return getattr(self._rule, "members", frozenset())

    @property
    def made_from(self) -> list[Any]:
        """What its groups are now, and those of its rule."""
        return [self._hash, getattr(self._rule, "made_from", None)]

    def __call__(self, givens: Sequence[Given], answer: Answer, policies: ReduceConfig) -> Opinion:
        """The rule.

        Raises:
            ConfigError: the answer has options.
        """
        if answer.options:
            raise ConfigError("rules", "grouped is for words", "leave it out: options are apart")
        used = usable(givens, answer, policies)
        words = {word for given in used for word in (*given.labels, *given.chances)}
        group = {word: word for word in words} | dict(self._classes("", words))
        opinion = self._rule([_in_groups(given, group) for given in used], answer, policies)
        if opinion.labels is None:
            return Opinion(None)
        chances = {one.label: one.chance for one in opinion.considered}
        considered = tuple(
            considered_of(word, used, chances[group[word]])
            for word in sorted(words, key=answer.rank)
        )
        said = (one.label for one in considered if one.givers)
        return Opinion(frozenset(w for w in said if group[w] in opinion.labels), considered)


def _in_groups(given: Given, group: Mapping[str, str]) -> Given:
    """What a source gives, with groups in the place of words: each as likely as its likeliest."""
    chances: dict[str, float] = {}
    for word, chance in given.chances.items():
        chances[group[word]] = max(chance, chances.get(group[word], chance))
    return given._replace(labels=frozenset(map(group.__getitem__, given.labels)), chances=chances)


def _weighed(
    used: Sequence[Given], answer: Answer, weights: Mapping[str, float]
) -> tuple[Considered, ...]:
    """All labels that are options or are said, with the weighted means of their chances."""
    said = {label for given in used for label in (*given.labels, *given.chances)}
    total = added(weights[given.source] for given in used)

    def chance(label: str) -> float:
        shares = (weights[given.source] * given.chances.get(label, 0.0) for given in used)
        return added(shares) / total

    labels = answer.options or sorted(said, key=answer.rank)
    return tuple(considered_of(label, used, chance(label)) for label in labels)


def _settled(
    reached: Sequence[Considered],
    considered: tuple[Considered, ...],
    answer: Answer,
    policies: ReduceConfig,
) -> Opinion:
    candidates = [Candidate(one.label, one.chance) for one in reached]
    return Opinion(answer.settle(candidates, policies.tie), considered)


__all__ = [
    "RULES",
    "STATUSES",
    "Considered",
    "Given",
    "Grouped",
    "Opinion",
    "Rule",
    "Status",
    "Weighted",
    "all_else_any",
    "at_least",
    "find_rule",
    "first",
    "unique",
    "usable",
]

RULES: dict[str, Rule] = {
    "first": first,
    "any": at_least(1),
    "all": at_least("all"),
    "most": at_least("most"),
    "all_else_any": all_else_any,
    "soft": SOFT,
}
#: What makes a rule of an argument.
MAKERS: dict[str, Any] = {
    "at_least": at_least,
    "weighted": lambda argument: build(Weighted, argument, "rules.weighted"),
    "grouped": lambda argument: build(Grouped, argument, "rules.grouped"),
    "mean": lambda argument: build(Pooled, argument, "rules.mean"),
    "noisy_or": lambda argument: build(NoisyOr, argument, "rules.noisy_or"),
    "top_k_mean": lambda argument: build(TopKMean, argument, "rules.top_k_mean"),
}


def find_rule(name: Named, where: str) -> Rule:
    """A rule by its name, or ``{name: argument}`` for what makes one.

    Raises:
        ConfigError: there is no such rule.
    """
    rule: Rule = find_made(name, RULES, MAKERS, where)
    return rule
