"""Lists of words, as models and archives write them. Pure functions.

| form | such as |
| --- | --- |
| brackets, with or without quotes | ``[happy, sad]``, ``['happy', 'sad']`` |
| JSON | ``["happy"]``, ``{"emotions": ["happy"]}`` |
| commas, ASCII or Chinese, semicolons, "and" | ``happy, sad and calm`` |
| lines, with bullets or numbers or without | ``- happy`` |

Before a list may stand "Answer:" or a clause such as "The emotions are", around it a code fence.
``[]`` is a list without words. Whatever else there is makes a text prose, which is never guessed
at: a part that is no word, such as a sentence, a refusal, "none", or brackets that do not close.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

_BETWEEN = re.compile(r"[,;\n\N{IDEOGRAPHIC COMMA}]|(?<!\S)(?:and|&)(?!\S)")
_BULLET = re.compile(
    r"^[ \t]*(?:[-+*\N{BULLET}\N{MIDDLE DOT}\N{EN DASH}]\s"
    r"|\(?\d{1,2}[.)\N{IDEOGRAPHIC COMMA}](?!\d))\s*",
    re.MULTILINE,
)
_FENCE = re.compile(r"```\w*\s(.*)```", re.DOTALL)
_LISTED = r"(?:answer|emotion|emotional state|feeling|label|mood|word)s?"
_CLAUSE = re.compile(
    rf"(?:[\w' -]{{0,60}} )?{_LISTED}(?: [\w' -]{{0,40}}?)?\s*(?:\b(?:is|are|include)\b\s*:?|:)\s*"
    r"|[^\s,.:\u3002]{0,10}(?:情绪|情感|心情|标签|答案)(?:状态|标签|词)?(?:(?:是|为|包括):?|:)\s*"
)
_QUOTES = str.maketrans(
    "\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u300e\u300f\u3010\u3011",
    "''" + '"' * 9 + "[]",
)
_AROUND = " \t\r\n\"'`*_"  # a word, in a list
_MARKS = f"{_AROUND}.!\u2026\u3002-\N{EN DASH}\N{EM DASH}"

_MOST_WORDS = 4  # of one label; what is longer is a sentence
_MOST_IDEOGRAPHS = 8  # the same in Chinese, which has no blanks
_LONGEST = 60  # characters of one label
_WITHIN = frozenset(" '-+")  # beside letters, marks and numbers
_NO = r"cannot|no|none|not|nothing|nan|null|sorry|unable|unclear|unfortunately|unknown|[\w']+n't"
_SENTENCES = (
    r"am|appears|are|be|because|been|but|can|could|did|do|does|feels|had|has|have|he|her|him|his"
    r"|i|i'm|if|is|it|it's|its|looks|may|might|my|or|our|seems|she|should|shows|that|the|their"
    r"|them|there|these|they|this|those|to|us|was|we|were|what|which|while|who|will|with|would"
    r"|you|your|character|man|people|person|someone|speaker|woman"
)
# What stands in sentences and in no label.
_REFUSAL = re.compile(rf"(?<!\S)(?:{_NO})(?!\S)")
_PROSE = re.compile(rf"(?<!\S)(?:{_NO}|{_SENTENCES})(?!\S)")
_CHINESE_PROSE = re.compile("[我他她它这那]|无法|不能|没有|抱歉|对不起|不确定|不知")


def words_stated(text: str) -> list[str] | None:
    """The parts of a list in lower case, quotes and bullets taken off; None where there is none.

    Args:
        text: the whole of it.
    """
    text = plain(text)
    if clause := _CLAUSE.match(text):
        if _REFUSAL.search(clause[0]):
            return None
        text = text[clause.end() :]
    if fence := _FENCE.fullmatch(text):
        text = fence[1].strip()
    if text[:1] in ("[", "{"):
        return _bracketed(text)
    return _parts(_BULLET.sub("", text)) or None


def listed(labels: Iterable[str]) -> str:
    """Labels as a list, sorted: for people, and for members that read; ``[]`` for none.

    >>> listed({"sad", "calm"})
    'calm, sad'
    """
    return ", ".join(sorted(labels)) or "[]"


def tidy(word: str) -> str:
    """A word as it is compared: compatibility forms and case folded, marks around it taken off."""
    return " ".join(plain(word).split()).strip(_MARKS)


def is_word(label: str) -> bool:
    """Whether a tidy label is a word, or a few that are no sentence."""
    kinds = [unicodedata.category(letter)[0] for letter in label]
    return (
        is_short(label)
        and all(kind in "LMN" or sign in _WITHIN for kind, sign in zip(kinds, label, strict=True))
        and not _PROSE.search(label)
        and not _CHINESE_PROSE.match(label)
    )


def is_short(label: str) -> bool:
    """Whether a tidy label has letters, and no more words and characters than a label has."""
    return (
        any(letter.isalpha() for letter in label)
        and len(label) <= _LONGEST
        and len(label.split()) <= _MOST_WORDS
        and sum("\u4e00" <= letter <= "\u9fff" for letter in label) <= _MOST_IDEOGRAPHS
    )


def plain(text: str) -> str:
    """A text in compatibility forms, case folded, with ASCII quotes and no blanks around it."""
    # Twice: what folding case makes of a letter may have a compatibility form again.
    for _ in range(2):
        text = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", text).translate(_QUOTES).replace("**", "").strip()


def _bracketed(text: str) -> list[str] | None:
    """The parts of a list in brackets, which is the whole text."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        inside = re.fullmatch(r"\[([^][]*)\]\.?", text)
        return None if inside is None else _parts(inside[1])
    if isinstance(value, dict) and len(value) == 1 and re.fullmatch(_LISTED, next(iter(value))):
        (value,) = value.values()
    if not (isinstance(value, list) and all(isinstance(part, str) for part in value)):
        return None
    return [word for part in value for word in _parts(part)]


def _parts(text: str) -> list[str]:
    return [word for part in _BETWEEN.split(text) if (word := part.strip(_AROUND))]
