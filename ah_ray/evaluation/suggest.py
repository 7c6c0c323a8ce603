"""Which videos are worth annotating next. Pure functions over what was said of them.

Worth is the sum of three numbers from 0 to 1, each with its reason: members disagree, the ensemble
is unsure, and of videos like it few are labelled. So a label says most where the models cannot know
and where nobody has looked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from ah_ray.tasks.answers import LabelSet

_LEAST = 0.25  # of a part; less is no reason


class Candidate(NamedTuple):
    """A video without a label.

    Attributes:
        video_id: of the video.
        votes: what each member that has an answer says.
        chances: of the labels that were considered, in the order of the options.
        exclusive: whether one of them is true at a time, as of options.
        attributes: what the archive states of it.
    """

    video_id: str
    votes: Sequence[LabelSet]
    chances: Sequence[float]
    exclusive: bool
    attributes: Mapping[str, str]


class Suggestion(NamedTuple):
    """A video, how much it is worth, and why."""

    video_id: str
    worth: float
    reasons: tuple[str, ...]


def suggest(
    candidates: Sequence[Candidate], labelled: Sequence[Mapping[str, str]], most: int
) -> list[Suggestion]:
    """The videos that are worth most, the same whatever their order.

    Args:
        candidates: videos without a label.
        labelled: the attributes of those that have one.
        most: how many are suggested.
    """
    counts = {
        name: Counter(stated[name] for stated in labelled if name in stated)
        for name in {name for one in candidates for name in one.attributes}
    }
    worths = [_worth(one, counts) for one in candidates]
    return sorted(worths, key=lambda found: (-found.worth, found.video_id))[:most]


def disagreement(votes: Sequence[LabelSet]) -> float:
    """How far apart answers are: the mean Jaccard distance of pairs; of single labels 0 or 1.

    >>> disagreement([frozenset({"Yes"}), frozenset({"No"}), frozenset({"Yes"})])
    0.6666666666666666
    """
    pairs = list(combinations(votes, 2))
    return fmean(_distance(*pair) for pair in pairs) if pairs else 0.0


def doubt(chances: Sequence[float], exclusive: bool) -> float:
    """How unsure somebody is: of options how near the two likeliest are, of words to a half each.

    >>> doubt([0.5, 0.5], exclusive=True), doubt([1.0, 0.5], exclusive=False)
    (1.0, 0.5)
    """
    if not chances:
        return 1.0  # nothing was answered
    if exclusive:
        first, second = (*sorted(chances, reverse=True), 0.0)[:2]
        return 1 - (first - second)
    return fmean(1 - abs(2 * chance - 1) for chance in chances)


def rarity(
    attributes: Mapping[str, str], labelled: Mapping[str, Counter[str]]
) -> tuple[float, str | None]:
    """How few labelled videos share an attribute with it, and which one that is.

    An attribute with as many different values as labelled videos, such as a name, tells nothing.

    Args:
        attributes: of the video.
        labelled: by attribute, how many labelled videos have which value.
    """
    best, name = 0.0, None
    for attribute, value in sorted(attributes.items()):
        counts = labelled.get(attribute, Counter())
        if len(counts) < counts.total():
            rare = 1 - min(counts[value] * len(counts) / counts.total(), 1.0)
            if rare > best:
                best, name = rare, attribute
    return best, name


def _worth(one: Candidate, labelled: Mapping[str, Counter[str]]) -> Suggestion:
    apart, unsure = disagreement(one.votes), doubt(one.chances, one.exclusive)
    rare, attribute = rarity(one.attributes, labelled)
    reasons = [
        (apart, "the members disagree"),
        (unsure, "nothing was answered" if not one.chances else "the ensemble is unsure"),
        (rare, f"few with {attribute} {one.attributes.get(attribute or '')} are labelled"),
    ]
    told = tuple(text for part, text in reasons if part >= _LEAST)
    return Suggestion(one.video_id, apart + unsure + rare, told)


def _distance(one: LabelSet, other: LabelSet) -> float:
    both = one | other
    return 1 - len(one & other) / len(both) if both else 0.0
