import json
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.errors import ConfigError
from ah_ray.evaluation.judged import Judged
from ah_ray.evaluation.label_sets import Scores, label_sets
from ah_ray.evaluation.metrics import NOTES, measured
from ah_ray.tasks.answers import Labels

WORDS = Labels(kind="labels")
LABELS = st.frozensets(st.sampled_from(["glad", "happy", "sad", "angry", "odd"]), max_size=4)
ROWS = st.lists(st.tuples(LABELS, LABELS | st.none()), min_size=1, max_size=12)


def judged(*rows) -> list[Judged]:
    """Videos named 0, 1, ..., of the words of each, blanks between them."""

    def words(text) -> frozenset[str] | None:
        return frozenset(text.split()) if isinstance(text, str) else text

    return [Judged(words(t), words(s), {}, str(n)) for n, (t, s) in enumerate(rows)]


def scored(groups: str, *rows) -> dict:
    return label_sets({"groups": groups})(judged(*rows), WORDS)


def scores(values: dict, part: str) -> Scores:
    return Scores(*(values[f"{part}_{name}"] for name in Scores._fields))


@pytest.fixture
def file(tmp_path):
    """Writes a file; gives its path."""

    def write(values, name="groups.json") -> str:
        (tmp_path / name).write_text(json.dumps(values))
        return str(tmp_path / name)

    return write


# Words and groups


def test_without_groups_words_are_compared_as_they_are():
    found = scored("none", ("glad sad", "glad angry odd"), ("sad", "sad"))
    precision, recall = (1 / 3 + 1) / 2, (1 / 2 + 1) / 2
    assert scores(found, "words") == pytest.approx(
        (precision, recall, (precision + recall) / 2, 2 * precision * recall / (precision + recall))
    )
    assert found["by"] == {"words": {"groups": "none", "hash": None}}
    assert found["videos_counted"] == {"words": {"": 2}}


def test_the_case_of_letters_does_not_matter():
    assert scores(scored("none", ("Glad SAD", "glad sad")), "words") == (1, 1, 1, 1)


def test_words_of_a_group_are_one_class(file):
    groups = file([["glad", "happy"], ["Angry", "mad"]])
    found = scored(groups, ("glad happy mad", "happy angry odd"))
    # True: glad, angry. Said: glad, angry, odd.
    assert scores(found, "groups")[:2] == (pytest.approx(2 / 3), 1)
    assert found["by"]["groups"]["groups"] == "groups.json"


def test_the_first_word_of_a_group_stands_for_all(file):
    found = scored(file([["glad", "happy"], ["glad", "merry"]]), ("happy", "merry"))
    assert scores(found, "groups") == (1, 1, 1, 1)
    # It stands for itself no more where a later group has it, which leads no further.
    found = scored(file([["glad", "happy"], ["merry", "glad"]]), ("happy", "glad"))
    assert scores(found, "groups") == (0, 0, 0, 0)


def test_a_video_has_groups_of_its_own(file):
    groups = file(
        {"groups": [["sad", "down"]], "videos": {"1": [["glad", "happy"], ["low", "sad"]]}}
    )
    rows = (("glad", "happy"), ("glad sad", "happy low"), ("sad", "down"), ("sad", "low"))
    assert [scored(groups, *rows[:n])["groups_recall"] for n in (1, 2, 3, 4)] == [
        0, 1 / 2, pytest.approx(2 / 3), 1 / 2
    ]  # fmt: skip


def of_ones_own(video_id, words):
    assert list(words) == sorted(words)
    return [["sad", "angry"]] if video_id == "1" else []


def test_groups_by_a_function_of_ones_own():
    found = scored(f"{__name__}:of_ones_own", ("sad", "angry"), ("sad", "angry"))
    assert found["groups_recall"] == 1 / 2
    assert found["by"]["groups"]["groups"] == f"{__name__}:of_ones_own"
    assert len(found["by"]["groups"]["hash"]) == 16


def test_a_changed_file_has_another_hash_and_other_scores(file):
    rows = ("glad", "happy")
    before = scored(file([["glad", "happy"]]), rows)
    after = scored(file([["glad", "joyful"]]), rows)
    assert (before["groups_f1"], after["groups_f1"]) == (1, 0)
    assert before["by"]["groups"]["hash"] != after["by"]["groups"]["hash"]


def test_no_word_is_precision_and_recall_of_0_and_no_answer_is_in_no_mean():
    found = scored("none", ("sad", "sad"), ("sad", ""), ("sad", None), ("", "sad"))
    assert scores(found, "words") == (1 / 2, 1 / 2, 1 / 2, 1 / 2)
    assert found["videos_counted"] == {"words": {"": 2}}
    both = measured(
        judged(("sad", None), ("sad", "sad")), ({"label_sets": {"groups": "none"}},), WORDS
    )
    assert (both["n"], both["undecided"], both["words_f1"]) == (1, 1, 1)


def test_without_a_video_that_counts_nothing_is_defined():
    for rows in ((), (("sad", None),), (("", "sad"),)):
        found = scored("none", *rows)
        assert scores(found, "words") == (None,) * 4
        assert found["undefined"].keys() == {f"words_{name}" for name in Scores._fields}
    assert scores(scored("none", ("sad", "glad")), "words") == (0, 0, 0, 0)


# Wheels


A_WHEEL = {
    "good": {"joy": ["glad", "merry"], "awe": ["amazed"]},
    "bad": {"woe": ["sad"], "ire": ["angry", "odd"]},
}
ANOTHER = {"mild": {"soft": ["glad", "sad"]}, "strong": {"loud": ["angry"], "keen": ["odd"]}}


def test_a_wheel_is_scored_at_two_levels(file):
    wheels = file({"wheels": {"one": A_WHEEL}}, "wheels.json")
    found = scored(wheels, ("glad sad", "merry angry"), ("sad", "unknown"))
    # Level 1: good, bad against good, bad; level 2: joy, woe against joy, ire. Then against none.
    assert scores(found, "wheel_1") == (1 / 2, 1 / 2, 1 / 2, 1 / 2)
    assert scores(found, "wheel_2") == (1 / 4, 1 / 4, 1 / 4, 1 / 4)
    assert scores(found, "wheel") == (3 / 8, 3 / 8, 3 / 8, 3 / 8)
    assert found["by"]["wheel"]["groups"] == "wheels.json"


def test_the_f1_of_a_wheel_is_of_its_means_and_then_averaged_over_wheels(file):
    wheels = file({"wheels": {"one": A_WHEEL, "two": ANOTHER}}, "wheels.json")
    found = scored(wheels, ("glad", "glad angry"), ("glad sad", "glad"), ("merry", "merry"))
    # Level 1 of one: P 1/2 1 1, R 1 1/2 1; of two, without merry: P 1/2 1, R 1 1.
    precision, recall = (fmean((1 / 2, 1, 1)), fmean((1 / 2, 1))), (fmean((1, 1 / 2, 1)), 1)
    f1 = [2 * p * r / (p + r) for p, r in zip(precision, recall, strict=True)]
    assert found["wheel_1_precision"] == pytest.approx(fmean(precision))
    assert found["wheel_1_recall"] == pytest.approx(fmean(recall))
    assert found["wheel_1_f1"] == pytest.approx(fmean(f1))
    assert found["videos_counted"] == {"wheel": {"one": 3, "two": 2}}


def test_the_small_wheel_is_there_without_a_file():
    found = scored("wheel", ("joyful", "happiness"), ("fearful", "terror"), ("fear", "anger"))
    assert found["wheel_1_f1"] == pytest.approx(2 / 3)
    assert found["by"]["wheel"]["groups"] == "wheel.yaml"


# Properties


@pytest.fixture(scope="module")
def groupings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    (folder / "groups.json").write_text('[["glad", "happy"], ["sad", "angry"]]')
    (folder / "wheels.json").write_text(json.dumps({"wheels": {"one": A_WHEEL, "two": ANOTHER}}))
    return ["none", "wheel", str(folder / "groups.json"), str(folder / "wheels.json")]


@given(data=st.data(), rows=ROWS)
def test_the_order_of_videos_changes_nothing(groupings, data, rows):
    videos = judged(*rows)
    for name in groupings:
        metric = label_sets({"groups": name})
        assert metric(data.draw(st.permutations(videos)), WORDS) == metric(videos, WORDS)


@given(rows=ROWS)
def test_the_truth_against_itself_is_perfect(groupings, rows):
    for name in groupings:
        found = scored(name, *((truth, truth) for truth, _ in rows))
        numbers = {k: v for k, v in found.items() if isinstance(v, float)}
        assert set(numbers.values()) <= {1.0}
        assert numbers.keys() | found["undefined"].keys() >= {
            k for k in found if k.endswith(Scores._fields)
        }


@given(truth=LABELS, members=st.lists(LABELS, min_size=1, max_size=4))
def test_a_union_finds_of_every_video_what_any_member_finds(groupings, truth, members):
    union = frozenset().union(*members)
    for name in groupings:
        together = scored(name, (truth, union))
        for said in members:
            alone = scored(name, (truth, said))
            recalls = [key for key in alone if key.endswith("recall") and alone[key] is not None]
            assert all(together[key] >= alone[key] for key in recalls)


# What is refused


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("3", "holds neither groups nor wheels"),
        ('{"vidoes": {}}', "vidoes: unknown key"),
        ('[["a", 1]]', r"groups.0.1: .* valid string"),
        ('{"wheels": {}}', "wheels: .* at least 1"),
        ('{"wheels": {"a": {"good": {}}}}', "at least 1"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_its_name(tmp_path, content, problem):
    (tmp_path / "groups.json").write_text(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        label_sets({"groups": str(tmp_path / "groups.json")})
    assert "groups.json" in caught.value.where


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ({"groups": "nobody/has/this.json"}, "cannot be read: No such file"),
        ({"groups": "sometimes"}, "there is no 'sometimes'"),
        ({"groups": "json:nothing"}, "cannot be loaded"),
        ({"group": "none"}, "unknown key"),
        ({}, "groups: is missing"),
        (None, "valid dictionary"),
    ],
)
def test_what_does_not_name_groups_is_refused(argument, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        label_sets(argument)
    assert caught.value.where.startswith("task: metrics.label_sets")


# Under weights


@given(ROWS, st.sampled_from(["none", "wheel"]))
def test_under_equal_weights_the_numbers_are_the_same(rows, groups):
    videos, metric = judged(*rows), label_sets({"groups": groups})
    whole = metric(videos, WORDS)
    under = metric.weighted(videos, WORDS)(np.ones((1, len(videos))))
    ours = {name: None if np.isnan(value[0]) else value[0] for name, value in under.items()}
    assert ours == pytest.approx({name: whole[name] for name in ours})
    assert ours.keys() == whole.keys() - NOTES


def test_a_video_that_is_drawn_twice_counts_twice():
    videos = judged(("glad", "glad"), ("glad sad", "sad odd"))
    under = label_sets({"groups": "none"}).weighted(videos, WORDS)(np.array([[2.0, 1.0]]))
    assert under["words_precision"][0] == pytest.approx((2 + 1 / 2) / 3)
