"""Sentences state exactly the cues of a person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.tasks import load_task
from ah_ray.toy.emotions import EMOTIONS
from ah_ray.toy.people import CUES, Person, random_person
from ah_ray.toy.sentences import NOTHING, PHRASES, describe, list_words, roughly, scene, seen

SEEDS = st.integers(0, 2**32 - 1)


def cues_in(sentence: str) -> set[str]:
    """The cues that a sentence states, in whatever words."""
    found = sentence.lower()
    return {
        cue
        for cue, phrases in PHRASES.items()
        for phrase in phrases
        for their in ("her", "his")
        if phrase.format(their=their) in found
    }


@given(SEEDS, st.booleans())
def test_a_sentence_states_all_cues_and_no_other(seed: int, scenery: bool) -> None:
    rng = np.random.default_rng(seed)
    person = random_person(rng)
    sentence = describe(rng, person, scenery)
    assert cues_in(sentence) == set(person.cues)
    assert (NOTHING in sentence) == (not person.cues)
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert (scene(person) in sentence) == scenery


@given(SEEDS)
def test_who_cannot_hear_or_hardly_sees_says_less(seed: int) -> None:
    rng = np.random.default_rng(seed)
    person = random_person(rng)
    assert cues_in(describe(rng, seen(person))) == {*person.cues} - {*CUES["voice"]}
    assert cues_in(describe(rng, roughly(person))) == {*person.cues} - {"frown", "wide eyes"}


def test_phrases_vary_and_belong_to_one_cue() -> None:
    rng = np.random.default_rng(0)
    person = Person(face="smile", body="slumped", voice="dull")
    assert len({describe(rng, person) for _ in range(200)}) > 20
    assert list(PHRASES) == list(EMOTIONS) == [cue for cues in CUES.values() for cue in cues]
    for cue, phrases in PHRASES.items():
        for phrase in phrases:
            assert cues_in(phrase.format(their="her")) == {cue}


def test_its_words_are_listed_in_the_form_of_replies() -> None:
    answer = load_task("emotion_labels").answer
    reply = list_words(["shaking", "smile"], answer)
    assert reply == "happy, nervous"
    assert answer.read(reply).labels == {"happy", "nervous"}
    assert answer.read(list_words([], answer)).labels == frozenset()
    person = Person(face="smile", body="shaking")
    assert list_words(replace(person, body=None).cues, answer) == "happy"
