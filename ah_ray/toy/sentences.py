"""Sentences about cartoon people, and the words that a reader takes from them.

What people are described with is in turn what captioners are trained to write and what the tiny
text model reads: it learns which words a sentence states, by the cues that are in it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from ah_ray.tasks.answers import Answer, Reading
from ah_ray.toy.emotions import EMOTIONS
from ah_ray.toy.people import Person

#: Ways to say that somebody shows a cue; ``{their}`` stands for her or his.
PHRASES = {
    "smile": ("smiles widely", "has a broad smile", "is smiling"),
    "frown": ("frowns deeply", "has a deep frown", "is frowning"),
    "wide eyes": ("stares with wide eyes", "has wide open eyes", "opens {their} eyes wide"),
    "upright": ("stands tall", "raises both arms", "throws {their} arms up"),
    "slumped": ("has slumped shoulders", "slumps", "lets {their} shoulders hang"),
    "shaking": ("shakes", "is shaking all over", "has a shaking body"),
    "bright": ("{their} voice is bright", "speaks in a bright tone", "sounds bright"),
    "dull": ("{their} voice is dull", "speaks in a dull tone", "sounds dull"),
    "trembling": ("{their} voice trembles", "speaks with a trembling voice", "sounds trembling"),
}
#: What is said of somebody who shows none.
NOTHING = "stands there"

_THEIR = {"woman": "her", "man": "his"}


def seen(person: Person) -> Person:
    """The person as it is for somebody who cannot hear."""
    return replace(person, voice=None)


def describe(rng: np.random.Generator, person: Person, scenery: bool = False) -> str:
    """A sentence that states all cues of a person, and no other.

    Args:
        rng: chooses how each is said.
        person: who it is about.
        scenery: say what else is there, too.
    """
    their = _THEIR[person.who]
    stated = [str(rng.choice(PHRASES[cue])).format(their=their) for cue in person.cues]
    heard = [stated.pop()] if person.voice else []
    acts = " and ".join(stated) or ("" if heard else NOTHING)
    if heard and not heard[0].startswith(their):
        acts, heard = " and ".join(filter(None, (acts, *heard))), []
    who = f"The {person.who}"
    if scenery:
        who += f" in a {person.shirt} shirt"
    sentence = "; ".join(filter(None, (f"{who} {acts}" if acts else "", *heard)))
    sentence = f"{sentence[0].upper()}{sentence[1:]}."
    return f"{sentence} {scene(person)}" if scenery else sentence


def scene(person: Person) -> str:
    """A sentence about what is beside a person."""
    return f"There is a {person.thing_colour} {person.thing} on the {person.side}."


def roughly(person: Person) -> Person:
    """The person as somebody describes it who has learned little of faces.

    All that is known of a face is whether it smiles; whatever else it does goes unsaid.
    """
    return replace(person, face="smile" if person.face == "smile" else None)


def list_words(cues: Collection[str], answer: Answer) -> str:
    """The reply that lists the usual word of each cue."""
    return answer.write(Reading(frozenset(EMOTIONS[cue].words[0] for cue in cues)))
