import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.words.keywords import keywords, shared

TEXTS = st.text() | st.lists(st.sampled_from(["sad", "the", "tears", "难过", "他", "on"])).map(
    " ".join
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The woman\u2019s EYES are wet, and she weeps.", {"woman", "eyes", "wet", "weeps"}),
        ("他很难过。她哭了", {"他很", "很难", "难过", "她哭", "哭了"}),
        ("OK 他说no way", {"他说", "way"}),
        ("in 1999 it is so", set()),
    ],
)
def test_keywords(text, words):
    assert keywords(text) == words


def test_shares_by_hand():
    found = shared("He weeps, tears on cheeks", "Tears: weeps loudly, the voice trembles")
    assert found == (2 / 3, 2 / 5, 4 / 8)
    assert shared("", "tears") == (0, 0, 0)
    assert shared("tears", "it is so") is None


@given(TEXTS, TEXTS)
def test_shares_are_shares(text, reference):
    found, turned = shared(text, reference), shared(reference, text)
    assert (found is None) == (not keywords(reference))
    if found is not None and turned is not None:
        assert (found.precision, found.recall, found.f1) == (
            turned.recall,
            turned.precision,
            turned.f1,
        )
        assert all(0 <= value <= 1 for value in found)
    if keywords(text):
        assert shared(text, text) == (1, 1, 1)
