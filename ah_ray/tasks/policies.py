"""What the rules do with answers that are not there, and with even votes."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from ah_ray.yaml_objects import Frozen

# What is done instead of taking an option, by key.
_WORDS = {"invalid": {"exclude"}, "missing": {"exclude"}, "tie": {"score", "undecided"}}
#: No option may be called so.
POLICIES = frozenset().union(*_WORDS.values())


class ReduceConfig(Frozen):
    """What happens to answers that are not there; every case is counted in the verdicts.

    Attributes:
        invalid: an unparseable clip answer is left out (``exclude``), or counts as this option.
        missing: a clip without an answer (error or absent) is left out, or counts as this option.
        tie: between options with as many votes decides the larger mean chance (``score``; of equal
            ones the earlier option), or this option, or nothing (``undecided``).
    """

    invalid: str = "exclude"
    missing: str = "exclude"
    tie: str = "score"

    @field_validator("*", mode="before")
    @classmethod
    def _is_word(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError('Yes and No are true and false in YAML: write "Yes" or "No"')
        return value

    def named_labels(self) -> dict[str, str]:
        """The labels that are named, by key."""
        return {key: word for key, word in self.model_dump().items() if word not in _WORDS[key]}
