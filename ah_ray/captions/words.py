"""What is read off the words of a caption, in English and Chinese. Pure functions.

The lists are small and our own: enough to tell glad from sad, and a person from a landscape.
"""

from __future__ import annotations

import re
import unicodedata

# A word between blanks, or a character of a script that is written without them.
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+(?:['-][^\W_{_HAN}]+)*")

_GLAD = """
amused calm cheerful comfortable confident delight delighted enjoy enjoying enjoys enthusiastic
excited excitement friendly glad grateful happily happiness happy hopeful joy joyful laugh laughing
laughs love loving optimistic peaceful pleasant pleased proud relaxed relieved satisfied smile
smiles smiling warm
"""
_SAD = """
afraid anger angrily angry annoyed anxiety anxious ashamed bitter bored cries cry crying depressed
despair disappointed disgust disgusted distressed embarrassed fear fearful frown frowning frowns
frustrated furious grief guilty helpless hostile hurt irritated lonely miserable nervous pain panic
sad sadness scared shouting sorrow sorrowful tears tense terrified uneasy unhappy upset worried
worry
"""
_POSITIVE, _NEGATIVE = frozenset(_GLAD.split()), frozenset(_SAD.split())
_POSITIVE_HAN = re.compile(
    "快乐|高兴|开心|喜悦|愉快|微笑|笑容|欢笑|兴奋|满意|幸福|轻松|感激|自豪|温暖|平静"
)
_NEGATIVE_HAN = re.compile(
    "悲伤|难过|伤心|愤怒|生气|恐惧|害怕|焦虑|担心|担忧|失望|厌恶|痛苦|沮丧|紧张|哭泣|流泪|绝望|烦躁|委屈"
)
_NOT = frozenset({"no", "not", "never", "without", "neither", "nor", "hardly"})
_REACH = 2  # words before one that a negation may stand in
_NOT_HAN = re.compile(r"[不没无未非](?:有|是|太|很|感到)?\Z")

_PERSON = re.compile(
    r"\b(?:adults?|boys?|characters?|child|children|couple|crowd|face|girls?|he|her|him|his|human|"
    r"individuals?|lad(?:y|ies)|m[ae]n|people|persons?|she|speakers?|their|they|wom[ae]n)\b"
    "|[人男女他她孩脸]"
)
_REFUSAL = re.compile(
    r"\b(?:i|we)(?: am|'m| are|'re)? (?:\w+ly )?(?:sorry|unable|not able|cannot|can't|can not|"
    r"won't|apologi[sz]e|do not have access|don't have access)\b"
    r"|\bas an? (?:ai|language model|artificial)|\A\W*sorry\b"
    r"|\A\W*(?:很|非常)?(?:抱歉|对不起)|我(?:无法|不能)|作为(?:一个)?(?:人工智能|语言模型|ai)"
)


def plain(text: str) -> str:
    """``text`` in lower case, in one form of each character and of the apostrophe."""
    return (
        unicodedata.normalize("NFKC", text)
        .casefold()
        .replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )


def tokens(text: str) -> list[str]:
    """The words of a text in lower case; of Chinese, its characters.

    >>> tokens("She's glad. 她笑了")
    ["she's", 'glad', '她', '笑', '了']
    """
    return _TOKEN.findall(plain(text))


def mentions_person(text: str) -> bool:
    """Whether a text speaks of somebody."""
    return bool(_PERSON.search(plain(text)))


def refuses(text: str) -> bool:
    """Whether its writer says that they cannot answer."""
    return bool(_REFUSAL.search(plain(text)))


def polarity(text: str) -> int:
    """Whether a text has more glad words (1) than sad ones (-1), or as many (0).

    A word after a negation counts for the other side.

    >>> polarity("The man smiles."), polarity("He is not happy."), polarity("她很悲伤")
    (1, -1, -1)
    """
    words = tokens(text)
    balance = 0
    for place, word in enumerate(words):
        says = (word in _POSITIVE) - (word in _NEGATIVE)
        denied = not _NOT.isdisjoint(words[max(0, place - _REACH) : place])
        balance += -says if denied else says
    whole = plain(text)
    for pattern, says in ((_POSITIVE_HAN, 1), (_NEGATIVE_HAN, -1)):
        for found in pattern.finditer(whole):
            balance += -says if _NOT_HAN.search(whole[: found.start()]) else says
    return (balance > 0) - (balance < 0)


def share_of_script(text: str, script: str) -> float:
    """The share of a text's letters whose names in Unicode begin with ``script``; 0 of none."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum(unicodedata.name(letter, "").startswith(script) for letter in letters) / max(
        len(letters), 1
    )


def alike(one: str, other: str) -> float:
    """The share of the words of two texts that both have, of all that either has; 0 to 1."""
    first, second = set(tokens(one)), set(tokens(other))
    return len(first & second) / max(len(first | second), 1)
