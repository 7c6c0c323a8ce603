"""The engine protocol: items in, one reply per member and item out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

from ah_ray.engines.wording import Scores, Wording, weigh
from ah_ray.media.decode import DecodedClip
from ah_ray.members import Member


@dataclass(frozen=True, kw_only=True)
class Item(DecodedClip):
    """What is asked about: a decoded clip, which may be without picture or sound, and texts.

    Attributes:
        video_id: of the video.
        texts: what other members wrote about it, by their names, and its ``subtitle``.
    """

    video_id: str
    texts: Mapping[str, str] = field(default_factory=dict)


class Reply(NamedTuple):
    """What a model says about one item.

    Attributes:
        text: as it was written; None where the options were only weighed.
        chances: P(option | one of the options) by option where that is known; None when the reply
            does not get to its word, the model was not asked for all of them, or there are none.
            Not numbers where the model's scores are none: that is an error of the item
            (``pipelines.scorer``).
        mass: the probability of all options together, of all that begin as they do; None as above,
            and where no model was asked.
        gate: the weight of each expert for what is seen, by name; None where the model has no gate
            or was shown nothing.
    """

    text: str | None
    chances: Mapping[str, float] | None = None
    mass: float | None = None
    gate: Mapping[str, float] | None = None


#: For each member one reply to each item, in order.
Replies = list[list[Reply]]


class Engine(Protocol):
    """Runs one checkpoint, with the adapters of the members that share it."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> Replies:
        """Greedy replies: for each of ``members`` one to each of ``items``, in order."""
        ...


@runtime_checkable
class OverlappingEngine(Engine, Protocol):
    """An engine that can get a batch ready while its model answers the one before.

    ``begin`` is called in a thread of its own, what it gives in that in which the engine was
    loaded, in the same order. So the model sees one batch at a time, whole, and its answers do not
    depend on what else is under way.
    """

    def begin(self, members: Sequence[Member], items: Sequence[Item]) -> Callable[[], Replies]:
        """Do what needs no model, as rendering a prompt; the result does the rest."""
        ...


def begun(
    engine: Engine, members: Sequence[Member], items: Sequence[Item]
) -> Callable[[], Replies]:
    """What answers a batch that ``engine`` has got ready, as far as it can."""
    if isinstance(engine, OverlappingEngine):
        return engine.begin(members, items)
    return partial(engine.answer, members, items)


def gate_of(shown: Sequence[Mapping[str, float]] | None) -> Mapping[str, float] | None:
    """The gate of an item by those of its media: of several pictures their mean."""
    if not shown:
        return None
    return {name: sum(one[name] for one in shown) / len(shown) for name in shown[0]}


def weighed_reply(words: Wording, scores: Scores, text: str | None = None) -> Reply:
    """The reply of a model whose scores for all options are known.

    Args:
        words: what it was asked.
        scores: for the tokens of the options.
        text: what it wrote; None if it was only asked for its scores.
    """
    weighed = weigh(words.options, scores)
    return Reply(text, dict(zip(words.labels, weighed.chances, strict=True)), weighed.mass)


def written_reply(text: str, words: Wording, scores: Scores | None, broken: bool) -> Reply:
    """The reply of a model that wrote ``text``.

    Args:
        text: its reply.
        words: what it was asked.
        scores: what it showed on the way to the reply's word (``scores_of_reply``).
        broken: some of its scores are no numbers, so that the text says nothing.
    """
    if broken:
        return Reply(text, dict.fromkeys(words.labels, math.nan), math.nan)
    return Reply(text) if scores is None else weighed_reply(words, scores, text)
