"""A task as data: what is asked, how an answer reads, how answers become a verdict.

A task is a YAML file, either one of those beside this module or the user's own.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import field_validator, model_validator

from ah_ray.errors import ConfigError
from ah_ray.yaml_objects import Frozen, load_yaml

BUILT_IN = Path(__file__).parent


class Prompt(Frozen):
    """One wording of the question."""

    system: str
    user: str


class Task(Frozen):
    """Everything that is particular to one question about a video.

    Attributes:
        positive: the word that means the behaviour is present (label 1).
        negative: the word that means it is absent (label 0).
        answer: the whole reply of the model, with ``{answer}`` for the word.
        clips_to_video: rule from a member's clip answers to its video answer.
        members_to_verdict: rule from the members' video answers to the verdict.
        prompts: the wordings by name; a member is trained and scored with one of them.
    """

    name: str
    positive: str
    negative: str
    answer: str
    clips_to_video: Literal["max"]
    members_to_verdict: Literal["majority"]
    prompts: dict[str, Prompt]

    @field_validator("answer")
    @classmethod
    def _has_slot(cls, value: str) -> str:
        if value.count("{answer}") != 1:
            raise ValueError("must contain {answer} exactly once")
        return value

    @model_validator(mode="after")
    def _words_differ(self) -> Task:
        if self.positive.casefold() == self.negative.casefold():
            raise ValueError(f"positive and negative are both {self.positive!r}")
        return self

    def reply(self, label: int) -> str:
        """The reply that stands for ``label`` (1 or 0), as the model is trained to write it."""
        return self.answer.replace("{answer}", self.positive if label else self.negative)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        before, after = (re.escape(part) for part in self.answer.split("{answer}"))
        words = f"{re.escape(self.positive)}|{re.escape(self.negative)}"
        return re.compile(rf"{before}\s*\b({words})\b\s*{after}", re.IGNORECASE)

    def parse(self, text: str) -> int | None:
        """The label that ``text`` states, or None when it does not state exactly one.

        The reply may stand anywhere in the text, in any letter case; a text that gives both
        answers states neither.

        >>> load_task("cue_conflict").parse("I think <answer> yes </answer>")
        1
        """
        stated = {word.casefold() for word in self._pattern.findall(text)}
        if len(stated) != 1:
            return None
        return int(stated.pop() == self.positive.casefold())

    def asking(self, prompt: str) -> Task:
        """The task with one of its wordings alone."""
        return self.model_copy(update={"prompts": {prompt: self.prompts[prompt]}})

    def prompt(self, name: str, where: str) -> Prompt:
        """The wording ``name``; ``where`` names the setting that asks for it."""
        if name not in self.prompts:
            raise ConfigError(
                where, f"task {self.name} has no prompt {name!r}", f"one of {sorted(self.prompts)}"
            )
        return self.prompts[name]


def load_task(name: str) -> Task:
    """A built-in task by its name, or a task of your own by the path of its YAML file.

    Raises:
        ConfigError: there is no such task, or its file is wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else BUILT_IN / f"{name}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in BUILT_IN.glob("*.yaml"))
        raise ConfigError(
            "task", f"no task {name!r}", f"one of {known}, or the path of a YAML file"
        )
    return load_yaml(path, Task)
