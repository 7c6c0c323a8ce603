import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.errors import ConfigError
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Reading
from ah_ray.tasks.parsing import find_reader, mer2024, strict
from ah_ray.tasks.policies import ReduceConfig

MER = load_task("mer_emotions").answer
DFEW = load_task("dfew_emotions").answer


def one(label: str) -> Reading:
    return Reading(frozenset({label}))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Happy.", "happy"),
        ("angry, sad, happy", "sad"),  # the last in the alphabet, wherever it stands
        ("This is not sadness.", "sad"),
        ("UNHAPPY", "happy"),
        ("I cannot see a face.", "worried"),
        ("", "worried"),
    ],
)
def test_mer2024_takes_the_last_in_the_alphabet_else_worried(text, label):
    assert mer2024(MER)(text) == one(label)


@given(st.text() | st.lists(st.sampled_from([*MER.options, "no ", "un"])).map("".join))
def test_mer2024_reads_an_option_in_everything(text):
    (label,) = mer2024(MER)(text).labels
    stand = [option for option in MER.options if option in text.casefold()]
    assert label == max(stand, default="worried")


@given(st.sampled_from(MER.options), st.text())
def test_strictly_is_as_the_answer_reads_and_mer2024_reads_what_is_written_so(option, text):
    assert strict(MER)(text) == MER.read(text)
    assert mer2024(MER)(MER.write(one(option))) == one(option)


def test_a_parser_of_ones_own_gives_an_option_or_nothing(monkeypatch):
    monkeypatch.setattr("tests.tasks.test_parsing.own", lambda answer: lambda text: READS[text],
                        raising=False)  # fmt: skip
    read = find_reader("tests.tasks.test_parsing:own", MER)
    assert (read("sad"), read("nothing")) == (one("sad"), None)
    for text in ("glad", "both"):
        with pytest.raises(ConfigError, match=rf"reduce.parse: .*own reads \[.*\] in '{text}'"):
            read(text)


READS = {"sad": one("sad"), "nothing": None, "glad": one("glad"),
         "both": Reading(frozenset(("sad", "happy")))}  # fmt: skip


def test_strict_is_no_other_parser():
    assert find_reader("strict", MER) is None
    judged = [
        load_task("mer_emotions").judged(ReduceConfig(parse=p)) for p in ("strict", "mer2024")
    ]
    assert [one.reader is None for one in judged] == [True, False]
    # Verdicts from before there were parsers are those that are read strictly.
    assert "parse" not in judged[0].facts()["policies"]
    assert judged[1].facts()["policies"]["parse"] == "mer2024"


def test_what_does_not_go_is_told():
    with pytest.raises(ConfigError, match=r"reduce.parse: there is no 'lenient'"):
        load_task("mer_emotions").judged(ReduceConfig(parse="lenient"))
    with pytest.raises(ConfigError, match="takes a reply without any option for worried"):
        find_reader("mer2024", DFEW)
