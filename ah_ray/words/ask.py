"""Groups of synonyms by a text model: who is asked, and what its replies say. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from ah_ray.engines.config import ScoreConfig
from ah_ray.models.config import ModelConfig
from ah_ray.tasks.lists import plain, tidy, words_chosen, words_stated
from ah_ray.yaml_objects import Count, Frozen

Groups = tuple[tuple[str, ...], ...]

_BRACKETS = re.compile(r"\[([^][]*)\]")  # lists that hold no other one


class GroupsConfig(Frozen):
    """Who groups words; see ``jobs/groups.yaml``.

    Attributes:
        model: a text model.
        task: whose prompt has ``{subtitle}`` where the words shall stand.
        prompt: which wording of it.
        max_new_tokens: the longest reply.
        score: the engine and its resources.
    """

    model: ModelConfig
    task: str = "word_groups"
    prompt: str = "short"
    max_new_tokens: Count = 512
    score: ScoreConfig = ScoreConfig()


def to_ask(said: Iterable[Collection[str]]) -> list[str]:
    """The words to ask about, in lower case and sorted, of what several sources say of a video."""
    return sorted({word.strip().lower() for words in said for word in words} - {""})


def groups_in(text: str, words: Collection[str]) -> Groups | None:
    """The groups that a reply states, and each word that it leaves out alone.

    A line is a group; so is a list in brackets. What was not asked about is no word, and a word
    that stands in two groups is in the first: each word is in one group of the result, which is
    sorted.

    Args:
        text: the reply.
        words: that were asked about, as ``to_ask`` gives them.

    Returns:
        None when it names none of the words: then it says nothing of them.
    """
    known = {tidy(word): word for word in words}
    found: list[tuple[str, ...]] = []
    for parts in _lists(plain(text)):
        group = [known.pop(part) for part in dict.fromkeys(map(tidy, parts)) if part in known]
        if group:
            found.append(tuple(sorted(group)))
    if not found:
        return None
    return tuple(sorted([*found, *((word,) for word in known.values())]))


def _lists(text: str) -> list[list[str]]:
    """The lists in brackets, then those in lines."""
    inside = [words_chosen([part]) for part in _BRACKETS.findall(text)]
    stated = (words_stated(line) for line in _BRACKETS.sub("", text).splitlines())
    return inside + [of_line.words for of_line in stated if of_line is not None]
