"""How replies are read, and what the rules do with answers that are not there and even votes."""

from __future__ import annotations

from typing import Any

from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer

from ah_ray.yaml_objects import Frozen

# What is done instead of taking an option, by key.
_WORDS = {"invalid": {"exclude"}, "missing": {"exclude"}, "tie": {"score", "undecided"}}
#: No option may be called so.
POLICIES = frozenset().union(*_WORDS.values())


class ReduceConfig(Frozen):
    """How replies are read, and what happens to answers that are not there.

    Every case is counted in the verdicts.

    Attributes:
        parse: how replies that were written are read (``parsing``): ``strict``, or by its name as
            a published evaluation has done.
        invalid: an unparseable clip answer is left out (``exclude``), or counts as this option.
        missing: a clip without an answer (error or absent) is left out, or counts as this option.
        tie: between options with as many votes decides the larger mean chance (``score``; of equal
            ones the earlier option), or this option, or nothing (``undecided``).
    """

    parse: str = "strict"
    invalid: str = "exclude"
    missing: str = "exclude"
    tie: str = "score"

    @field_validator("*", mode="before")
    @classmethod
    def _is_word(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError('Yes and No are true and false in YAML: write "Yes" or "No"')
        return value

    @model_serializer(mode="wrap")
    def _in_use(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is strict, so that policies from before there was anything else are same."""
        values: dict[str, Any] = serialize(self)
        return {key: v for key, v in values.items() if (key, v) != ("parse", "strict")}

    def named_labels(self) -> dict[str, str]:
        """The labels that are named, by key."""
        stated = {key: getattr(self, key) for key in _WORDS}
        return {key: word for key, word in stated.items() if word not in _WORDS[key]}
