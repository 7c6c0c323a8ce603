import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.participants import person

SAME = [
    ("P1", "p1"),
    ("7", "7.0", "007", " 7", "7 ", "7.00", "\uff17"),
    ("P 07", "p07", "P7", "p\u00a007", "P\u200b7", "\ufeffP7"),
    ("Jos\u00e9", "Jose\u0301", "JOS\u00c9"),
    ("Stra\u00dfe", "STRASSE"),
    ("0", "000", "0.0"),
    ("\u00e9", "e\u200b\u0301"),
]
DIFFERENT = ["7", "70", "P7", "7.1", "1.05", "1.5", "07.10", "a", "\u00e4", "7b", "b7", "0"]


@pytest.mark.parametrize("spellings", SAME, ids=lambda spellings: spellings[0])
def test_spellings_of_one_person(spellings):
    assert len({person(spelling) for spelling in spellings}) == 1


def test_different_people_stay_different():
    assert len({person(name) for name in DIFFERENT}) == len(DIFFERENT)


@given(st.text())
def test_the_one_spelling_is_a_spelling_of_itself(text):
    assert person(person(text)) == person(text)
