"""Fit thresholds and weights of rules on videos with labels. Pure functions.

What rules go by chances have a threshold, at which a video changes sides: between two neighbours of
the chances that there are, every threshold decides alike, so that trying one of each is exact (of
very many some are tried). Weights are tried on a grid. What was stated is tried too and wins where
nothing is better, so that what is fitted is never worse on the videos that it was fitted on.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ah_ray.evaluation.judged import Judged, overlap
from ah_ray.names import Named
from ah_ray.tasks.answers import Answer, LabelSet
from ah_ray.tasks.chance_rules import Pooled, decided
from ah_ray.tasks.judgement import Judgement, MemberVerdict, Rules, verdict, video_answer
from ah_ray.tasks.opinions import Considered, Given
from ah_ray.tasks.rules import Weighted, find_rule

WEIGHTS = (1.0, 2.0, 3.0)  # of a member
MOST_TRIED = 1000  # thresholds; where there are more chances, evenly among them
MOST_AT_ONCE = 5  # members whose weights are tried together; of more one after the other

Said = LabelSet | None
Figure = Callable[[Sequence[LabelSet], Sequence[Said], Answer], float]


class Example(NamedTuple):
    """A video with labels.

    Attributes:
        video_id: of it.
        truth: its labels.
        answers: what each member says of each clip.
    """

    video_id: str
    truth: LabelSet
    answers: Mapping[str, Sequence[Given]]


class Tuned(NamedTuple):
    """What was found.

    Attributes:
        rules: in the place of those that were stated.
        before: the figure of the ensemble by those.
        after: by these; not less.
    """

    rules: Rules
    before: float
    after: float


def macro_f1(truth: Sequence[LabelSet], said: Sequence[Said], answer: Answer) -> float:
    """The mean F1 of the options that any video has; nothing decided is wrong."""
    hits: Counter[str] = Counter()
    counts: Counter[str] = Counter()  # of true and of said together: F1 = 2 hits / counts
    for labels, answered in zip(truth, said, strict=True):
        hits.update(labels & (answered or frozenset()))
        counts.update([*labels, *(answered or ())])
    there = sorted(set().union(*truth))
    return sum(2 * hits[label] / counts[label] for label in there) / len(there) if there else 0.0


def accuracy(truth: Sequence[LabelSet], said: Sequence[Said], answer: Answer) -> float:
    """The share of right answers; nothing decided is wrong."""
    return sum(map(LabelSet.__eq__, truth, [one or LabelSet() for one in said])) / len(truth)


def mean_overlap(truth: Sequence[LabelSet], said: Sequence[Said], answer: Answer) -> float:
    """The mean Jaccard index of sets of words; nothing decided is none of them."""
    return sum(overlap(Judged(*one)) for one in zip(truth, said, strict=True)) / len(truth)


#: By name; the first is the usual one of options, the last of words.
FIGURES: dict[str, Figure] = {
    "macro_f1": macro_f1,
    "accuracy": accuracy,
    "overlap": mean_overlap,
}


def usual_figure(answer: Answer) -> str:
    """What rules for such an answer are tuned by."""
    return "macro_f1" if answer.options else "overlap"


def tunable(rules: Rules) -> list[str]:
    """The levels (``clips``, ``members``) whose rule has a threshold or weights."""
    named = {"clips": rules.clips, "members": rules.members}
    return [key for key, name in named.items() if _is_tunable(name, key)]


def _is_tunable(name: Named, key: str) -> bool:
    if not isinstance(name, dict):
        return False
    rule = find_rule(name, f"rules.{key}")
    return isinstance(rule, Pooled) or (key == "members" and isinstance(rule, Weighted))


def tune(examples: Sequence[Example], judgement: Judgement, figure: Figure) -> Tuned:
    """Fit what can be: first over clips, by the mean figure of members; then over members.

    Args:
        examples: the videos; some.
        judgement: what is stated.
        figure: of what is said; larger is better.
    """
    truth = [one.truth for one in examples]
    best = judgement
    before = _of_ensemble(truth, _on_videos(examples, judgement), judgement, figure)
    if "clips" in tunable(judgement.rules):
        on_videos = _on_videos(examples, judgement)
        by_member = [list(ones) for ones in zip(*on_videos, strict=True)]

        def of_members(threshold: float | None) -> float:
            figures = [
                figure(truth, [_by(one, judgement.answer, threshold) for one in ones],
                       judgement.answer)
                for ones in by_member
            ]  # fmt: skip
            return sum(figures) / len(figures)

        chances = _chances((one.considered for ones in on_videos for one in ones), best.answer)
        best = _with(best, "clips", _best_threshold(best.rules.clips, chances, of_members))
    on_videos = _on_videos(examples, best)
    if "members" in tunable(judgement.rules):
        if _named(best.rules.members)[0] == "weighted":

            def of_ensemble(name: Named) -> float:
                return _of_ensemble(truth, on_videos, _with(best, "members", name), figure)

            names = sorted({name for one in examples for name in one.answers})
            best = _with(best, "members", _best_weights(best.rules.members, names, of_ensemble))
        else:
            found = [verdict(ones, best).considered for ones in on_videos]

            def of_threshold(threshold: float | None) -> float:
                said = [decided(one, best.answer, threshold) if one else None for one in found]
                return figure(truth, said, best.answer)

            chances = _chances(found, best.answer)
            best = _with(
                best, "members", _best_threshold(best.rules.members, chances, of_threshold)
            )
    after = _of_ensemble(truth, on_videos, best, figure)
    # The members' mean may rise where the ensemble's figure falls.
    return (
        Tuned(best.rules, before, after)
        if after > before
        else Tuned(judgement.rules, before, before)
    )


def _with(judgement: Judgement, key: str, name: Named) -> Judgement:
    return judgement.model_copy(update={"rules": judgement.rules.model_copy(update={key: name})})


def _on_videos(examples: Sequence[Example], judgement: Judgement) -> list[list[MemberVerdict]]:
    return [
        [video_answer(name, clips, judgement) for name, clips in sorted(one.answers.items())]
        for one in examples
    ]


def _of_ensemble(
    truth: Sequence[LabelSet], on_videos: Sequence[Sequence[MemberVerdict]],
    judgement: Judgement, figure: Figure,
) -> float:  # fmt: skip
    said = [verdict(ones, judgement).labels for ones in on_videos]
    return figure(truth, said, judgement.answer)


def _by(one: MemberVerdict, answer: Answer, threshold: float | None) -> Said:
    return decided(one.considered, answer, threshold) if one.considered else None


def _chances(considered: Iterable[Sequence[Considered]], answer: Answer) -> list[float]:
    """The chances that a threshold can be set between, sorted."""
    return sorted(
        {one.chance for some in considered for one in (some[:1] if answer.options else some)}
    )


def _best_threshold(
    name: Named, chances: Sequence[float], figure: Callable[[float | None], float]
) -> Named:
    """The rule with the threshold of the largest figure; of equal ones the nearest to a half."""
    rule, argument = _named(name)
    between = [(low + high) / 2 for low, high in itertools.pairwise(chances)]
    between = between[:: len(between) // MOST_TRIED + 1]
    tried = sorted({0.0, *between, 1.0}, key=lambda one: abs(one - 0.5))
    best = max([argument.get("threshold"), *tried], key=figure)  # of equal ones the first
    return {rule: argument | {"threshold": best}}


def _named(name: Named) -> tuple[str, dict[str, Any]]:
    """A rule that is made of an argument: which, and the argument."""
    assert isinstance(name, dict)
    ((rule, argument),) = name.items()
    return rule, dict(argument or {})


def _best_weights(name: Named, members: Sequence[str], figure: Callable[[Named], float]) -> Named:
    """``weighted`` with the weights of the largest figure; of equal ones as stated, or simpler."""

    def tried(choices: Iterable[Sequence[float]]) -> Iterable[Named]:
        for weights in choices:
            sums = {
                sum(some)
                for count in range(1, len(weights) + 1)
                for some in itertools.combinations(weights, count)
            }
            for least in sorted(sums, key=lambda one: abs(one - sum(weights) / 2)):
                yield _weighted(dict(zip(members, weights, strict=True)), least)

    if len(members) <= MOST_AT_ONCE:
        grid = itertools.product(WEIGHTS, repeat=len(members))
        return max([name, *tried(grid)], key=figure)
    weights, best = [1.0] * len(members), name
    for place in range(len(members)):
        choices = [[*weights[:place], one, *weights[place + 1 :]] for one in WEIGHTS]
        halves: list[Named] = [
            _weighted(dict(zip(members, some, strict=True)), sum(some) / 2) for some in choices
        ]
        best = max([best, *halves], key=figure)
        if best in halves:
            weights = choices[halves.index(best)]
    return best


def _weighted(weights: dict[str, float], least: float) -> dict[str, Any]:
    return {"weighted": {"weights": weights, "at_least": least}}
