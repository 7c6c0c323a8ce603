"""The keywords of a text, in English and Chinese, and how much two texts share. Pure functions.

A keyword is a word of three letters or more that is none of a short list of our own of words that
stand in any text; in Chinese, which has no blanks, a pair of neighbouring characters.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from ah_ray.captions.words import plain

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_HAN_RUN = re.compile(rf"[{_HAN}]+")
_WORD = re.compile(rf"[^\W\d_{_HAN}]{{3,}}")
_FILLERS = """
about also although and another any are because been being both but can clip could did does each
either every for from had has have having her hers him his how into its itself main may might more
most much not nor one only other our over perhaps person seem seems shall she should show showing
shows since some still such than that the their them then there these they this those though through
too under until very video was were what when where whether which while who whom whose why will with
within without would yet you your
"""
_IN_ANY_TEXT = frozenset(_FILLERS.split())


class Shared(NamedTuple):
    """How much the keywords of two texts share, each 0 to 1."""

    precision: float
    recall: float
    f1: float


def keywords(text: str) -> frozenset[str]:
    """The keywords of a text, in lower case.

    >>> sorted(keywords("The man FROWNS and his voice trembles")), sorted(keywords("他很难过"))
    (['frowns', 'man', 'trembles', 'voice'], ['他很', '很难', '难过'])
    """
    text = plain(text)
    words = frozenset(_WORD.findall(text)) - _IN_ANY_TEXT
    return words | {a + b for run in _HAN_RUN.findall(text) for a, b in pairwise(run)}


def shared(text: str, reference: str) -> Shared | None:
    """How much of a text is in a reference (precision), and of this in the text (recall).

    With K the keywords: |K(text) & K(reference)| / |K(text)|, the same over |K(reference)|, and F1,
    twice the first over both. A text without keywords shares nothing.

    Returns:
        None where the reference has no keywords.
    """
    mine, theirs = keywords(text), keywords(reference)
    if not theirs:
        return None
    both = len(mine & theirs)
    return Shared(
        both / max(len(mine), 1), both / len(theirs), 2 * both / (len(mine) + len(theirs))
    )
