"""An emotion wheel: which words are the same feeling, at two levels. Pure functions.

A wheel orders words into classes (level 1), their children (level 2) and the words of these (level
3). Synonyms lead from more words to those of the wheels, and inflected forms to both. The rule,
that of the emotion-wheel metric of MER2025, for a word, a wheel and a level:

1. its base words are those that have it as a form;
2. each base word stands for the words of the wheels that it is a synonym of, or is;
3. of these, in the order of the alphabet, the first that is in the wheel decides: the class is the
   word of that level above it. A word of level 1 has, at level 2, the first of its children in the
   alphabet. A word that is in a wheel several times is where it stands last.

What leads nowhere has no class.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from itertools import chain
from typing import Annotated

from pydantic import Field

from ah_ray.yaml_objects import Frozen

LEVELS = ("1", "2")

#: The words of level 1, below each those of level 2, below these those of level 3.
Wheel = dict[str, Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]]


class Wheels(Frozen):
    """One or more wheels, and the words that lead to theirs. All words are in lower case.

    Attributes:
        wheels: by name.
        synonyms: other words for a word of a wheel.
        forms: inflected forms of a word; every word is one of its own.
    """

    wheels: dict[str, Wheel] = Field(min_length=1)
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    forms: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @cached_property
    def classes(self) -> dict[str, dict[str, dict[str, str]]]:
        """Of each wheel and level, the class of every word that has one."""
        words = self._leads_to
        return {
            name: {
                level: {
                    word: clusters[first]
                    for word, wheel_words in words.items()
                    if (first := next((w for w in wheel_words if w in clusters), None)) is not None
                }
                for level, clusters in zip(LEVELS, _clusters(wheel), strict=True)
            }
            for name, wheel in self.wheels.items()
        }

    @cached_property
    def _leads_to(self) -> dict[str, list[str]]:
        """The words of wheels that each word stands for, in the order of the alphabet."""
        means = defaultdict(set)  # of a base word
        for word in chain.from_iterable(map(_words, self.wheels.values())):
            means[word].add(word)
        for word, synonyms in self.synonyms.items():
            for synonym in synonyms:
                means[synonym].add(word)
        bases = defaultdict(set)  # of a form
        for base in means:
            bases[base].add(base)
        for base, forms in self.forms.items():
            for form in forms:
                bases[form].add(base)
        return {
            form: sorted({word for base in found for word in means.get(base, ())})
            for form, found in bases.items()
        }


def _words(wheel: Wheel) -> set[str]:
    return {
        word
        for first, children in wheel.items()
        for second, third in children.items()
        for word in (first, second, *third)
    }


def _clusters(wheel: Wheel) -> tuple[dict[str, str], dict[str, str]]:
    """The class of each word of a wheel, at level 1 and at level 2."""
    top: dict[str, str] = {}
    below: dict[str, str] = {}
    for first, children in wheel.items():
        top[first], below[first] = first, min(children)
        for second, third in children.items():
            top |= dict.fromkeys((second, *third), first)
            below |= dict.fromkeys((second, *third), second)
    return top, below
