"""What is told beside the metrics: how sure they are, and for whom they hold. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ah_ray.evaluation.attributes import by_attribute, find_groups
from ah_ray.evaluation.calibration import abstention, reliability
from ah_ray.evaluation.config import EvaluateConfig
from ah_ray.evaluation.intervals import ENOUGH, LEVEL, Draws, People, draw, interval, told
from ah_ray.evaluation.judged import Judged, Metrics
from ah_ray.evaluation.metrics import main_figure, measured, weighted
from ah_ray.evaluation.paired import compared, mcnemar
from ah_ray.names import Named
from ah_ray.tasks.answers import Answer, LabelSet

#: Members, all of them together, a baseline: each with its answers to the same videos.
Sources = Mapping[str, Sequence[Judged]]


class Shown(NamedTuple):
    """Who is to be seen in a labelled video.

    Attributes:
        video_id: of the video.
        participant: as the archive spells it; None where it does not know.
        attributes: what else the archive states.
    """

    video_id: str
    participant: str | None
    attributes: Mapping[str, str]


def statistics(
    sources: Sources,
    shown: Sequence[Shown],
    whole: str,
    metrics: Iterable[Named],
    answer: Answer,
    settings: EvaluateConfig,
) -> dict[str, Any]:
    """What is told beside the metrics of some sources of answers.

    Args:
        sources: by name.
        shown: their videos, in the same order; at least one.
        whole: the source that the others are compared with, and whose groups are told of.
        metrics: of the task; those that are functions alone have no intervals.
        answer: what could be answered.
        settings: how many draws, and the smallest group.

    Returns:
        ``people``: how many there are, how many draws, the level of intervals, and ``note``, why
        these are optimistic (None where they are not). ``compared_by``: the figure by which sources
        and groups are compared; None where the task has none. By source: ``intervals`` of each
        figure, ``calibration`` and ``abstention``. ``compared``: ``whole`` minus each other source,
        with McNemar's test. ``groups``: by attribute.
    """
    names = list(metrics)
    people = People.of([one.participant for one in shown], [one.video_id for one in shown])
    measures = {name: weighted(judged, names, answer) for name, judged in sources.items()}
    figures = draw(measures, people, settings.draws)
    by = main_figure(figures[whole])

    def of_places(places: Sequence[int]) -> Any:
        return weighted([sources[whole][place] for place in places], names, answer)

    groups = find_groups([one.attributes for one in shown], people) if by else []
    return {
        "people": {
            "count": people.size,
            "draws": settings.draws,
            "level": LEVEL,
            "note": _note(people.size, shown),
        },
        "compared_by": by,
        "intervals": {
            name: {key: told(interval(value)) for key, value in found.items()}
            for name, found in figures.items()
        },
        "compared": {
            name: _against(sources, figures, whole, name, by) for name in sources if name != whole
        },
        "calibration": {name: reliability(judged, answer) for name, judged in sources.items()},
        "abstention": {name: abstention(judged) for name, judged in sources.items()},
        "groups": by_attribute(groups, of_places, people, by, settings.smallest_group)
        if by
        else {},
    }


def _note(people: int, shown: Sequence[Shown]) -> str | None:
    notes = []
    if people < ENOUGH:
        notes.append(f"with fewer than {ENOUGH} people they are optimistic")
    if unknown := sum(one.participant is None for one in shown):
        notes.append(f"{unknown} videos of nobody known count as a person each")
    return "; ".join(notes) or None


def _against(
    sources: Sources,
    figures: Mapping[str, Mapping[str, Draws]],
    whole: str,
    other: str,
    by: str | None,
) -> dict[str, Any]:
    found: dict[str, Any] = {"mcnemar": mcnemar(sources[whole], sources[other])}
    return found | (compared(figures[whole][by], figures[other][by]) if by else {})


def majority(
    known: Iterable[LabelSet], judged: Sequence[Judged], metrics: Iterable[Named], answer: Answer
) -> Metrics | None:
    """Metrics of who always says what is most frequent; None for an answer without options.

    Args:
        known: the labels of other videos, such as those of training; where there are none, those
            of the judged videos count, which flatters.
        judged: the labelled videos.
        metrics: of the task.
        answer: what could be answered.
    """
    labels = list(known)
    of_others = bool(labels)
    counts = Counter(labels or [one.truth for one in judged])
    if not answer.options or not counts:
        return None
    said = min(counts, key=lambda label: (-counts[label], sorted(map(answer.rank, label))))
    share = {label: counts[frozenset((label,))] / counts.total() for label in answer.options}
    always = [one._replace(said=said, chances=share, written=None) for one in judged]
    found = {"always": sorted(said), "of": "other videos" if of_others else "these videos"}
    return measured(always, metrics, answer) | found
