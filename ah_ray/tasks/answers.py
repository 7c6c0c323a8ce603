"""What a reply can say: one of several options, a set of words, or text.

An answer is a set of labels, and text. Each kind says how it is written and read, what the words of
an archive mean, and how votes for its labels become a decision; nobody else asks which kind it is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ah_ray.tasks.lists import is_short, listed, tidy, words_chosen, words_stated
from ah_ray.tasks.policies import POLICIES
from ah_ray.yaml_objects import Count

LabelSet = frozenset[str]

SLOT, WHY = "{answer}", "{explanation}"

# How archives spell that something is there, and that it is not.
_PRESENT = frozenset({"1", "1.0", "yes", "true", "y"})
_ABSENT = frozenset({"0", "0.0", "no", "false", "n"})

NO_WORDS: Mapping[str, str] = MappingProxyType({})


class Reading(NamedTuple):
    """What a reply says.

    Attributes:
        labels: that it gives.
        text: for people, or for a member that reads it.
    """

    labels: LabelSet
    text: str = ""


def _translated(word: str, words: Mapping[str, str]) -> Sequence[str]:
    """A word of an archive in those of the task, of which there may be several."""
    if word not in words:
        return [word]
    stated = words_stated(words[word])
    return stated.words if stated else ()


class Candidate(NamedTuple):
    """A label that could be decided for, and how likely it is."""

    label: str
    chance: float


class _Kind(BaseModel):
    # Not ``Frozen``: what tells the kinds apart must not have a validator before it.
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Reply(_Kind):
    reply: str = SLOT

    @field_validator("reply")
    @classmethod
    def _has_slot(cls, value: str) -> str:
        if value.count(SLOT) != 1:
            raise ValueError(f"must contain {SLOT} exactly once")
        return value


class Choice(_Reply):
    """One of several options.

    Attributes:
        options: in order: the first is what is looked for.
        absent: the option that says that it is not there, if one does. It is true of a whole video
            and the others of moments of it, which an archive annotates as intervals.
        reply: the whole reply, with ``{answer}`` in the place of the option.
        explanation: what else a reply has, with ``{explanation}`` in the place of a text that says
            why; after something that it is told by. Null for a reply without any.
    """

    kind: Literal["choice"]
    votes: ClassVar[bool] = True
    options: Annotated[tuple[str, ...], Field(min_length=2)]
    absent: str | None = None
    explanation: str | None = None

    @field_validator("options", mode="before")
    @classmethod
    def _are_words(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and any(isinstance(word, bool) for word in value):
            raise ValueError('Yes and No are true and false in YAML: write them as "Yes" and "No"')
        return value

    @field_validator("absent", mode="before")
    @classmethod
    def _is_a_word(cls, value: Any) -> Any:
        return cls._are_words([value])[0]

    @field_validator("options")
    @classmethod
    def _differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        folded = [word.strip().casefold() for word in value]
        for word, simple in zip(value, folded, strict=True):
            if not simple or word != word.strip() or SLOT in word:
                raise ValueError(f"{word!r} is no word to answer with")
            if folded.count(simple) > 1:
                raise ValueError(f"{word!r} is there twice")
            if simple in POLICIES:
                raise ValueError(f"{word!r} is what a policy of reduce is called")
        return value

    @field_validator("explanation")
    @classmethod
    def _is_told_by_something(cls, value: str | None) -> str | None:
        if value is not None and (value.count(WHY) != 1 or not value.partition(WHY)[0].strip()):
            raise ValueError(f"must contain {WHY} exactly once, and something before it")
        return value

    @model_serializer(mode="wrap")
    def _in_use(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an explanation that there is none of: answers from before it are the same."""
        values: dict[str, Any] = serialize(self)
        return {k: v for k, v in values.items() if (k, v) != ("explanation", None)}

    @model_validator(mode="after")
    def _absent_is_an_option(self) -> Choice:
        if self.absent is not None and self.absent not in self.options[1:]:
            problem = f"absent is {self.absent!r}, which is none of the options after the first"
            raise ValueError(problem)
        return self

    @property
    def rules(self) -> tuple[str, str]:
        """Clips to video, members to verdict, where nobody states rules."""
        return ("first", "most") if self.absent else ("most", "most")

    def write(self, reading: Reading) -> str:
        """The reply that gives the one label of ``reading``, and explains it where that does."""
        (label,) = reading.labels
        reply = self.reply.replace(SLOT, label)
        if self.explanation is None or not reading.text:
            return reply
        return f"{reply}\n{self.explanation.replace(WHY, reading.text)}"

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        before, after = (part.casefold() for part in self.reply.split(SLOT))
        words = "|".join(map(re.escape, sorted(self._folded, key=len, reverse=True)))
        # A word stands alone, but for letters of the reply itself.
        start = "" if re.search(r"\w\Z", before) else r"(?<!\w)"
        end = "" if re.match(r"\w", after) else r"(?!\w)"
        option = rf"\s*{start}({words}){end}\s*"
        return re.compile(re.escape(before) + option + re.escape(after))

    def read(self, text: str) -> Reading | None:
        """What ``text`` states, or None when it does not state exactly one option.

        The reply may stand anywhere in the text, in any letter case; a text that gives two
        answers states neither. The explanation, which no answer is looked for in, may be missing.

        >>> answer = Choice(kind="choice", options=("Yes", "No"), reply="<a>{answer}</a>")
        >>> answer.read("I think <a> yes </a>")
        Reading(labels=frozenset({'Yes'}), text='')
        """
        reasons: set[str] = set()
        if self._explained is not None:
            reasons = {
                stripped for why in self._explained.findall(text) if (stripped := why.strip())
            }
            text = self._explained.sub("\n", text)
        stated = {self._folded[word] for word in self._pattern.findall(text.casefold())}
        why = reasons.pop() if len(reasons) == 1 else ""
        return Reading(frozenset(stated), why) if len(stated) == 1 else None

    @property
    def explains(self) -> bool:
        """Whether a reply says why, so that it is written and not weighed."""
        return self.explanation is not None

    @cached_property
    def _explained(self) -> re.Pattern[str] | None:
        """Finds the explanation; one that does not end is cut off where the text is."""
        if self.explanation is None:
            return None
        before, after = (re.escape(part.strip()) for part in self.explanation.split(WHY))
        end = rf"(?:{after}|\Z)" if after else r"\Z"
        return re.compile(rf"{before}(.*?){end}", re.DOTALL | re.IGNORECASE)

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {option.casefold(): option for option in self.options}

    def meant(self, value: object, words: Mapping[str, str] = NO_WORDS) -> LabelSet | None:
        """The label that an archive states with ``value``; None when it is none of the options.

        Where there are two, 1, yes, true and y are the first, 0, no, false and n the last.

        Args:
            value: as it stands there.
            words: those of the archive in lower case (``casefold``), and for each the task's.
        """
        if isinstance(value, list | tuple) and len(value) == 1:
            (value,) = value
        word = str(value).strip().casefold()
        word = words.get(word, word).strip().casefold()
        if word in self._folded:
            return frozenset({self._folded[word]})
        if len(self.options) == 2 and word in _PRESENT | _ABSENT:
            return frozenset({self.options[word in _ABSENT]})
        return None

    def advice(self, value: object) -> str:
        """What to write instead of ``value``."""
        word = value.strip().casefold() if isinstance(value, str) else ""
        near = difflib.get_close_matches(word, self._folded, 1)
        hint = f"did you mean {self._folded[near[0]]}? " if near else ""
        return f"{hint}a label is one of {', '.join(self.options)}"

    def rank(self, label: str) -> tuple[int, str]:
        """Sorts labels: in order of the options."""
        known = label in self.options
        return self.options.index(label) if known else len(self.options), label

    def most(self, votes: Mapping[str, int], voters: int) -> int:
        """How many votes are most: as many as no other option has more of."""
        return max(1, *votes.values())

    def settle(self, reached: Sequence[Candidate], tie: str) -> LabelSet | None:
        """The one label that is decided for, of those with votes enough; None for undecided.

        Args:
            reached: they.
            tie: what decides between several: ``score`` (the largest chance; of equal ones the
                earlier option), ``undecided``, or an option.
        """
        if len(reached) > 1 and tie != "score":
            return None if tie == "undecided" else frozenset({tie})
        best = min(reached, key=lambda one: (-one.chance, self.rank(one.label)), default=None)
        return None if best is None else frozenset({best.label})


class Labels(_Reply):
    """Any number of words; also none.

    Attributes:
        reply: the whole reply, with ``{answer}`` in the place of the words, commas between them;
            brackets around it are part of the list.
        max_labels: of one answer. A reply with more words, be they the same, is a model that does
            not stop, and unparseable.
    """

    kind: Literal["labels"]
    max_labels: Count = 16

    votes: ClassVar[bool] = True
    explains: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()
    absent: ClassVar[None] = None

    @property
    def rules(self) -> tuple[Any, Any]:
        """Clips to video, members to verdict, where nobody states rules."""
        return "any", "any"

    @cached_property
    def _around(self) -> tuple[bool, str, str]:
        """Whether the list stands in brackets, and what is before and after it."""
        brackets = f"[{SLOT}]" in self.reply
        before, after = self.reply.split(f"[{SLOT}]" if brackets else SLOT)
        return brackets, before, after

    def write(self, reading: Reading) -> str:
        """The reply that gives the labels of ``reading``, sorted; ``[]`` where there are none."""
        brackets, before, after = self._around
        words = listed(reading.labels)
        if brackets or self.meant(words) != reading.labels:  # some read so in brackets alone
            words = f"[{words.strip('[]')}]"
        return before + words + after

    def read(self, text: str) -> Reading | None:
        """The words in ``text``; None when it is no list of words, or there are two that differ.

        See ``lists``.

        >>> sorted(Labels(kind="labels").read("The emotions are Happy and a bit sad.").labels)
        ['a bit sad', 'happy']
        """
        stated = {self.meant(found) for found in self._pattern.findall(text.casefold())}
        labels = stated.pop() if len(stated) == 1 else None
        return None if labels is None else Reading(labels)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        before, after = (
            re.escape(part.strip().casefold()) or edge
            for part, edge in zip(self._around[1:], (r"\A", r"\Z"), strict=True)
        )
        return re.compile(rf"{before}(.*?){after}", re.DOTALL)

    def meant(self, value: object, words: Mapping[str, str] = NO_WORDS) -> LabelSet | None:
        """The words of a list, or of a text that is one (``lists``); None when they are none.

        Those of a list somebody chose: it may hold any that are short.

        Args:
            value: as it stands there.
            words: see ``Choice.meant``; what they translate to may be a list, too.
        """
        valid: Callable[[str], bool] = is_short
        if isinstance(value, list | tuple):
            parts = words_chosen(value)
        elif stated := words_stated(str(value)):
            parts, valid = stated.words, stated.valid
        else:
            return None
        labels = [tidy(word) for part in parts for word in _translated(part, words)]
        if len(labels) > self.max_labels or not all(map(valid, labels)):
            return None
        return frozenset(labels)

    def advice(self, value: object) -> str:
        """What to write instead of ``value``."""
        return f"labels are at most {self.max_labels} words with commas between them, [] for none"

    def rank(self, label: str) -> tuple[int, str]:
        """Sorts labels: by the alphabet."""
        return 0, label

    def most(self, votes: Mapping[str, int], voters: int) -> int:
        """How many votes are most: more than half."""
        return voters // 2 + 1

    def settle(self, reached: Sequence[Candidate], tie: str) -> LabelSet | None:
        """All labels with votes enough; there may be none."""
        return frozenset(candidate.label for candidate in reached)


class Text(_Kind):
    """Text alone: for people, or for a member that reads it. It has no vote."""

    kind: Literal["text"]

    votes: ClassVar[bool] = False
    explains: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()
    absent: ClassVar[None] = None
    reply: ClassVar[str] = SLOT

    @property
    def rules(self) -> tuple[Any, Any]:
        """Nothing is voted on."""
        return "any", "any"

    def write(self, reading: Reading) -> str:
        """The text."""
        return reading.text

    def read(self, text: str) -> Reading | None:
        """The text without blanks around it; None when there is none."""
        return Reading(frozenset(), text.strip()) if text.strip() else None

    def meant(self, value: object, words: Mapping[str, str] = NO_WORDS) -> LabelSet | None:
        """No word of an archive is a label."""
        return None

    def advice(self, value: object) -> str:
        """What to write instead of ``value``."""
        return "a task whose answer is text has no labels"

    def rank(self, label: str) -> tuple[int, str]:
        """Sorts labels, of which there are none."""
        return 0, label

    def most(self, votes: Mapping[str, int], voters: int) -> int:
        """Nothing is voted on."""
        return 1

    def settle(self, reached: Sequence[Candidate], tie: str) -> LabelSet | None:
        """Nothing is decided."""
        return None


Answer = Annotated[Choice | Labels | Text, Field(discriminator="kind")]
