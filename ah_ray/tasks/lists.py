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
In brackets a label may hold "and", or be longer: "looking forward to" is prose without.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

_COMMA = re.compile(r"[,;\n\N{IDEOGRAPHIC COMMA}]")
_BETWEEN = re.compile(rf"{_COMMA.pattern}|(?<!\S)(?:and|&)(?!\S)")
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
_WITHIN = " '-+"  # beside letters, marks and numbers
_NONE = r"nan|no|none|not|nothing|null|unclear|unknown"
_REFUSES = r"cannot|sorry|unable|unfortunately|[\w']+n't"
_SAYS = r"am|are|can|could|he|i|i'm|is|it|it's|she|they|was|we|were|you"
_IN_SENTENCES = (
    r"appears|be|because|been|but|did|do|does|feels|had|has|have|her|him|his|if|its|looks|may"
    r"|might|my|or|our|seems|should|shows|that|the|their|them|there|these|this|those|to|us|what"
    r"|which|while|who|will|with|would|your|character|man|people|person|someone|speaker|woman"
)
_REFUSAL = re.compile(rf"(?<!\S)(?:{_NONE}|{_REFUSES})(?!\S)")
# What stands in no label: of any text, and of a list in brackets.
_PROSE = re.compile(rf"(?<!\S)(?:{_NONE}|{_REFUSES}|{_SAYS}|{_IN_SENTENCES})(?!\S)")
_CLEARLY_PROSE = re.compile(rf"\A(?:{_NONE})\Z|(?<!\S)(?:{_REFUSES}|{_SAYS})(?!\S)")
_CHINESE_PROSE = re.compile("[我他她它这那]|无法|不能|没有|抱歉|对不起|不确定|不知")


class Stated(NamedTuple):
    """What a text lists.

    Attributes:
        words: in lower case, without quotes and bullets.
        chosen: whether brackets say where each begins and ends.
    """

    words: list[str]
    chosen: bool

    def valid(self, label: str) -> bool:
        """Whether one of the words, made tidy, is a label."""
        return is_chosen(label) if self.chosen else is_word(label)


def words_stated(text: str) -> Stated | None:
    """The list that a text is; None where it is none. Its words may yet be prose (``valid``)."""
    text = plain(text)
    if clause := _CLAUSE.match(text):
        if _REFUSAL.search(clause[0]):
            return None
        text = text[clause.end() :]
    if fence := _FENCE.fullmatch(text):
        text = fence[1].strip()
    if text[:1] in ("[", "{"):
        words = _bracketed(text)
        return None if words is None else Stated(words, chosen=True)
    words = _parts(_BETWEEN, _BULLET.sub("", text))
    return Stated(words, chosen=False) if words else None


def words_chosen(parts: Iterable[object]) -> list[str]:
    """The words of a list that is one already, as those of a text that is stated in brackets."""
    return [word for part in parts for word in _parts(_COMMA, plain(str(part)))]


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
    return _has_letters(label, _WITHIN) and not _PROSE.search(label)


def is_chosen(label: str) -> bool:
    """The same of a label in a list in brackets."""
    return _has_letters(label, f"{_WITHIN}&/") and not _CLEARLY_PROSE.search(label)


def _has_letters(label: str, others: str) -> bool:
    kinds = [unicodedata.category(letter)[0] for letter in label]
    return (
        is_short(label)
        and all(kind in "LMN" or sign in others for kind, sign in zip(kinds, label, strict=True))
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
        return None if inside is None else words_chosen([inside[1]])
    if isinstance(value, dict) and len(value) == 1 and re.fullmatch(_LISTED, next(iter(value))):
        (value,) = value.values()
    if not (isinstance(value, list) and all(isinstance(part, str) for part in value)):
        return None
    return words_chosen(value)


def _parts(between: re.Pattern[str], text: str) -> list[str]:
    return [word for part in between.split(text) if (word := part.strip(_AROUND))]
