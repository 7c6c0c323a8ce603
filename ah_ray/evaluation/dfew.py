"""DFEW as the evaluation that goes with Emotion-Qwen counts it: for comparison with figures alone.

It reads a reply by what is true, so it is a metric and no parser.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ah_ray.errors import ConfigError
from ah_ray.evaluation.judged import Judged, Metrics
from ah_ray.tasks.answers import Answer

_NAMES = ("dfew_war", "dfew_uar")
_TOGETHER = "what several members wrote is no reply, and none is known here"
_NOTHING = "no labelled video has a reply that was written"


def dfew(judged: Sequence[Judged], answer: Answer) -> Metrics:
    """A video is a hit where its true word stands anywhere in a reply to one of its clips.

    In any letter case, whatever is around it: its fault is that "not happy" and "unhappy" are hits
    for happy, and that whoever names all options is always right. A video without a reply counts
    nowhere.

    Args:
        judged: the labelled videos, with what was written of them.
        answer: the options.

    Returns:
        dfew_war, the share of hits, and dfew_uar, the mean recall of the classes; where there is a
        miss, misses are one class more, of recall 0.

    Raises:
        ConfigError: there are no options.
    """
    if not answer.options:
        raise ConfigError("task: metrics", "dfew is for answers with options", "leave it out")
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for one in judged:
        if one.written is not None and one.written.replies:
            (true,) = one.truth
            word = true.casefold()
            hits[true].append(any(word in reply.casefold() for reply in one.written.replies))
    if not hits:
        together = any(one.said is not None and one.written is None for one in judged)
        why = _TOGETHER if together else _NOTHING
        return dict.fromkeys(_NAMES) | {"undefined": dict.fromkeys(_NAMES, why)}
    every = [hit for of_class in hits.values() for hit in of_class]
    recalls = [sum(of_class) / len(of_class) for of_class in hits.values()]
    numbers = (sum(every) / len(every), sum(recalls) / (len(recalls) + (not all(every))))
    return dict(zip(_NAMES, numbers, strict=True)) | {"undefined": {}}
