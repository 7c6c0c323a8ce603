"""Who is meant by a participant's id, however it is spelled. A pure function.

Spreadsheets and scripts write one person's id in several ways: with another letter case, blanks,
leading zeros, ``7.0`` for ``7``, or an ``é`` of two characters.
"""

from __future__ import annotations

import re
import unicodedata

_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
_WHOLE = re.compile(r"(\d+)\.0+")


def person(participant_id: str) -> str:
    """One spelling for all spellings of an id; whoever has the same one is taken for one person.

    >>> {person(id) for id in ("P07", "p7", " P 007 ")}, person("7.0"), person("1.05")
    ({'p7'}, '7', '1.05')
    """
    text = _simpler(participant_id)
    while (again := _simpler(text)) != text:  # what was removed may have kept an accent apart
        text = again
    return text


def _simpler(text: str) -> str:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = "".join(
        c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")
    )
    text = _LEADING_ZEROS.sub("", text)
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text
