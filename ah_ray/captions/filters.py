"""Filters: which captions are kept, as pure functions of one caption.

A filter says why it drops a caption, or None to keep it. Those that a config names are ours below,
or ``module:function`` of its own; ``{name: argument}`` is a filter that is made of an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ah_ray.captions import words
from ah_ray.errors import ConfigError
from ah_ray.names import Named, find_made
from ah_ray.tasks.answers import LabelSet
from ah_ray.tasks.lists import listed

#: Letters that a language is written in, by the beginning of their names in Unicode.
_SCRIPTS = {"en": "LATIN", "zh": "CJK"}
_TOLD = 80  # letters of a caption that a filter fails on
_SHARE = 0.8  # of the letters, at least: names and abbreviations may be in others
_SIGNS = {1: "positive", 0: "neutral", -1: "negative"}


class Caption(NamedTuple):
    """What a captioner wrote of a clip, and what is known besides.

    Attributes:
        text: of the caption.
        captioner: the member that wrote it.
        others: what the other captioners wrote of the same clip, by their names.
        labels: of its video, as the archive annotates it; empty when it does not.
        found: the labels that members that read it find in it, by their names; None where one
            found nothing that can be used.
        attributes: what else the archive states of the video.
    """

    text: str
    captioner: str = ""
    others: Mapping[str, str] = {}
    labels: LabelSet = frozenset()
    found: Mapping[str, LabelSet | None] = {}
    attributes: Mapping[str, str] = {}


Filter = Callable[[Caption], str | None]


def mentions_person(caption: Caption) -> str | None:
    """It speaks of somebody."""
    return None if words.mentions_person(caption.text) else "nobody is mentioned"


def refusal(caption: Caption) -> str | None:
    """It is a description, not an excuse."""
    return "its writer refuses" if words.refuses(caption.text) else None


def label_found(caption: Caption) -> str | None:
    """Every member that reads it finds the label of its video in it."""
    if not caption.labels:
        return "its video has no label"
    for reader, labels in sorted(caption.found.items()):
        if labels is None:
            return f"{reader} finds nothing in it"
        if not caption.labels <= labels:
            return f"{reader} finds {listed(labels)} in it, not {listed(caption.labels)}"
    return None if caption.found else "nobody has read it"


def length(bounds: Mapping[str, int]) -> Filter:
    """It has neither too few words nor too many; of Chinese, characters.

    Args:
        bounds: ``least`` and ``most``, or one of them.
    """
    return _between(**bounds)


def _between(least: int = 1, most: int | None = None) -> Filter:
    if not isinstance(least, int) or not isinstance(most, int | None):
        raise TypeError("least and most are whole numbers")

    def within(caption: Caption) -> str | None:
        count = len(words.tokens(caption.text))
        if count < least:
            return f"{count} words are less than {least}"
        return f"{count} words are more than {most}" if most is not None and count > most else None

    return within


def language(codes: str | Mapping[str, str]) -> Filter:
    """It is written in the letters of a language, but for a few.

    Args:
        codes: ``en`` or ``zh``; or one for each captioner, by name. Who is not named may write in
            any.
    """
    stated = [codes] if isinstance(codes, str) else [*codes.values()]
    if not stated or not {*stated} <= _SCRIPTS.keys():
        raise TypeError(f"is none of {', '.join(_SCRIPTS)}")

    def written(caption: Caption) -> str | None:
        code = codes if isinstance(codes, str) else codes.get(caption.captioner)
        if code is None:
            return None
        share = words.share_of_script(caption.text, _SCRIPTS[code])
        return None if share >= _SHARE else f"{share:.0%} of its letters are {code}"

    return written


def polarity(attribute: str) -> Filter:
    """It is as glad or sad as its video is annotated; where nothing is annotated, it is kept.

    Args:
        attribute: of the video: a number above 0 is glad, below 0 sad, as CH-SIMS' ``label`` is.
    """
    if not isinstance(attribute, str):
        raise TypeError("is no name of an attribute")

    def agrees(caption: Caption) -> str | None:
        try:
            value = float(caption.attributes.get(attribute, ""))
        except ValueError:
            return None
        if math.isnan(value):
            return None
        annotated, says = (value > 0) - (value < 0), words.polarity(caption.text)
        if annotated == says:
            return None
        return f"{_SIGNS[says]}, but {attribute} is {value:g}"

    return agrees


def captioners_agree(share: float) -> Filter:
    """Another captioner wrote of the same clip with about as many of the same words.

    And nothing that is glad where this one is sad, or the other way around.

    Args:
        share: of the words of both, how many both have, at least (0 to 1).
    """
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise TypeError("is no share from 0 to 1")

    def agree(caption: Caption) -> str | None:
        mine = words.polarity(caption.text)
        friends = [text for text in caption.others.values() if mine * words.polarity(text) >= 0]
        if not friends:
            return "the others say the opposite" if caption.others else "no other has a caption"
        most = max(words.alike(caption.text, text) for text in friends)
        return None if most >= share else f"{most:.0%} of the words are shared"

    return agree


LABEL_FOUND = "label_found"
FILTERS: Mapping[str, Filter] = {
    LABEL_FOUND: label_found, "mentions_person": mentions_person, "refusal": refusal
}  # fmt: skip
MAKERS: Mapping[str, Callable[..., Filter]] = {
    "captioners_agree": captioners_agree,
    "language": language,
    "length": length,
    "polarity": polarity,
}


def made_filters(
    named: Sequence[Named], where: str = "augment.filters"
) -> list[tuple[str, Filter]]:
    """The filters of a config, in order, each with its name.

    Raises:
        ConfigError: there is no such filter, or its argument is none.
    """
    made = [(one, find_made(one, FILTERS, MAKERS, where)) for one in named]
    return [(one if isinstance(one, str) else next(iter(one)), keeps) for one, keeps in made]


def dropped_by(caption: Caption, filters: Sequence[tuple[str, Filter]]) -> tuple[str, str] | None:
    """The name of the first filter that drops a caption, and why; None where all keep it.

    Raises:
        ConfigError: a filter failed on it; one of the user's own may do anything.
    """
    for name, drops in filters:
        try:
            why = drops(caption)
        except Exception as error:
            wrote = f"what {caption.captioner} wrote, {caption.text[:_TOLD]!r}"
            problem = f"fails with {type(error).__name__}: {error}, on {wrote}"
            where = f"augment.filters: {name}"
            raise ConfigError(where, problem, "mend it, or leave it out") from error
        if why is not None:
            return name, why
    return None
