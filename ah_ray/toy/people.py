"""A cartoon person on film: a face, a body and a voice that each may show one cue.

A face is a good quarter of the picture: its details are lost in a coarse one, and in a finer one a
tiny model learns them within minutes. Bodies are large and voices clear. Hair, shirt and a thing
beside the person tell nothing about the cues.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ah_ray.toy.cues import BRIGHT_HZ, DULL_HZ, INK, POSES, film, paint, sing

#: The cues by what shows them; a part may also show none.
CUES = {
    "face": ("smile", "frown", "wide eyes"),
    "body": ("upright", "slumped", "shaking"),
    "voice": ("bright", "dull", "trembling"),
}
#: Frame sizes as (width, height) in pixels.
SIZES = ((192, 192), (208, 192), (192, 208))
#: What shirts and things are coloured, RGB.
COLOURS = {
    "red": (200.0, 50.0, 50.0),
    "green": (50.0, 160.0, 70.0),
    "blue": (60.0, 90.0, 210.0),
    "yellow": (225.0, 205.0, 60.0),
}
THINGS = ("ball", "box", "cone")
SIDES = ("left", "right")
HAIR = {"woman": "long", "man": "short"}

_WALL, _SKIN, _INK, _WHITE, _HAIR, _SHIRT, _THING = range(7)  # regions of a picture
_HEAD = 0.28  # radius, in half shorter sides
_NECK = -0.15  # where the body begins, the same
_MIDDLE_HZ = 600.0


@dataclass(frozen=True)
class Person:
    """What a clip shows: three parts, each with one cue of ``CUES`` or none, and what is beside."""

    face: str | None = None
    body: str | None = None
    voice: str | None = None
    who: str = "woman"
    shirt: str = "red"
    thing: str = "ball"
    thing_colour: str = "blue"
    side: str = "left"

    @property
    def cues(self) -> tuple[str, ...]:
        """Those that are on."""
        return tuple(cue for cue in (self.face, self.body, self.voice) if cue is not None)


def random_person(rng: np.random.Generator, least: int = 0) -> Person:
    """Draw a person: each part shows a cue in three of four, and at least ``least`` parts do."""
    parts = list(CUES)
    on = (rng.random(len(parts)) < 0.75) | (rng.permutation(len(parts)) < least)
    cues = {
        part: CUES[part][rng.integers(len(CUES[part]))] if shown else None
        for part, shown in zip(parts, on.tolist(), strict=True)
    }
    colours = rng.choice(list(COLOURS), 2, replace=False)
    return Person(
        **cues,
        who=str(rng.choice(list(HAIR))),
        shirt=str(colours[0]),
        thing=str(rng.choice(THINGS)),
        thing_colour=str(colours[1]),
        side=str(rng.choice(SIDES)),
    )


def film_person(
    rng: np.random.Generator, person: Person, count: int, width: int, height: int
) -> Iterator[NDArray[np.uint8]]:
    """Draw ``count`` frames of a person, as yuv420p planes [height * 3 / 2, width].

    Position, size and colours vary by video, sway, brightness and noise by frame.
    """
    shades = {
        _WALL: rng.uniform(90, 140) + rng.uniform(-10, 10, 3),
        _SKIN: np.array([210.0, 160.0, 120.0]) + rng.uniform(-20, 40) + rng.uniform(-10, 10, 3),
        _INK: INK,
        _WHITE: np.full(3, 245.0),
        _HAIR: np.array([30.0, 20.0, 10.0]) * rng.uniform(1, 3.5),
        _SHIRT: np.array(COLOURS[person.shirt]) + rng.uniform(-20, 20, 3),
        _THING: np.array(COLOURS[person.thing_colour]) + rng.uniform(-20, 20, 3),
    }
    colours = np.clip(np.stack([shades[region] for region in sorted(shades)]), 0, 255)
    places = rng.uniform(-0.05, 0.05, 2) + rng.uniform(-0.015, 0.015, (POSES, 2))
    scale = rng.uniform(0.95, 1.05)
    shivers = rng.integers(2, size=count) if person.body == "shaking" else [0] * count

    @cache
    def drawn(pose: int, shiver: int) -> NDArray[np.int16]:
        half = min(width, height) / 2
        x = ((np.arange(width) + 0.5 - width / 2) / half - places[pose, 0]) / scale
        y = ((np.arange(height) + 0.5 - height / 2) / half - places[pose, 1]) / scale
        return paint(_regions(person, x[None, :], y[:, None], 2 * shiver - 1), colours)

    return film(rng, count, width, height, lambda pose, i: drawn(pose, int(shivers[i])))


def _regions(
    person: Person, x: NDArray[np.float64], y: NDArray[np.float64], shiver: int
) -> NDArray[np.intp]:
    """Which region each pixel belongs to [H, W]; x [1, W] and y [H, 1] in half shorter sides."""
    region = np.full(np.broadcast_shapes(x.shape, y.shape), _WALL)
    region[_thing(person, x, y)] = _THING
    up, down = y + 0.33, y - _NECK  # from the middle of the head, and from the neck
    cap = x**2 + up**2 < (1.35 * _HEAD) ** 2
    if HAIR[person.who] == "long":
        region[(cap & (up < 0)) | (np.abs(x) < 1.35 * _HEAD) & (np.abs(up - _HEAD) < _HEAD)] = _HAIR
    else:
        region[cap & (up < -0.3 * _HEAD)] = _HAIR
    region[_body(person.body, x, down, shiver)] = _SHIRT
    region[(np.abs(x) < 0.3 * _HEAD) & (up > 0) & (down < 0)] = _SKIN
    if person.body == "shaking":  # the strokes with which cartoons say so
        waves = np.abs(x) - 0.55 - 0.05 * np.sign(np.sin(20 * y)) - 0.05 * shiver
        strokes = (np.abs(waves) < 0.04) | (np.abs(waves - 0.2) < 0.04)
        region[strokes & (np.abs(down - 0.3) < 0.4)] = _INK
    head = x**2 + up**2 < _HEAD**2
    region[head] = _SKIN
    for shade, shape in _features(person.face, x / _HEAD, up / _HEAD):
        region[shape & head] = shade
    return region


def _thing(person: Person, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The pixels of what is beside the person."""
    across = np.abs(x - (-0.72 if person.side == "left" else 0.72))
    up = y + 0.65
    shapes: dict[str, NDArray[np.bool_]] = {
        "ball": across**2 + up**2 < 0.22**2,
        "box": np.maximum(across, np.abs(up)) < 0.2,
        "cone": (across < 0.13 + up / 2) & (np.abs(up) < 0.25),
    }
    return shapes[person.thing]


def _body(
    posture: str | None, x: NDArray[np.float64], down: NDArray[np.float64], shiver: int
) -> NDArray[np.bool_]:
    """The pixels of a shirt; ``down`` is the height below the neck."""
    half = np.minimum(0.2 + 2 * down, 0.34)  # of the width
    if posture == "slumped":
        half = 0.08 + 0.5 * down
    elif posture == "upright":
        half = np.full_like(down, 0.45)
    moved = x - 0.06 * shiver if posture == "shaking" else x
    body: NDArray[np.bool_] = (down > 0) & (np.abs(moved) < half)
    if posture == "upright":
        arms = np.abs(down + np.abs(x) - 0.7) < 0.12
        body |= arms & (np.abs(np.abs(x) - 0.6) < 0.3)
    return body


def _features(
    face: str | None, x: NDArray[np.float64], y: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Eyes and mouth, each with its region; x and y in radii of the head.

    A mouth bends around one mean height, and wide eyes are about as dark as others: what is left
    of a face in a coarse picture tells nothing.
    """
    eyes = (np.abs(x) - 0.4) ** 2 + (y + 0.25) ** 2
    wide = face == "wide eyes"
    yield _INK, eyes < (0.29**2 if wide else 0.15**2)
    yield _WHITE, (eyes < 0.21**2) & wide
    bend = {"smile": 0.5, "frown": -0.5}.get(face or "", 0.0)
    yield _INK, (np.abs(x) < 0.62) & (np.abs(y - 0.45 - bend * (0.5 - 2.2 * x**2)) < 0.12)


def voice(
    rng: np.random.Generator, person: Person, count: int, sample_rate: int
) -> NDArray[np.float32]:
    """What a person sounds like: ``count`` samples, mono in -1…1."""
    pitches = {"bright": BRIGHT_HZ, "dull": DULL_HZ}
    pitch_hz = np.full(count, pitches.get(person.voice or "", _MIDDLE_HZ))
    return sing(rng, pitch_hz, sample_rate, 0.3 if person.voice == "trembling" else 0.03)
