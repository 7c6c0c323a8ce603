import math
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import schemas
from ah_ray.pipelines.reduce import make_verdicts
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig

TASK = load_task("ambivalence_hesitancy")
MEMBERS = ("v1", "v2", "v3")
PREDICTIONS = schemas.PREDICTIONS.append(pa.field("member", pa.string()))


def videos(*names: str) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"video_id": n, "uri": f"{n}.mp4", "participant_id": f"p-{n}", "split": "test",
             "label": 1}
            for n in names
        ],
        schema=schemas.VIDEOS,
    )  # fmt: skip


def clips(**numbers: int) -> pa.Table:
    """So many clips of each video."""
    return pa.Table.from_pylist(
        [
            {"clip_id": f"{video}{n}", "video_id": video, "start_s": 5.0 * n, "end_s": 5.0 * n + 5}
            for video, number in numbers.items()
            for n in range(number)
        ],
        schema=schemas.CLIPS,
    )


def predicted(member: str, clip: str, answer: int | str, p_yes: float | None = None) -> dict:
    """A prediction; ``answer`` is a label or the status of a row without one."""
    known = isinstance(answer, int)
    return {
        "member": member,
        "clip_id": clip,
        "video_id": clip[0],
        "status": "ok" if known else answer,
        "answer": answer if known else None,
        "p_yes": p_yes,
    }


def table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PREDICTIONS)


def verdicts(predictions, members=MEMBERS, policies=None, of=None) -> dict[str, dict]:
    of = of or {"a": 2, "b": 1}
    made = make_verdicts(
        videos(*of), clips(**of), predictions, members, TASK, policies or ReduceConfig()
    )
    assert made.schema == schemas.VERDICTS
    assert made["video_id"].to_pylist() == sorted(of)
    return {row["video_id"]: row for row in made.to_pylist()}


WHOLE = [
    *(predicted("v1", "a0", 0, 0.1), predicted("v1", "a1", 1, 0.9), predicted("v1", "b0", 0, 0.2)),
    *(predicted("v2", "a0", 0, 0.3), predicted("v2", "a1", 0, 0.4), predicted("v2", "b0", 0, 0.1)),
    *(predicted("v3", "a0", 1, 0.8), predicted("v3", "a1", 1, 0.6), predicted("v3", "b0", 1, 0.6)),
]


def test_maximum_over_clips_then_majority_over_members():
    found = verdicts(table(*WHOLE))
    a, b = found["a"], found["b"]
    assert (a["label"], a["votes_yes"], a["votes_no"]) == (1, 2, 1)
    assert (b["label"], b["votes_yes"], b["votes_no"]) == (0, 1, 2)
    assert a["score"] == pytest.approx((0.9 + 0.4 + 0.8) / 3)
    assert (a["status"], a["coverage"]) == ("ok", 1.0)
    assert [m["member"] for m in a["members"]] == ["v1", "v2", "v3"]
    assert [m["evidence_clip_id"] for m in a["members"]] == ["a1", "a1", "a0"]
    assert [m["clips_ok"] for m in a["members"]] == [2, 2, 2]
    assert (a["uri"], a["participant_id"], a["split"]) == ("a.mp4", "p-a", "test")


@given(st.randoms(), st.lists(st.sampled_from(WHOLE)))
def test_order_and_repetition_of_rows_change_nothing(chance, repeated):
    rows = [*WHOLE, *repeated]
    chance.shuffle(rows)
    members = random.Random(len(rows)).sample(MEMBERS, 3)
    assert verdicts(table(*rows), members) == verdicts(table(*WHOLE))


def test_order_and_repetition_of_manifest_and_members_change_nothing():
    whole = make_verdicts(
        videos("a", "b"), clips(a=2, b=1), table(*WHOLE), MEMBERS, TASK, ReduceConfig()
    )
    manifest = pa.concat_tables([clips(a=2, b=1), clips(b=1, a=2)])
    other = make_verdicts(
        videos("b", "a"), manifest, table(*WHOLE), ["v3", "v1", "v2", "v1"], TASK, ReduceConfig()
    )
    assert other.equals(whole)


def test_an_answer_wins_over_an_earlier_error_of_the_same_clip():
    rows = [row for row in WHOLE if row["clip_id"] != "b0"]
    errors = [predicted(member, "b0", "error") for member in MEMBERS]
    answers = [row for row in WHOLE if row["clip_id"] == "b0"]
    assert verdicts(table(*rows, *errors, *answers)) == verdicts(table(*WHOLE))


def test_missing_predictions_are_counted():
    rows = [row for row in WHOLE if (row["member"], row["clip_id"]) != ("v1", "a1")]
    a = verdicts(table(*rows))["a"]
    assert a["members"][0]["clips_missing"] == 1
    assert a["members"][0]["label"] == 0  # the clip that said yes is gone
    assert (a["status"], a["label"], a["coverage"]) == ("partial", 0, pytest.approx(5 / 6))


def test_a_member_that_has_said_nothing():
    rows = [row for row in WHOLE if row["member"] != "v3"]
    b = verdicts(table(*rows))["b"]
    assert b["members"][2] == {
        "member": "v3", "label": None, "score": None, "evidence_clip_id": None,
        "clips_ok": 0, "clips_unparseable": 0, "clips_error": 0, "clips_missing": 1,
    }  # fmt: skip
    assert (b["votes_yes"], b["votes_no"], b["status"]) == (0, 2, "partial")


def test_no_prediction_at_all_is_still_a_verdict():
    found = verdicts(table())
    for video, number in (("a", 2), ("b", 1)):
        row = found[video]
        assert (row["status"], row["label"], row["score"]) == ("undecided", None, None)
        assert row["coverage"] == 0.0
        assert [member["clips_missing"] for member in row["members"]] == [number] * 3


def test_predictions_of_other_members_and_clips_are_ignored():
    foreign = [
        *(predicted("old", "a0", 1, 1.0), predicted("old", "b0", 1, 1.0)),
        *(predicted("v2", "a9", 1, 1.0), predicted("v1", "c0", 1, 1.0)),
    ]
    assert verdicts(table(*WHOLE, *foreign)) == verdicts(table(*WHOLE))


def test_every_status_is_counted_once_per_clip():
    statuses = ["ok", "unparseable", "error"]
    rows = [
        predicted("v1", f"a{n}", 0 if status == "ok" else status)
        for n, status in enumerate(statuses)
    ]
    a = verdicts(table(*rows), ["v1"], of={"a": 4})["a"]
    (only,) = a["members"]
    assert [only[f"clips_{s}"] for s in (*statuses, "missing")] == [1, 1, 1, 1]
    assert a["coverage"] == 0.25


@pytest.mark.parametrize(("invalid", "label"), [("exclude", 0), ("negative", 0), ("positive", 1)])
def test_policies_reach_the_rules(invalid, label):
    rows = table(predicted("v1", "a0", 0, 0.1), predicted("v1", "a1", "unparseable"))
    found = verdicts(rows, ["v1"], ReduceConfig(invalid=invalid), of={"a": 2})
    assert found["a"]["label"] == label


NO_NUMBER = st.sampled_from([math.nan, math.inf, -math.inf])


@given(st.randoms(), st.data())
def test_a_chance_that_is_no_number_is_unknown_in_any_order(chance, data):
    unsure = [
        row | {"p_yes": data.draw(NO_NUMBER | st.just(row["p_yes"]))}
        for row in WHOLE
        for _ in range(2)  # a clip may have several rows, and only one of them a number
    ]
    known = [row | {"p_yes": None} if not math.isfinite(row["p_yes"]) else row for row in unsure]
    expected = verdicts(table(*known))
    chance.shuffle(unsure)
    assert verdicts(table(*unsure)) == expected
    for video in expected.values():
        assert math.isfinite(video["score"])


def test_no_number_is_no_answer():
    rows = [predicted("v1", "a0", "ok", math.nan), predicted("v1", "a1", "error", math.nan)]
    found = verdicts(table(*rows), ["v1"], of={"a": 2})["a"]
    assert (found["label"], found["score"], found["status"]) == (None, None, "undecided")


def test_videos_without_clips_get_no_verdict():
    made = make_verdicts(videos("a", "b"), clips(a=1), table(*WHOLE), MEMBERS, TASK, ReduceConfig())
    assert made["video_id"].to_pylist() == ["a"]


def test_an_empty_manifest_gives_an_empty_table():
    made = make_verdicts(videos("a"), clips(), table(), MEMBERS, TASK, ReduceConfig())
    assert made.equals(schemas.VERDICTS.empty_table())
