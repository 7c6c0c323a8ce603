import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.captions.filters import FILTERS, MAKERS, Caption, dropped_by, made_filters
from ah_ray.captions.words import alike, polarity, refuses, share_of_script, tokens
from ah_ray.errors import ConfigError

GLAD = "A woman in a red coat smiles; she seems happy."


def why(named, text: str, **facts) -> str | None:
    ((_, keeps),) = made_filters([named])
    return keeps(Caption(text, **facts))


@pytest.mark.parametrize(
    ("named", "kept", "dropped"),
    [
        ("mentions_person", ["A man sits.", "HER face is pale", "一个男人在说话"],
         ["A sunny landscape.", "Manchester, the room", "桌子"]),
        ("refusal", [GLAD, "She is unable to hold back tears.", "I can clearly see a man."],
         ["I\u2019m sorry, but I can't help.", "As an AI model", "I am unable to see",
          "抱歉, 看不清"]),
        ({"length": {"least": 3, "most": 5}}, ["a b c", "她很高兴", "it's all so good"],
         ["a b", "", "... -- !", "a b c d e f", "她看起来很高兴"]),
        ({"length": {"least": 2}}, ["a b", "a b " * 99], ["a"]),
        ({"language": "en"}, ["A man, 李, is talking loudly."], ["他很高兴", "", "123", "Он рад"]),
        ({"language": "zh"}, ["他说OK, 看起来非常高兴的样子"], ["A man 他"]),
    ],
)  # fmt: skip
def test_what_is_kept_and_what_is_dropped(named, kept, dropped):
    assert [text for text in kept if why(named, text) is not None] == []
    assert [text for text in dropped if why(named, text) is None] == []


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("0.4", GLAD, None),
        ("-0.2", GLAD, "positive, but label is -0.2"),
        ("0.0", GLAD, "positive, but label is 0"),
        ("0", "A man sits at a table.", None),
        ("-1", "A man sits at a table.", "neutral, but label is -1"),
        ("-1.0", "He is not happy at all.", None),
        ("1", "他没有生气", None),
        ("", GLAD, None),  # nothing is annotated
        ("nan", "A sad man", None),
        ("glad", "A sad man", None),
    ],
)
def test_polarity_agrees_with_what_is_annotated(value, text, expected):
    assert why({"polarity": "label"}, text, attributes={"label": value}) == expected
    assert why({"polarity": "label"}, text, attributes={"other": value}) is None


def test_each_captioner_may_have_its_language():
    named = {"language": {"one": "en", "two": "zh"}}
    assert why(named, GLAD, captioner="one") is None
    assert why(named, GLAD, captioner="two") == "0% of its letters are zh"
    assert why(named, GLAD, captioner="three") is None
    for wrong in ({"one": "de"}, {}, "de"):
        with pytest.raises(ConfigError, match="is none of en, zh"):
            made_filters([{"language": wrong}])


@pytest.mark.parametrize(
    ("labels", "found", "expected"),
    [
        ({"sad"}, {"m": {"sad"}}, None),
        ({"sad"}, {"m": {"sad", "shy"}, "n": {"sad"}}, None),
        ({"sad"}, {"m": {"sad"}, "n": {"happy"}}, "n finds happy in it, not sad"),
        ({"sad", "shy"}, {"m": {"sad"}}, "m finds sad in it, not sad, shy"),
        ({"sad"}, {"m": None}, "m finds nothing in it"),
        ({"sad"}, {}, "nobody has read it"),
        ((), {"m": {"sad"}}, "its video has no label"),
    ],
)
def test_every_reader_finds_the_label(labels, found, expected):
    facts = {"labels": frozenset(labels), "found": found}
    assert why("label_found", GLAD, **facts) == expected


def test_captioners_agree_with_one_of_the_others():
    named = {"captioners_agree": 0.5}
    others = {"b": "A woman in a red coat smiles", "c": "A dog."}
    assert why(named, GLAD, others=others) is None
    assert why(named, GLAD, others={"c": "A dog."}) == "10% of the words are shared"
    assert why(named, GLAD, others={}) == "no other has a caption"
    sad = {"b": GLAD.replace("smiles", "cries").replace("happy", "sad")}
    assert why(named, GLAD, others=sad) == "the others say the opposite"
    assert alike("a b c", "c b d") == 0.5


def test_the_first_filter_that_drops_is_named():
    filters = made_filters(["refusal", {"length": {"least": 3}}, "mentions_person"])
    assert dropped_by(Caption("A dog"), filters) == ("length", "2 words are less than 3")
    assert dropped_by(Caption("A big dog"), filters) == ("mentions_person", "nobody is mentioned")
    assert dropped_by(Caption("Sorry, no"), filters) == ("refusal", "its writer refuses")
    assert dropped_by(Caption(GLAD), filters) is None


def of_ones_own(caption: Caption) -> str | None:
    return None if caption.captioner == "a" else "not of a"


def test_a_filter_of_ones_own():
    named = f"{__name__}:of_ones_own"
    filters = [(named, of_ones_own)]
    assert dropped_by(Caption("x", "b"), filters) == (named, "not of a")


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("lenght", "there is no 'lenght'"),
        ("length", "length needs an argument"),
        ({"refusal": 3}, "refusal takes no argument"),
        ({"length": {"min": 3}}, "unexpected keyword argument 'min'"),
        ({"length": {"least": "3"}}, "least and most are whole numbers"),
        ({"length": 3}, "must be a mapping"),
        ({"language": "xx"}, "is none of en, zh"),
        ({"polarity": 3}, "is no name of an attribute"),
        ({"captioners_agree": 2}, "is no share from 0 to 1"),
    ],
)
def test_a_wrong_filter_is_told_with_its_key(named, problem):
    with pytest.raises(ConfigError, match=problem) as error:
        made_filters([named])
    assert str(error.value).startswith("augment.filters")


WORDS = st.lists(st.sampled_from(["happy", "sad", "not", "man", "她", "悲伤", "Sorry,", "."]))


@given(WORDS.map(" ".join), WORDS.map(" ".join))
def test_words_are_read_alike_in_any_case_and_order(one, other):
    assert tokens(one) == tokens(one.upper())
    assert polarity(one) == polarity(one.upper())
    assert refuses(one) == refuses(one.upper())
    assert alike(one, other) == alike(other, one)
    assert alike(one, one) == (1.0 if tokens(one) else 0.0)
    assert 0 <= share_of_script(one, "LATIN") + share_of_script(one, "CJK") <= 1


@given(st.text(max_size=60), st.text(max_size=60))
def test_filters_take_any_text(text, other):
    arguments = {"length": {"most": 9}, "language": "en", "polarity": "a", "captioners_agree": 0.5}
    caption = Caption(text, "a", {"b": other}, frozenset(), {"a": other})
    named = [*FILTERS, *({name: arguments[name]} for name in MAKERS)]
    for _, keeps in made_filters(named):
        assert keeps(caption) is None or keeps(caption)
