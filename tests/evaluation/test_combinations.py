import re

from hypothesis import given
from hypothesis import strategies as st

from ah_ray.evaluation.combinations import by_combination, combinations
from ah_ray.evaluation.trade_off import trade_off
from ah_ray.tasks.answers import Labels
from ah_ray.tasks.judgement import Judgement, MemberVerdict
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.rules import Considered

WORDS = st.frozensets(st.sampled_from(["glad", "happy", "sad", "odd"]), max_size=3)
UNION = Judgement.usual(Labels(kind="labels"), ReduceConfig()).model_copy(
    update={"metrics": ({"label_sets": {"groups": "none"}}, {"label_sets": {"groups": "wheel"}})}
)


def says(member: str, labels: frozenset[str]) -> MemberVerdict:
    considered = tuple(Considered(label, 1.0, "c", ()) for label in sorted(labels))
    return MemberVerdict(member, labels, considered, 1, 0, 0, 0)


def test_all_combinations_of_2_to_8_members():
    assert list(combinations("cabab")) == [
        ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")
    ]  # fmt: skip
    assert [len(list(combinations("abcdefghi"[:n]))) for n in (0, 1, 2, 8, 9)] == [0, 0, 3, 255, 0]


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), min_size=1, max_size=6))
def test_the_more_members_in_a_union_the_more_is_found(rows):
    truth = {str(video): row[0] for video, row in enumerate(rows)}
    answers = {
        str(video): [says(name, labels) for name, labels in zip("abc", row[1:], strict=True)]
        for video, row in enumerate(rows)
    }
    found = by_combination(truth, answers, UNION)
    for name, values in found.items():
        for other, more in found.items():
            if set(name.split("+")) <= set(other.split("+")):
                recalls = [k for k in values if k.endswith("recall") and values[k] is not None]
                assert all(more[key] >= values[key] for key in recalls)
    again = {video: [*reversed(said), *said] for video, said in answers.items()}
    assert by_combination(truth, again, UNION) == found


def measures(precision, recall) -> dict:
    return {"words_precision": precision, "words_recall": recall}


def named(drawn: bytes) -> set[str]:
    """What stands in a picture, but for the numbers of its axes."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn.decode())
    return {text for text in texts if not text[0].isdigit()}


def test_named_are_members_all_together_and_what_nothing_surpasses():
    found = {
        "a": measures(0.9, 0.2), "b": measures(0.1, 0.1), "c": measures(0.2, 0.3),
        "a+b": measures(0.5, 0.5), "a+c": measures(0.4, 0.5), "b+c": measures(None, None),
        "a+b+c": measures(0.3, 0.4),
    }  # fmt: skip
    names = {"a", "b", "c", "a+b", "a+b+c"}
    drawn = trade_off(found)
    assert named(drawn) == names | {"recall", "precision", "combinations of members"}
    assert drawn == trade_off(found)


def test_a_name_stays_text():
    found = {"<b>$x^2$&": measures(0.5, 0.5)}
    drawn = trade_off(found)
    assert b"<b>" not in drawn
    assert "&lt;b&gt;$x^2$&amp;" in named(drawn)


def test_nothing_is_drawn_where_nothing_has_precision_and_recall():
    for found in ({}, {"a": {"war": 0.5}}, {"a": measures(None, None)}):
        assert trade_off(found) is None
