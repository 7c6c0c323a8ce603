"""How replies that were written are read: strictly, or as a published evaluation has read them.

A parser is made of the answer of a task and reads a reply. ``strict`` is the answer's own reading;
what else is here stands for comparison with published figures alone, and its fault is told.
"""

from __future__ import annotations

from collections.abc import Callable

from ah_ray.errors import ConfigError
from ah_ray.names import find
from ah_ray.tasks.answers import Answer, Reading

#: From a reply to what it says; None where it says nothing.
Reader = Callable[[str], Reading | None]

STRICT = "strict"
_WORRIED = "worried"


def strict(answer: Answer) -> Reader:
    """What the answer itself reads in a reply."""
    return answer.read


def mer2024(answer: Answer) -> Reader:
    """The option that is last in the alphabet, of those that stand anywhere in a reply.

    ``worried`` where none does. So the evaluation that goes with Emotion-Qwen reads replies about
    MER2024. Its fault: every reply is an answer. "Not sad" is sad, "unhappy" is happy, who names
    all emotions or refuses is worried.

    Raises:
        ConfigError: ``worried`` is no option.
    """
    if _WORRIED not in answer.options:
        problem = f"mer2024 takes a reply without any option for {_WORRIED}, which is no option"
        raise ConfigError("reduce.parse", problem, "leave it to the task of MER2024 (mer_emotions)")
    options = sorted(answer.options, key=str.casefold)

    def read(text: str) -> Reading:
        said = text.casefold()
        found = [option for option in options if option.casefold() in said]
        return Reading(frozenset({found[-1] if found else _WORRIED}))

    return read


PARSERS: dict[str, Callable[[Answer], Reader]] = {STRICT: strict, "mer2024": mer2024}


def find_reader(name: str, answer: Answer, where: str = "reduce.parse") -> Reader | None:
    """What reads replies in place of the answer; None where that is ``strict``.

    Args:
        name: of a parser; or ``module:function`` of your own, from an answer to a ``Reader``.
        answer: what a reply can say.
        where: the key that holds the name.

    Raises:
        ConfigError: there is no such parser, or it does not go with the answer. What it makes
            raises one, too, when it reads in a reply what is no answer.
    """
    if name == STRICT:
        return None
    read: Reader = find(name, PARSERS, where)(answer)
    options = {*answer.options}

    def checked(text: str) -> Reading | None:
        reading = read(text)
        labels = [] if reading is None else sorted(reading.labels)
        if reading is not None and answer.options and (len(labels) != 1 or {*labels} - options):
            problem = f"{name} reads {labels} in {text[:80]!r}"
            raise ConfigError(where, problem, "let it give one option, or None")
        return reading

    return checked
