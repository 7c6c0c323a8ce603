"""Labels and intervals as archives state them, and what of them can be trained on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.catalog.against_config import against_config
from ah_ray.catalog.entry import CatalogEntry
from ah_ray.catalog.rows import Interval, check_intervals, labels_meant, needs_interval, video_row
from ah_ray.engines.config import ScoreConfig
from ah_ray.findings import KINDS
from ah_ray.tasks.answers import Choice, Labels, Text
from ah_ray.training.config import TrainConfig

ENTRY = CatalogEntry(title="t", reader="table", labels={"joy": "smile", "low": "dull"})
YES_NO = Choice(kind="choice", options=("Yes", "No"), absent="No")
CUES = Choice(kind="choice", options=("smile", "frown", "bright", "dull"))
WORDS = Labels(kind="labels")
ANSWERS = [YES_NO, CUES, WORDS, Text(kind="text")]
YES, NO = frozenset({"Yes"}), frozenset({"No"})


def checked(labels, annotated, answer=YES_NO) -> tuple[list[tuple], list[str]]:
    intervals, findings = check_intervals("v", "the video", labels, annotated, ENTRY, answer)
    assert all(finding["item_id"] == "v" for finding in findings)
    return [tuple(interval) for interval in intervals], [f["kind"] for f in findings]


ENDLESS: list = [1]
for _ in range(40):
    ENDLESS = [ENDLESS] * 9  # as a few lines of YAML can mean it


@pytest.mark.timeout(20)
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.kind)
@pytest.mark.parametrize(
    "value",
    [None, {}, {"a": 1}, ENDLESS, [ENDLESS], 1 << 10**5, [1 << 10**5], b"Yes", [None]],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_word_is_no_label(answer, value):
    assert labels_meant(value, ENTRY, answer) is None
    assert len(answer.advice(value)) < 100
    intervals, findings = check_intervals("v", "n", None, [[1, 2, value]], ENTRY, answer)
    if value is None:
        assert (intervals, findings) == ([Interval(1, 2)], [])
    else:
        assert intervals == []
        assert [finding["kind"] for finding in findings] == ["interval_unparsable"]


def test_an_archives_words_are_those_of_the_task():
    assert labels_meant("JOY ", ENTRY, CUES) == {"smile"}
    assert labels_meant("joy, low", ENTRY, WORDS) == {"smile", "dull"}
    assert labels_meant("joy", ENTRY, Text(kind="text")) is None


@pytest.mark.parametrize(
    ("labels", "annotated", "intervals", "kinds"),
    [
        (YES, [[1, 2], [3, 4]], [(1, 2, None), (3, 4, None)], []),
        (YES, [], [], ["positive_without_intervals"]),
        (YES, None, [], []),  # the archive states none
        (YES, "what", [], ["interval_unparsable", "positive_without_intervals"]),
        (NO, [[1, 2]], [], ["negative_with_intervals"]),
        (NO, [], [], []),
        (None, [[1, 2]], [(1, 2, None)], []),
        (YES, [[1, 2, "yes"], [1.5, 3, "1"], [2, 4]], [(1, 4, None)], ["intervals_overlap"] * 2),
        (YES, [[1, 2, "No"], [1, 2]], [(1, 2, None), (1, 2, "No")], []),
        (YES, [[1, 2, "maybe"]], [], ["interval_unparsable", "positive_without_intervals"]),
        (YES, [[1, 2, None]], [(1, 2, None)], []),
    ],
)
def test_intervals_of_a_video_where_something_is_there_or_absent(
    labels, annotated, intervals, kinds
):
    assert checked(labels, annotated) == (intervals, kinds)


def test_each_interval_may_have_a_label_of_its_own():
    annotated = [[3, 4, "frown"], [1, 2, "joy"], [1, 3, "Frown"], [1.5, 2.5, "smile"],
                 [0, 9, "bright"], [8, 9]]  # fmt: skip
    assert checked(frozenset({"bright"}), annotated, CUES) == (
        [(0, 9, None), (1, 2.5, "smile"), (1, 4, "frown")],
        ["intervals_overlap", "intervals_touch", "intervals_overlap"],
    )
    assert checked(frozenset({"bright"}), [], CUES) == ([], [])
    words = [[1, 2, "joy"], [2, 3, "so, too"]]  # one label for each interval
    assert checked(None, words, WORDS) == ([(1, 2, "smile")], ["interval_unparsable"])


TIMES = st.integers(0, 20)
WORD = st.sampled_from(["smile", "JOY", "dull", "nothing", None, 7, ["smile"]])
ANNOTATED = st.lists(st.tuples(TIMES, TIMES, WORD).map(list) | st.tuples(TIMES, TIMES).map(list))


@given(ANNOTATED, st.sampled_from(ANSWERS))
def test_intervals_are_sorted_and_those_of_one_label_apart(annotated, answer):
    intervals, findings = check_intervals("v", "n", None, annotated, ENTRY, answer)
    assert [i[:2] for i in intervals] == sorted(i[:2] for i in intervals)
    for label in {interval.label for interval in intervals}:
        assert label is None or answer.meant(label) == {label}
        edges = [edge for i in intervals if i.label == label for edge in i[:2]]
        assert edges == sorted(set(edges))
    assert all(finding["kind"] in KINDS for finding in findings)
    assert intervals or findings or not annotated


def test_only_where_something_may_be_absent_a_video_needs_intervals():
    assert needs_interval({"labels": ["Yes"]}, "No")
    assert not needs_interval({"labels": ["No"]}, "No")
    assert not needs_interval({"labels": ["smile"]}, None)


# An archive and a run config


TRAIN = TrainConfig(splits=("train",), validation_splits=("val",))
SCORE = ScoreConfig(splits=("test",))
SOME = (Interval(1, 2),)


def videos(split, *labels, intervals=SOME) -> list[dict]:
    return [
        video_row(f"{split}{n}", "u", "p", split, said, intervals) for n, said in enumerate(labels)
    ]


def complaints(*rows, answer=YES_NO) -> dict[str, str]:
    found = against_config([v for some in rows for v in some], TRAIN, SCORE, answer)
    return {finding["kind"]: finding["message"] for finding in found}


def words(*labels) -> list[frozenset[str]]:
    return [frozenset({label}) for label in labels]


BOTH = words("Yes", "No")
VAL = videos("val", *BOTH)


def test_an_archive_with_all_that_is_asked_for():
    assert complaints(videos("train", *BOTH), VAL, videos("test", *BOTH)) == {}
    cues = words("smile", "dull")
    rows = (videos(split, *cues, intervals=()) for split in ("train", "val", "test"))
    assert complaints(*rows, answer=CUES) == {}


@pytest.mark.parametrize(
    ("labels", "intervals", "answer", "message"),
    [
        (words("Yes", "Yes"), SOME, YES_NO, "are 2 Yes; 2 of them can be trained on"),
        (words("Yes", "No"), (), YES_NO, "are 1 No, 1 Yes; 1 of them can be trained on"),
        ([None, NO], (), YES_NO, "are 1 No; 1 of them can be trained on"),
        ([None, None], (), YES_NO, "are no label; 0 of them can be trained on"),
        (words("smile", "smile"), (), CUES, "are 2 smile; 2 of them can be trained on"),
        ([frozenset(), None], (), WORDS, "are 1 []; 1 of them can be trained on"),
    ],
)
def test_one_thing_to_say_is_nothing_to_learn(labels, intervals, answer, message):
    test = words(*(answer.options or "ab")[:2])
    rows = videos("train", *labels, intervals=intervals)
    found = complaints(rows, videos("val", *test), videos("test", *test), answer=answer)
    assert list(found) == ["one_class_training"]
    assert message in found["one_class_training"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (words("No", "No"), "the 2 videos of test all have the label No"),
        ([None], "the 1 videos of test have no label"),
        ([frozenset({"a", "b"})] * 2, "all have the label a, b"),
        ([frozenset()] * 2, "all have the label []"),
    ],
)
def test_where_all_that_is_scored_is_alike_no_metric_can_tell(labels, message):
    found = complaints(videos("train", *BOTH), VAL, videos("test", *labels))
    assert list(found) == ["one_class_scored"]
    assert message in found["one_class_scored"]


def test_splits_that_are_not_there_or_not_used():
    found = complaints(videos("train", *BOTH), videos("tset", *BOTH))
    assert set(found) == {"split_missing", "validation_missing", "split_unused"}
    assert "did you mean 'tset'?" in found["split_missing"]
