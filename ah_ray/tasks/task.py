"""A task as data: what is asked, how an answer reads, how answers are judged.

A task is a YAML file, either one of those beside this module or the user's own. Its question goes
into the cards of the members that are asked it (``Question``); its judgement belongs to the run
(``judgement``).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import Field

from ah_ray.errors import ConfigError
from ah_ray.names import Named
from ah_ray.shipped import with_whole_names
from ah_ray.tasks.answers import Answer
from ah_ray.tasks.judgement import Judgement, Rules
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.yaml_objects import Frozen, build, read_yaml

SUBTITLE = "subtitle"  # ``{subtitle}`` stands in a prompt for what is said in the clip
LABEL = "label"  # ``{label}`` for what the archive says of it, which captioners alone may be told

BUILT_IN = Path(__file__).parent


class Prompt(Frozen):
    """One wording of the question.

    Attributes:
        system: the system message.
        user: the message after the media; ``{NAME}`` stands for the text of member NAME where the
            member reads it, ``{subtitle}`` for what is said in the clip, and ``{label}`` for the
            label of a clip that is captioned.
    """

    system: str
    user: str

    def has(self, name: str) -> bool:
        """Whether there is a place for a text in it."""
        return f"{{{name}}}" in self.user


class Wording(Prompt):
    """A prompt of a task.

    Attributes:
        answer: what a reply to it can say, if that is not the task's answer: a text, say, for a
            member that reads it.
    """

    answer: Answer | None = None


class Question(Frozen):
    """What one member is asked, and how it replies.

    Attributes:
        name: of the task.
        answer: what a reply can say.
        prompt: the wording.
    """

    name: str
    answer: Answer
    prompt: Prompt


class Task(Frozen):
    """Everything that is particular to one question about a video.

    Attributes:
        name: of the task.
        answer: what a reply can say.
        rules: from clip answers to a video's, and from the members' to the verdict; by default the
            usual ones of such an answer.
        metrics: that verdicts are measured by; see ``evaluation.metrics``.
        prompts: the wordings by name; a member is trained and scored with one of them.
    """

    name: str
    answer: Answer
    rules: Rules | None = None
    metrics: tuple[Named, ...] = ()
    prompts: dict[str, Wording] = Field(min_length=1)

    def question(self, prompt: str, where: str) -> Question:
        """The question in one of its wordings; ``where`` names the setting that asks for it.

        Raises:
            ConfigError: there is no such wording.
        """
        if prompt not in self.prompts:
            known = f"one of {sorted(self.prompts)}"
            raise ConfigError(where, f"task {self.name} has no prompt {prompt!r}", known)
        wording = self.prompts[prompt]
        plain = Prompt(**wording.model_dump(exclude={"answer"}))
        return Question(name=self.name, answer=wording.answer or self.answer, prompt=plain)

    def judged(self, policies: ReduceConfig, voters: Collection[str] | None = None) -> Judgement:
        """How answers to it are judged; ``voters`` are the members that rules may name.

        Raises:
            ConfigError: as ``Judgement.check``.
        """
        usual = Judgement.usual(self.answer, policies)
        stated = {"rules": self.rules or usual.rules, "metrics": self.metrics}
        return usual.model_copy(update=stated).check(f"task {self.name}", voters)


def load_task(name: str) -> Task:
    """A built-in task by its name, or a task of your own by the path of its YAML file.

    The files that its rules and metrics name may stand relative to it.

    Raises:
        ConfigError: there is no such task, or its file is wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else BUILT_IN / f"{name}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in BUILT_IN.glob("*.yaml"))
        raise ConfigError(
            "task", f"no task {name!r}", f"one of {known}, or the path of a YAML file"
        )
    values = read_yaml(path)
    for key in values.keys() & {"rules", "metrics"}:
        values[key] = with_whole_names(values[key], path.parent)
    return build(Task, values, str(path))
