"""The usual rules of a choice over many videos at once, on arrays.

What they compute is what ``rules`` says of one video, to the last bit (tests compare them); a rule
that is not here is applied video by video. Sources, be they clips or members, are rows, in order of
their group (the video) and in it of time and name. ``n`` rows, ``g`` groups, ``k`` options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ah_ray.names import Named
from ah_ray.tasks.answers import Answer
from ah_ray.tasks.chance_rules import NoisyOr, Pooled, TopKMean
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.rules import Weighted, find_rule

Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

NONE = -1  # in the place of an option


class Sources(NamedTuple):
    """What many sources give.

    Attributes:
        starts: where each group begins, ``(g,)``; none is empty.
        group: of each row, ``(n,)``.
        used: whether it counts, ``(n,)``.
        said: the option that it gives, ``(n,)``; ``NONE`` where it gives none.
        chances: of the options, ``(n, k)``.
    """

    starts: Ints
    group: Ints
    used: Bools
    said: Ints
    chances: Floats


class Opinions(NamedTuple):
    """What a rule makes of each group.

    Attributes:
        said: the option, ``(g,)``; ``NONE`` where nothing is decided.
        considered: whether any source counted, ``(g,)``.
        chances: of the options, ``(g, k)``.
        evidence: the row that speaks most for each option, ``(g, k)``.
        votes: how many rows give each option, ``(g, k)``.
    """

    said: Ints
    considered: Bools
    chances: Floats
    evidence: Ints
    votes: Ints


Rule: TypeAlias = Callable[[Sources, ReduceConfig, Sequence[str]], Opinions]


def counting(
    sources: Sources, status: npt.NDArray[np.int8], known: Bools, options: Sequence[str],
    policies: ReduceConfig,
) -> Sources:  # fmt: skip
    """``opinions.usable``: policies in the place of answers that are not there.

    Args:
        sources: what is given; ``used`` is not looked at.
        status: of each row, its place in ``STATUSES``.
        known: whether its chances are known; one without any is sure of what it gives.
        options: of the answer.
        policies: they.
    """
    used, said, known = status == 0, sources.said.copy(), known.copy()
    for policy, absent in ((policies.invalid, status == 1), (policies.missing, status > 1)):
        if policy != "exclude":
            used |= absent
            said[absent], known[absent] = options.index(policy), False
    used &= said != NONE
    chances = sources.chances.copy()
    unknown = np.flatnonzero(~known)
    chances[unknown] = 0.0
    given = unknown[said[unknown] != NONE]
    chances[given, said[given]] = 1.0
    return Sources(sources.starts, sources.group, used, said, chances)


def find_rule_of_many(name: Named, answer: Answer) -> Rule | None:
    """The rule ``name`` on arrays; None where there is none, or not for such an answer."""
    if not answer.options:
        return None
    if isinstance(name, dict) and name.keys() == {"at_least"}:
        return _at_least(name["at_least"])
    if isinstance(name, str) and name in _RULES:
        return _RULES[name]
    rule = find_rule(name, "rules")
    if not isinstance(rule, Pooled) or type(rule) not in _POOLS:  # or somebody's own kind of it
        return None
    return _pooled(rule)


def weights_of(name: Named, members: Sequence[str]) -> tuple[Floats, float] | None:
    """Of a rule ``weighted``: the weight of each member, and what is needed; else None."""
    if not (isinstance(name, Mapping) and name.keys() == {"weighted"}):
        return None
    rule = find_rule(dict(name), "rules.members")
    assert isinstance(rule, Weighted)
    weights = np.array([rule.weights.get(member, 1.0) for member in members])
    return weights, float(rule.at_least)


def _first(sources: Sources, policies: ReduceConfig, options: Sequence[str]) -> Opinions:
    evidence, votes = _speaking(sources, len(options))
    chances, added = np.empty(votes.shape), np.cumsum(sources.chances, axis=1)
    before: Floats | float = 0.0
    for place in range(len(options)):
        if place == len(options) - 1:
            upto = np.ones(len(votes))
        else:
            together = np.where(sources.used, added[:, place], -np.inf)
            upto = np.maximum(np.maximum.reduceat(together, sources.starts), before)
        chances[:, place] = np.maximum(upto - before, 0.0)
        before = upto
    given = votes > 0
    said = np.where(given.any(axis=1), given.argmax(axis=1), NONE)
    return Opinions(said, _any(sources), chances, evidence, votes)


def _at_least(needed: int | str) -> Rule:
    def rule(sources: Sources, policies: ReduceConfig, options: Sequence[str]) -> Opinions:
        evidence, votes = _speaking(sources, len(options))
        voters = _sums(sources, sources.used.astype(np.float64))
        chances = _means(sources, np.ones(len(sources.used)))
        if needed == "all":
            least: Ints | int = voters.astype(np.int64)[:, None]
        elif needed == "most":
            least = np.maximum(votes.max(axis=1), 1)[:, None]
        else:
            least = int(needed)
        considered = voters > 0
        said = _settled((votes >= least) & considered[:, None], chances, policies, options)
        return Opinions(said, considered, chances, evidence, votes)

    return rule


def _all_else_any(sources: Sources, policies: ReduceConfig, options: Sequence[str]) -> Opinions:
    every = _at_least("all")(sources, policies, options)
    some = _at_least(1)(sources, policies, options)
    return every._replace(said=np.where(every.said == NONE, some.said, every.said))


def weighted(weights: Floats, needed: float) -> Rule:
    """The rule ``weighted``, with the weight of each row."""

    def rule(sources: Sources, policies: ReduceConfig, options: Sequence[str]) -> Opinions:
        evidence, votes = _speaking(sources, len(options))
        chances = _means(sources, weights)
        together = np.stack(
            [
                _sums(sources, np.where(sources.used & (sources.said == option), weights, 0.0))
                for option in range(len(options))
            ],
            axis=1,
        )
        # ``math.isclose``: seven tenths and a tenth are eight.
        close = np.abs(together - needed) <= 1e-9 * np.maximum(together, needed)
        considered = _any(sources)
        reached = ((together > needed) | close) & considered[:, None]
        said = _settled(reached, chances, policies, options)
        return Opinions(said, considered, chances, evidence, votes)

    return rule


def _pooled(rule: Pooled) -> Rule:
    def of_many(sources: Sources, policies: ReduceConfig, options: Sequence[str]) -> Opinions:
        evidence, votes = _speaking(sources, len(options))
        voters = np.add.reduceat(sources.used, sources.starts, dtype=np.int64)
        pooled = _POOLS[type(rule)](rule, sources, sources.chances[:, 0], voters)
        pooled = np.clip(pooled, 0.0, 1.0)
        columns = sources.chances[:, 1:].T
        sums = np.stack([_sums(sources, np.where(sources.used, c, 0.0)) for c in columns], axis=1)
        total = np.cumsum(sums, axis=1)[:, -1:]
        even = np.full_like(sums, 1 / sums.shape[1])
        shares = np.divide(sums, total, out=even, where=total != 0)
        chances = np.column_stack([pooled, (1 - pooled)[:, None] * shares])
        if rule.threshold is None:
            said = chances.argmax(axis=1)  # of equal ones the earlier
        else:
            said = np.where(pooled >= rule.threshold, 0, 1 + chances[:, 1:].argmax(axis=1))
        considered = voters > 0
        return Opinions(np.where(considered, said, NONE), considered, chances, evidence, votes)

    return of_many


def _mean(rule: Pooled, sources: Sources, chances: Floats, voters: Ints) -> Floats:
    mean: Floats = _sums(sources, np.where(sources.used, chances, 0.0)) / np.maximum(voters, 1)
    return mean


def _noisy_or(rule: Pooled, sources: Sources, chances: Floats, voters: Ints) -> Floats:
    wrong = np.where(sources.used, 1 - chances, 1.0)
    right: Floats = 1 - np.multiply.reduceat(wrong, sources.starts)
    return right


def _top_k_mean(rule: Pooled, sources: Sources, chances: Floats, voters: Ints) -> Floats:
    assert isinstance(rule, TopKMean)
    # Those that count before those that do not, the largest first.
    order = np.lexsort((-chances, ~sources.used, sources.group))
    place = np.arange(len(order)) - sources.starts[sources.group]
    largest = np.where((place < rule.k) & sources.used[order], chances[order], 0.0)
    mean: Floats = _sums(sources, largest) / np.clip(voters, 1, rule.k)
    return mean


def _settled(
    reached: Bools, chances: Floats, policies: ReduceConfig, options: Sequence[str]
) -> Ints:
    """``Choice.settle`` of each group."""
    number = reached.sum(axis=1)
    best = np.where(reached, chances, -np.inf).argmax(axis=1)  # of equal ones the earlier
    if policies.tie != "score":
        tied = NONE if policies.tie == "undecided" else options.index(policies.tie)
        best = np.where(number > 1, tied, best)
    return np.where(number > 0, best, NONE)


def _speaking(sources: Sources, options: int) -> tuple[Ints, Ints]:
    """For each option the row that speaks for it most (``considered_of``), and its votes."""
    groups = len(sources.starts)
    evidence, votes = np.zeros((groups, options), np.int64), np.zeros((groups, options), np.int64)
    rows = np.arange(len(sources.used))
    for option in range(options):
        gives = sources.used & (sources.said == option)
        count = np.add.reduceat(gives, sources.starts, dtype=np.int64)
        votes[:, option] = count
        asked = np.where((count > 0)[sources.group], gives, sources.used)
        chance = np.where(asked, sources.chances[:, option], -np.inf)
        largest = np.maximum.reduceat(chance, sources.starts)
        strongest = asked & (chance == largest[sources.group])
        first = np.minimum.reduceat(np.where(strongest, rows, len(rows)), sources.starts)
        evidence[:, option] = np.minimum(first, len(rows) - 1)  # of nobody: not looked at
    return evidence, votes


def _any(sources: Sources) -> Bools:
    return np.logical_or.reduceat(sources.used, sources.starts)


def _means(sources: Sources, weights: Floats) -> Floats:
    """Weighted means of the chances over the rows that count."""
    weights = np.where(sources.used, weights, 0.0)
    total = _sums(sources, weights)[:, None]
    sums = np.stack([_sums(sources, weights * column) for column in sources.chances.T], axis=1)
    return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)  # 0 where nobody counts


def _sums(sources: Sources, values: Floats) -> Floats:
    """Sums by group, row after row as ``sum`` does."""
    sums: Floats = np.bincount(sources.group, values, len(sources.starts)).astype(np.float64)
    return sums


_RULES: dict[str, Rule] = {
    "first": _first,
    "any": _at_least(1),
    "all": _at_least("all"),
    "most": _at_least("most"),
    "all_else_any": _all_else_any,
}
#: The chance of the first option, as the classes pool it.
_POOLS: dict[type, Callable[[Pooled, Sources, Floats, Ints], Floats]] = {
    Pooled: _mean,
    NoisyOr: _noisy_or,
    TopKMean: _top_k_mean,
}
