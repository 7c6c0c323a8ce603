"""What tiny models learn about cartoon people before a member is made of them, as training rows.

The people are others than those of the archive of ``emotions``. A lesson is a question that members
are asked, too, with the answer of somebody who knows a part of what a person shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import numpy as np

from ah_ray.media.config import MediaConfig
from ah_ray.media.frames import AUDIO_HZ
from ah_ray.schemas import Row
from ah_ray.tasks import Question, load_task, swift_row
from ah_ray.tasks.answers import Reading
from ah_ray.toy import cues
from ah_ray.toy.emotions import EMOTIONS, film_clip
from ah_ray.toy.people import SIZES, Person, random_person
from ah_ray.toy.sentences import describe, seen
from ah_ray.training.rows import media_of

EMOTIONS_TASK, CAPTIONS_TASK = "cartoon_emotions", "cartoon_captions"
DESCRIBER = "describer"  # the member that the prompt ``name`` reads
_FPS = 10  # training reads a few frames of a clip, so more would only cost time


@dataclass(frozen=True)
class Lesson:
    """A question, and who answers it.

    Attributes:
        prompt: the wording, one of the task's.
        known: what of a person is known to who answers.
        task: that the question is of.
        scenery: descriptions say what else is there.
    """

    prompt: str
    known: Callable[[Person], Person]
    task: str = EMOTIONS_TASK
    scenery: bool = False

    @property
    def question(self) -> Question:
        """What is asked."""
        return _question(self.task, self.prompt)


@dataclass(frozen=True)
class School:
    """The lessons about some people, each of whom is in one clip.

    Attributes:
        lessons: all are about every person.
        people: how many.
        seed: of who they are.
        seconds: how long a clip is.
    """

    lessons: tuple[Lesson, ...]
    people: int
    seed: int
    seconds: float = 1.0

    def rows(self, folder: Path, media: MediaConfig) -> list[Row]:
        """Write the clips to ``folder``, and give the rows in MS-Swift's format.

        Args:
            folder: for the clips; where ``media`` has none there are none.
            media: what the model gets of a clip.
        """
        if media.kinds:
            folder.mkdir(parents=True, exist_ok=True)
            cues.in_processes(partial(self._film, folder), range(self.people))
        return [row for number in range(self.people) for row in self._rows(folder, media, number)]

    def texts(self) -> list[str]:
        """What a tokenizer learns the words of the lessons from."""
        rows = self.rows(Path(), MediaConfig(picture="none", audio="none"))
        return [message["content"] for row in rows for message in row["messages"]]

    def _person(self, number: int) -> tuple[np.random.Generator, Person]:
        # Three numbers, where the archive has two: none of its people is here.
        rng = np.random.default_rng([0, self.seed, number])
        return rng, random_person(rng)

    def _film(self, folder: Path, number: int) -> None:
        rng, person = self._person(number)
        form = replace(cues.random_format(rng, SIZES), fps=Fraction(_FPS), sample_rate=AUDIO_HZ)
        film_clip(self._clip(folder, number), person, form, self.seconds, int(rng.integers(2**32)))

    @staticmethod
    def _clip(folder: Path, number: int) -> Path:
        return folder / f"{number:05}.mp4"

    def _rows(self, folder: Path, media: MediaConfig, number: int) -> list[Row]:
        rng, person = self._person(number)
        clip = {
            "clip_id": f"{number:05}",
            "media_uri": None,
            "source_uri": str(self._clip(folder, number)),
            "start_s": 0.0,
            "end_s": self.seconds,
        }
        return [_row(rng, lesson, person, media_of(clip, media)) for lesson in self.lessons]


@cache
def _question(task: str, prompt: str) -> Question:
    return load_task(task).question(prompt, "prompt")


def _row(
    rng: np.random.Generator,
    lesson: Lesson,
    person: Person,
    media: tuple[str | None, str | None, Sequence[str]],
) -> Row:
    question = lesson.question
    prompt, known = question.prompt, lesson.known(person)
    if prompt.has(DESCRIBER):
        read = prompt.user.replace(f"{{{DESCRIBER}}}", describe(rng, seen(person)))
        prompt = prompt.model_copy(update={"user": read})
    words = frozenset(EMOTIONS[cue].words[0] for cue in known.cues)
    said = Reading(words, describe(rng, known, lesson.scenery))
    return swift_row(prompt, question.answer.write(said), *media)
