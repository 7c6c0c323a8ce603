"""The tiny base models that demos run on, by the names that configs give their folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ah_ray.media.config import MediaConfig
from ah_ray.schemas import Row
from ah_ray.toy.base import CUE_CLIPS, RECIPE, cue_rows, write_cue_clips
from ah_ray.toy.lessons import CAPTIONS_TASK, Lesson, School
from ah_ray.toy.moods import Looking, texts
from ah_ray.toy.people import Person
from ah_ray.toy.sentences import roughly, seen
from ah_ray.training.recipe import RecipeConfig


@dataclass(frozen=True)
class Base:
    """A tiny model, and what it learns before a member is made of it.

    Attributes:
        what: it is, for people.
        begin: writes a checkpoint with random weights to a folder; or which base it goes on from.
        rows: writes clips to a folder and gives training rows about them, in MS-Swift's format.
        recipe: how it learns them.
    """

    what: str
    begin: Callable[[Path], None] | str
    rows: Callable[[Path, MediaConfig], list[Row]]
    recipe: RecipeConfig


@dataclass(frozen=True)
class Converted:
    """A tiny model with two experts and a gate, of another one of ours.

    Attributes:
        what: it is, for people.
        source: the base that it is made of; it learns nothing more.
    """

    what: str
    source: str


def _coarsely(person: Person) -> Person:
    """The person as somebody knows it who hears well and has seen no face from near."""
    return replace(person, face=None)


def _recipe(learning_rate: float, epochs: float, batch_size: int = 16) -> RecipeConfig:
    return RECIPE.model_copy(
        update={
            "learning_rate": learning_rate,
            "epochs": epochs,
            "batch_size": batch_size,
            "global_batch_size": batch_size,
        }
    )


def _vaguely(person: Person) -> Person:
    return roughly(seen(person))


def _looks(known: Callable[[Person], Person]) -> tuple[Lesson, Lesson]:
    return Lesson("short", known), Lesson("short", known, CAPTIONS_TASK, scenery=True)


# Whoever looks can be taught all these words; with each of them a token, replies are short.
_LOOK_WORDS = School(_looks(seen), 400, seed=0)
_GENERAL = School(_looks(_vaguely), 800, seed=1)
_CAPTIONERS = tuple(
    School((Lesson("short", seen, CAPTIONS_TASK),), 800, seed=seed) for seed in (2, 3)
)
_TRIMODAL = School((Lesson("listen", _coarsely),), 800, seed=4, seconds=2.2)
_NAMER = School((Lesson("name", seen),), 2000, seed=5)


# What writes the weights is imported only when there are some to write: it takes seconds.
def _omni(folder: Path) -> None:
    from ah_ray.toy.model import write_tiny_checkpoint

    write_tiny_checkpoint(folder)


def _internvl(folder: Path) -> None:
    from ah_ray.toy.internvl import write_tiny_internvl

    write_tiny_internvl(folder, _LOOK_WORDS.texts(), square=112)


def _omni_of_people(folder: Path) -> None:
    from ah_ray.toy.model import write_tiny_checkpoint

    write_tiny_checkpoint(folder, texts=_TRIMODAL.texts(), merges=400)


def _text(folder: Path) -> None:
    from ah_ray.toy.text import write_tiny_text

    write_tiny_text(folder, _NAMER.texts(), architecture="qwen2_5_text")


def _vision(folder: Path) -> None:
    from ah_ray.toy.vision import write_tiny_vision

    write_tiny_vision(folder, texts())


BASES: dict[str, Base | Converted] = {
    "base": Base(
        "a tiny Qwen3-Omni learns to name single cues",
        _omni,
        lambda folder, media: cue_rows(write_cue_clips(folder, CUE_CLIPS, seed=0)),
        RECIPE,
    ),
    "general": Base(
        "a tiny InternVL learns to describe pictures, and roughly what people show",
        _internvl,
        _GENERAL.rows,
        _recipe(3e-3, 4),
    ),
    **{
        f"captioner_{number}": Base(
            "it goes on to describe people closely", "general", school.rows, _recipe(2e-3, 10)
        )
        for number, school in enumerate(_CAPTIONERS, 1)
    },
    "trimodal": Base(
        "a tiny Qwen3-Omni learns what bodies and voices show",
        _omni_of_people,
        _TRIMODAL.rows,
        _recipe(3e-3, 5),
    ),
    "namer": Base(
        "a tiny text model learns to list the emotions that a sentence states",
        _text,
        _NAMER.rows,
        _recipe(3e-3, 2, batch_size=32),
    ),
    "looks": Base(
        "a tiny Qwen2.5-VL learns what things are, what mouths are like, and words for moods",
        _vision,
        Looking(things=700, faces=200, told=60).rows,
        _recipe(2e-3, 10),
    ),
    "hybrid": Converted("the same with two experts and a gate", "looks"),
}
