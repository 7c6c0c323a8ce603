"""Rules that go by chances and not by what is said: means, noisy or, soft votes. Pure functions.

A source that shows no chances is sure of what it says. Where there are options, the first one is
what is looked for: its chance is pooled, and what is left to 1 is divided among the others as their
means are. Labels that are words are pooled each by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ah_ray.tasks.answers import Answer, LabelSet
from ah_ray.tasks.opinions import Considered, Given, Opinion, added, considered_of, usable
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.yaml_objects import Count, Frozen

Chance = Annotated[float, Field(ge=0, le=1)]


def decided(considered: Sequence[Considered], answer: Answer, threshold: float | None) -> LabelSet:
    """What pooled chances say: see ``Pooled.threshold``.

    Args:
        considered: the labels with their chances, the options of a choice in their order.
        answer: what can be answered.
        threshold: of the chance of the first option, or of each word; None for none.
    """

    def likeliest(some: Sequence[Considered]) -> str:
        return max(some, key=lambda one: one.chance).label  # of equal ones the earlier

    if not answer.options:
        least = 0.5 if threshold is None else threshold
        return frozenset(one.label for one in considered if one.chance >= least)
    if threshold is None:
        return frozenset({likeliest(considered)})
    first, *others = considered
    return frozenset({first.label if first.chance >= threshold else likeliest(others)})


class Pooled(Frozen):
    """What is decided by a pooled chance.

    Attributes:
        threshold: from which chance on the first option, or a word, is said. Null for the likeliest
            option (a soft vote); of words those from .5 on.
    """

    threshold: Chance | None = None

    def pool(self, chances: Sequence[float]) -> float:
        """The mean; ``chances`` are in order of time and name."""
        return added(chances) / len(chances)

    def __call__(self, givens: Sequence[Given], answer: Answer, policies: ReduceConfig) -> Opinion:
        """The rule."""
        used = usable(givens, answer, policies)
        if not used:
            return Opinion(None)
        if answer.options:
            return self._of_options(used, answer)
        said = {label for given in used for label in (*given.labels, *given.chances)}
        considered = tuple(
            considered_of(label, used, self._pooled(label, used))
            for label in sorted(said, key=answer.rank)
        )
        return Opinion(decided(considered, answer, self.threshold), considered)

    def _of_options(self, used: Sequence[Given], answer: Answer) -> Opinion:
        looked_for, *others = answer.options
        chance = self._pooled(looked_for, used)
        sums = {o: added(one.chances.get(o, 0.0) for one in used) for o in others}
        total = added(sums.values())
        shares = {o: sums[o] / total if total else 1 / len(others) for o in others}
        considered = (
            considered_of(looked_for, used, chance),
            *(considered_of(o, used, (1 - chance) * shares[o]) for o in others),
        )
        return Opinion(decided(considered, answer, self.threshold), considered)

    def _pooled(self, label: str, used: Sequence[Given]) -> float:
        # Not a hair above 1 or below 0.
        return min(max(self.pool([one.chances.get(label, 0.0) for one in used]), 0.0), 1.0)


class NoisyOr(Pooled):
    """The chance that any source is right, were they independent: 1 - (1 - a) (1 - b) ..."""

    def pool(self, chances: Sequence[float]) -> float:
        """See the class."""
        return 1 - math.prod(1 - chance for chance in chances)


class TopKMean(Pooled):
    """The mean of the largest chances.

    Attributes:
        k: how many; of fewer sources all.
    """

    k: Count

    def pool(self, chances: Sequence[float]) -> float:
        """See the class."""
        largest = sorted(chances, reverse=True)[: self.k]
        return added(largest) / len(largest)


#: The option with the largest mean chance; of words those with one from .5 on.
SOFT = Pooled()
