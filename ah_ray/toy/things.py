"""Pictures of one or four things of a kind, and large faces: what is asked about them.

What, how many and of which colour stands in for all that a model knows before it learns of
emotions; of a face it knows what its mouth is like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ah_ray.media.fragment import with_times
from ah_ray.media.frames import AUDIO_HZ
from ah_ray.media.segment import Span
from ah_ray.schemas import Row
from ah_ray.tasks import Prompt, Question, load_task, swift_row
from ah_ray.tasks.answers import Reading
from ah_ray.toy import cues
from ah_ray.toy.people import COLOURS as SHADES

COUNTS = {"one": 1, "four": 4}
COLOURS = ("red", "green", "blue")
SHAPES = ("ball", "ring", "bar")
MOODS = ("happy", "unhappy", "neutral")  # what a face shows, by its mouth
MOUTHS = dict(zip(MOODS, ("bent up", "bent down", "none"), strict=True))
THINGS_TASK, MOODS_TASK = "cartoon_things", "cartoon_moods"

#: What the mouth of a face is like, which says nothing of what that means.
MOUTH_PROMPT = Prompt(system="You look at pictures.", user="What is the mouth like?")

SECONDS = 1.0  # how long a clip is
_SIZES = ((112, 112), (128, 112), (112, 128))
_CENTRES = {  # of so many things, in half shorter sides
    1: ((0.0, 0.0),),
    4: ((-0.45, -0.45), (0.45, -0.45), (-0.45, 0.45), (0.45, 0.45)),
}
_RADIUS = 0.32


@dataclass(frozen=True)
class Things:
    """So many things of one shape and colour."""

    count: str
    colour: str
    shape: str

    @property
    def label(self) -> str:
        """The option of the task that names them."""
        return f"{self.count} {self.colour} {self.shape}"


def labels() -> list[str]:
    """All options of the task."""
    return [
        Things(count, colour, shape).label
        for count in COUNTS
        for colour in COLOURS
        for shape in SHAPES
    ]


def random_things(rng: np.random.Generator) -> Things:
    """Draw some."""
    return Things(*(str(rng.choice(list(of))) for of in (COUNTS, COLOURS, SHAPES)))


def write_things(path: Path, things: Things, seed: int) -> None:
    """Write a clip of things, with hiss for a sound, to an MP4 file."""
    rng = np.random.default_rng(seed)
    form, count = _form(rng), int(SECONDS * 10)
    _encode(path, rng, form, _film(rng, things, count, form.width, form.height))


def write_mood(path: Path, mood: str, seed: int) -> None:
    """Write a clip of a large face to an MP4 file."""
    rng = np.random.default_rng(seed)
    form, count = _form(rng), int(SECONDS * 10)
    smiling = np.full(count, mood == "happy")
    frames = cues.faces(rng, smiling, form.width, form.height, mouth=mood != "neutral")
    _encode(path, rng, form, frames)


def _form(rng: np.random.Generator) -> cues.VideoFormat:
    return replace(cues.random_format(rng, _SIZES), fps=Fraction(10), sample_rate=AUDIO_HZ)


def _encode(
    path: Path,
    rng: np.random.Generator,
    form: cues.VideoFormat,
    frames: Iterator[NDArray[np.uint8]],
) -> None:
    silent = np.zeros(int(SECONDS * form.sample_rate), bool)
    cues.encode(path, form, frames, cues.voice(rng, silent, form.sample_rate, tone=False))


def _film(
    rng: np.random.Generator, things: Things, count: int, width: int, height: int
) -> Iterator[NDArray[np.uint8]]:
    shade = np.array(SHADES[things.colour]) + rng.uniform(-20, 20, 3)
    colours = np.clip(np.stack([rng.uniform((90, 90, 90), (140, 140, 140)), shade]), 0, 255)
    places = rng.uniform(-0.06, 0.06, 2) + rng.uniform(-0.02, 0.02, (cues.POSES, 2))
    half = min(width, height) / 2

    @cache
    def drawn(pose: int) -> NDArray[np.int16]:
        x = ((np.arange(width) + 0.5 - width / 2) / half - places[pose, 0])[None, :]
        y = ((np.arange(height) + 0.5 - height / 2) / half - places[pose, 1])[:, None]
        region = np.zeros((height, width), np.intp)
        for across, down in _CENTRES[COUNTS[things.count]]:
            region[_shape(things.shape, np.abs(x - across), y - down)] = 1
        return cues.paint(region, colours)

    return cues.film(rng, count, width, height, lambda pose, i: drawn(pose))


def _shape(shape: str, across: NDArray[np.float64], down: NDArray[np.float64]) -> NDArray[np.bool_]:
    shapes: dict[str, NDArray[np.bool_]] = {
        "ball": across**2 + down**2 < _RADIUS**2,
        "ring": np.abs(np.sqrt(across**2 + down**2) - 0.8 * _RADIUS) < 0.25 * _RADIUS,
        "bar": (across < 1.3 * _RADIUS) & (np.abs(down) < 0.35 * _RADIUS),
    }
    return shapes[shape]


def row(clip: str, question: Question, label: str) -> Row:
    """A training row about a clip, in MS-Swift's format."""
    reply = question.answer.write(Reading(frozenset({label})))
    return swift_row(question.prompt, reply, _whole(clip), None)


def mouth_row(clip: str, mood: str) -> Row:
    """A training row about the mouth in a clip."""
    return swift_row(MOUTH_PROMPT, MOUTHS[mood], _whole(clip), None)


def told_row(mood: str) -> Row:
    """A training row in which a face is told of, not shown: what words for moods mean."""
    asked = question(MOODS_TASK)
    said = f"The mouth of a face is {MOUTHS[mood]}. {asked.prompt.user}"
    reply = asked.answer.write(Reading(frozenset({mood})))
    return swift_row(Prompt(system="You read.", user=said), reply, None, None)


def _whole(clip: str) -> str:
    return with_times(clip, Span(0.0, SECONDS))


@cache
def question(task: str) -> Question:
    """What members are asked about things or moods."""
    return load_task(task).question("short", "prompt")
