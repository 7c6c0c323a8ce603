import random

from hypothesis import given
from hypothesis import strategies as st

from ah_ray.captions.duplicates import Told

LONG = "a man in a blue shirt sits at a table by the window and looks down at his hands in silence"


def test_what_nearly_repeats_an_earlier_text_is_found():
    told = Told(0.7)
    assert told.repeats("a", LONG) is None
    assert told.repeats("b", LONG.upper() + "!") == "a"
    assert told.repeats("c", LONG.replace("silence", "despair")) == "a"
    assert told.repeats("d", " ".join(sorted(LONG.split()))) is None  # the same words, no text
    assert told.repeats("e", "a woman laughs") is None
    assert told.repeats("f", "a woman laughs.") == "e"


TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=5).map(" ".join), max_size=12)


@given(TEXTS)
def test_equal_texts_are_told_once_and_nothing_else_is_lost_at_one(texts):
    told = Told(1.0)
    kept = [text for number, text in enumerate(texts) if told.repeats(str(number), text) is None]
    assert len(kept) == len(set(kept))
    pairs = {tuple(zip(("", *words), (*words, ""), strict=True)) for words in map(str.split, texts)}
    assert len(kept) == len({frozenset(of) for of in pairs})


def test_copies_with_a_word_changed_are_found_among_thousands():
    rng = random.Random(0)
    words = [f"w{number}" for number in range(400)]
    texts = [" ".join(rng.choices(words, k=30)) for _ in range(1500)]
    told = Told(0.8)
    assert all(told.repeats(str(number), text) is None for number, text in enumerate(texts))
    found = [told.repeats(f"again {n}", f"{text} more") for n, text in enumerate(texts)]
    assert sum(one == str(number) for number, one in enumerate(found)) > 0.95 * len(texts)
