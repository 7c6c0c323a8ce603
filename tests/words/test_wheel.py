from ah_ray.words import wheel
from ah_ray.words.wheel import Wheels
from ah_ray.yaml_objects import load_yaml


def classes(word: str, wheels: Wheels, name: str = "w") -> tuple[str | None, str | None]:
    """At level 1 and at level 2."""
    return tuple(wheels.classes[name][level].get(word) for level in ("1", "2"))


SMALL = Wheels(
    wheels={
        "w": {
            "good": {"joy": ["glad", "merry"], "awe": ["amazed"]},
            "bad": {"woe": ["sad"], "ire": ["angry"]},
        },
        "v": {"low": {"down": ["sad"]}, "high": {"up": ["zest"]}},
    },
    synonyms={"merry": ["jolly", "up"], "sad": ["jolly", "blue"], "joy": ["bliss"]},
    forms={"merry": ["merrily"], "jolly": ["jollier"], "blue": ["blues"], "bliss": ["blues"]},
)


def test_a_word_of_a_wheel_has_the_classes_above_it():
    assert classes("glad", SMALL) == ("good", "joy")
    assert classes("awe", SMALL) == ("good", "awe")
    assert classes("zest", SMALL, "v") == ("high", "up")


def test_a_word_of_level_1_has_the_first_of_its_children_at_level_2():
    assert classes("good", SMALL) == ("good", "awe")  # not joy, which comes first in the file
    assert classes("bad", SMALL) == ("bad", "ire")


def test_a_form_leads_to_its_base_word():
    assert classes("merrily", SMALL) == ("good", "joy")


def test_a_synonym_and_its_forms_stand_for_words_of_the_wheel():
    assert classes("bliss", SMALL) == ("good", "joy")
    assert classes("jollier", SMALL) == ("good", "joy")  # of merry and sad, merry comes first


def test_of_several_words_the_first_that_is_in_the_wheel_decides():
    assert classes("jolly", SMALL, "v") == ("low", "down")  # merry is in the other wheel alone
    assert classes("blues", SMALL) == ("good", "joy")  # of joy, by bliss, and sad, by blue
    assert classes("blues", SMALL, "v") == ("low", "down")


def test_a_word_may_be_in_one_wheel_and_a_synonym_in_another():
    assert classes("up", SMALL) == ("good", "joy")
    assert classes("up", SMALL, "v") == ("high", "up")


def test_what_leads_nowhere_has_no_class():
    for word in ("unknown", "zest", "Glad", ""):
        assert classes(word, SMALL) == (None, None)


def test_a_word_that_is_there_twice_is_where_it_stands_last():
    twice = Wheels(wheels={"w": {"a": {"b": ["x"], "a": ["y"]}, "c": {"d": ["x", "b"]}}})
    assert classes("x", twice) == ("c", "d")
    assert classes("b", twice) == ("c", "d")
    assert classes("a", twice) == ("a", "a")  # its own child comes after it


def test_the_small_wheel_knows_every_word_that_it_mentions():
    small = load_yaml(f"{wheel.__file__.removesuffix('.py')}.yaml", Wheels)
    known = small.classes["small"]["1"]
    mentioned = {word for table in (small.synonyms, small.forms) for k, v in table.items()
                 for word in (k, *v)}  # fmt: skip
    assert mentioned <= known.keys()
    top = small.wheels["small"]
    assert {known[word] for word in top} == set(top)
    assert len({second for below in top.values() for second in below}) == sum(
        map(len, top.values())
    )
