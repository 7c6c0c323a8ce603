"""What every combination of members would say together, by the rules that judge them all.

The members' answers on the videos are there; no clip is looked at again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ah_ray.evaluation.judged import Judged, Metrics
from ah_ray.evaluation.metrics import OF_ONE_MEMBER, measured
from ah_ray.tasks.answers import LabelSet
from ah_ray.tasks.judgement import Judgement, MemberVerdict, verdict

#: Of n members there are 2^n - 1 combinations; of more members than these they are left out.
MOST_MEMBERS = 8

_OF_MEMBERS = OF_ONE_MEMBER | {
    "confusion",
    "confusion_shares",
    "videos_counted",
}  # the latter are too long to be told of every combination


def combinations(members: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """All combinations of two members or more, each sorted: first the members alone.

    >>> list(combinations(["b", "a"]))
    [('a',), ('b',), ('a', 'b')]
    """
    names = sorted(set(members))
    if 2 <= len(names) <= MOST_MEMBERS:
        for count in range(1, len(names) + 1):
            yield from itertools.combinations(names, count)


def by_combination(
    truth: Mapping[str, LabelSet],
    answers: Mapping[str, Sequence[MemberVerdict]],
    judgement: Judgement,
) -> dict[str, Metrics]:
    """The metrics of every combination, by the names of its members with ``+`` between them.

    Args:
        truth: the labels of the videos that have some, by video_id.
        answers: the members' answers on videos, by video_id.
        judgement: the rule over members, the policies and the metrics.
    """
    found = {}
    for names in combinations(one.member for ones in answers.values() for one in ones):
        judged = []
        for video_id, labels in truth.items():
            chosen = [one for one in answers.get(video_id, ()) if one.member in names]
            said, considered, *_ = verdict(chosen, judgement)
            chances = {one.label: one.chance for one in considered}
            judged.append(Judged(labels, said, chances, video_id))
        values = measured(judged, judgement.metrics, judgement.answer)
        found["+".join(names)] = {k: v for k, v in values.items() if k not in _OF_MEMBERS}
    return found
