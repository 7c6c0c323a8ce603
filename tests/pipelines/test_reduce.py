import math
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import schemas
from ah_ray.pipelines.reduce import make_verdicts
from ah_ray.tasks import load_task
from ah_ray.tasks.judgement import Rules
from ah_ray.tasks.policies import ReduceConfig

AMBIVALENCE = load_task("ambivalence_hesitancy").judged(ReduceConfig())
MAJORITY = AMBIVALENCE.model_copy(update={"rules": Rules(clips="most", members="most")})
CUES = load_task("cues").judged(ReduceConfig())
MEMBERS = ("v1", "v2", "v3")
PREDICTIONS = schemas.PREDICTIONS.append(pa.field("member", pa.string()))


def videos(*names: str) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"video_id": n, "uri": f"{n}.mp4", "participant_id": f"p-{n}", "split": "test",
             "labels": ["Yes"]}
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


def predicted(member: str, clip: str, said: str, chances: dict | float | None = None) -> dict:
    """A prediction; ``said`` is a label or the status of a row without one, a number P(Yes)."""
    known = said not in ("ok", "unparseable", "error")
    if isinstance(chances, float):
        chances = {"Yes": chances, "No": 1 - chances}
    return {
        "member": member,
        "clip_id": clip,
        "video_id": clip[0],
        "status": "ok" if known else said,
        "labels": [said] if known else None,
        "chances": None if chances is None else list(chances.items()),
    }


def table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PREDICTIONS)


def verdicts(
    predictions, members=MEMBERS, policies=None, of=None, judgement=AMBIVALENCE
) -> dict[str, dict]:
    of = of or {"a": 2, "b": 1}
    if policies is not None:
        judgement = judgement.model_copy(update={"policies": policies})
    made = make_verdicts(videos(*of), clips(**of), predictions, members, judgement)
    assert made.schema == schemas.VERDICTS
    assert made["video_id"].to_pylist() == sorted(of)
    return {row["video_id"]: row for row in made.to_pylist()}


def chances(row: dict) -> dict[str, float]:
    return {one["label"]: one["chance"] for one in row["considered"]}


def givers(row: dict) -> dict[str, list[str]]:
    return {one["label"]: one["members"] for one in row["considered"]}


WHOLE = [
    *(
        predicted("v1", "a0", "No", 0.1),
        predicted("v1", "a1", "Yes", 0.9),
        predicted("v1", "b0", "No", 0.2),
    ),
    *(
        predicted("v2", "a0", "No", 0.3),
        predicted("v2", "a1", "No", 0.4),
        predicted("v2", "b0", "No", 0.1),
    ),
    *(
        predicted("v3", "a0", "Yes", 0.8),
        predicted("v3", "a1", "Yes", 0.6),
        predicted("v3", "b0", "Yes", 0.6),
    ),
]


def test_maximum_over_clips_then_majority_over_members():
    found = verdicts(table(*WHOLE))
    a, b = found["a"], found["b"]
    assert (a["labels"], givers(a)) == (["Yes"], {"Yes": ["v1", "v3"], "No": ["v2"]})
    assert (b["labels"], givers(b)) == (["No"], {"Yes": ["v3"], "No": ["v1", "v2"]})
    assert chances(a) == pytest.approx({"Yes": 0.7, "No": 0.3})  # of 0.9, 0.4 and 0.8
    assert [one["evidence_clip_id"] for one in a["considered"]] == ["a1", "a0"]
    assert (a["status"], a["coverage"]) == ("ok", 1.0)
    assert [m["member"] for m in a["members"]] == ["v1", "v2", "v3"]
    assert [m["labels"] for m in a["members"]] == [["Yes"], ["No"], ["Yes"]]
    evidence = [[one["evidence_clip_id"] for one in m["considered"]] for m in a["members"]]
    assert evidence == [["a1", "a0"], ["a1", "a0"], ["a0", "a1"]]  # for Yes, and for No
    assert [m["clips_ok"] for m in a["members"]] == [2, 2, 2]
    assert (a["uri"], a["participant_id"], a["split"]) == ("a.mp4", "p-a", "test")


@given(st.randoms(), st.lists(st.sampled_from(WHOLE)))
def test_order_and_repetition_of_rows_change_nothing(chance, repeated):
    rows = [*WHOLE, *repeated]
    chance.shuffle(rows)
    members = random.Random(len(rows)).sample(MEMBERS, 3)
    assert verdicts(table(*rows), members) == verdicts(table(*WHOLE))


def test_order_and_repetition_of_manifest_and_members_change_nothing():
    whole = make_verdicts(videos("a", "b"), clips(a=2, b=1), table(*WHOLE), MEMBERS, AMBIVALENCE)
    manifest = pa.concat_tables([clips(a=2, b=1), clips(b=1, a=2)])
    other = make_verdicts(
        videos("b", "a"), manifest, table(*WHOLE), ["v3", "v1", "v2", "v1"], AMBIVALENCE
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
    assert a["members"][0]["labels"] == ["No"]  # the clip that said yes is gone
    assert (a["status"], a["labels"], a["coverage"]) == ("partial", ["No"], pytest.approx(5 / 6))


def test_a_member_that_has_said_nothing():
    rows = [row for row in WHOLE if row["member"] != "v3"]
    b = verdicts(table(*rows))["b"]
    assert b["members"][2] == {
        "member": "v3", "labels": None, "considered": [],
        "clips_ok": 0, "clips_unparseable": 0, "clips_error": 0, "clips_missing": 1,
    }  # fmt: skip
    assert (givers(b), b["status"]) == ({"Yes": [], "No": ["v1", "v2"]}, "partial")


def test_no_prediction_at_all_is_still_a_verdict():
    found = verdicts(table())
    for video, number in (("a", 2), ("b", 1)):
        row = found[video]
        assert (row["status"], row["labels"], row["considered"]) == ("undecided", None, [])
        assert row["coverage"] == 0.0
        assert [member["clips_missing"] for member in row["members"]] == [number] * 3


def test_predictions_of_other_members_and_clips_are_ignored():
    foreign = [
        *(predicted("old", "a0", "Yes", 1.0), predicted("old", "b0", "Yes", 1.0)),
        *(predicted("v2", "a9", "Yes", 1.0), predicted("v1", "c0", "Yes", 1.0)),
    ]
    assert verdicts(table(*WHOLE, *foreign)) == verdicts(table(*WHOLE))


def test_every_status_is_counted_once_per_clip():
    statuses = ["ok", "unparseable", "error"]
    rows = [
        predicted("v1", f"a{n}", "No" if status == "ok" else status)
        for n, status in enumerate(statuses)
    ]
    a = verdicts(table(*rows), ["v1"], of={"a": 4})["a"]
    (only,) = a["members"]
    assert [only[f"clips_{s}"] for s in (*statuses, "missing")] == [1, 1, 1, 1]
    assert a["coverage"] == 0.25


@pytest.mark.parametrize(("invalid", "label"), [("exclude", "No"), ("No", "No"), ("Yes", "Yes")])
def test_policies_reach_the_rules(invalid, label):
    rows = table(predicted("v1", "a0", "No", 0.1), predicted("v1", "a1", "unparseable"))
    found = verdicts(rows, ["v1"], ReduceConfig(invalid=invalid), of={"a": 2})
    assert found["a"]["labels"] == [label]


NO_NUMBER = st.sampled_from([math.nan, math.inf, -math.inf])


@given(st.randoms(), st.data())
def test_a_chance_that_is_no_number_is_unknown_in_any_order(chance, data):
    unsure = [
        row
        | {
            "chances": [
                (label, data.draw(NO_NUMBER | st.just(chance))) for label, chance in row["chances"]
            ]
        }
        for row in WHOLE
        for _ in range(2)  # a clip may have several rows, and only one of them a number
    ]
    known = [row if all(math.isfinite(chance) for _, chance in row["chances"])
             else row | {"chances": None} for row in unsure]  # fmt: skip
    expected = verdicts(table(*known))
    chance.shuffle(unsure)
    assert verdicts(table(*unsure)) == expected
    for video in expected.values():
        assert all(map(math.isfinite, chances(video).values()))


@pytest.mark.parametrize("judgement", [AMBIVALENCE, MAJORITY], ids=["first", "most"])
def test_no_number_is_no_answer(judgement):
    rows = [predicted("v1", "a0", "ok", math.nan), predicted("v1", "a1", "error", math.nan)]
    found = verdicts(table(*rows), ["v1"], of={"a": 2}, judgement=judgement)["a"]
    assert (found["labels"], found["considered"], found["status"]) == (None, [], "undecided")
    rows = [predicted("v1", "a0", "ok"), predicted("v1", "a0", "No"), predicted("v1", "a1", "ok")]
    assert verdicts(table(*rows), ["v1"], of={"a": 2}, judgement=judgement)["a"]["labels"] == ["No"]


def test_videos_without_clips_get_no_verdict():
    made = make_verdicts(videos("a", "b"), clips(a=1), table(*WHOLE), MEMBERS, AMBIVALENCE)
    assert made["video_id"].to_pylist() == ["a"]


def test_an_empty_manifest_gives_an_empty_table():
    made = make_verdicts(videos("a"), clips(), table(), MEMBERS, AMBIVALENCE)
    assert made.equals(schemas.VERDICTS.empty_table())


# More than two options: the clip's label is the likeliest one, as scoring writes it


def cues(member: str, clip: str, *weights: float) -> dict:
    options = CUES.answer.options
    chances = dict(zip(options, weights, strict=True))
    return predicted(member, clip, max(options, key=lambda option: chances[option]), chances)


FOUR = [
    *(cues("v1", "a0", 0.1, 0.6, 0.2, 0.1), cues("v1", "a1", 0.1, 0.5, 0.4, 0.0)),
    *(cues("v2", "a0", 0.4, 0.3, 0.2, 0.1), cues("v2", "a1", 0.1, 0.6, 0.3, 0.0)),
    *(cues("v3", "a0", 0.1, 0.1, 0.7, 0.1), cues("v3", "a1", 0.1, 0.2, 0.6, 0.1)),
]


def test_of_four_options_the_one_that_is_given_most_often():
    a = verdicts(table(*FOUR), of={"a": 2}, judgement=CUES)["a"]
    # One clip each of v2 says smile and frown: frown is likelier on the whole.
    assert [member["labels"] for member in a["members"]] == [["frown"], ["frown"], ["bright"]]
    assert (a["labels"], a["status"], a["coverage"]) == (["frown"], "ok", 1.0)
    assert [one["label"] for one in a["considered"]] == list(CUES.answer.options)
    assert givers(a) == {"smile": [], "frown": ["v1", "v2"], "bright": ["v3"], "dull": []}
    assert chances(a) == pytest.approx(
        {"smile": 0.9 / 6, "frown": 2.3 / 6, "bright": 2.4 / 6, "dull": 0.4 / 6}
    )
    evidence = {one["label"]: one["evidence_clip_id"] for one in a["considered"]}
    # Of frown v1's, who is surest of it, and of its clips the surest; of bright v3's.
    assert (evidence["frown"], evidence["bright"]) == ("a0", "a0")


@pytest.mark.parametrize(
    ("tie", "labels"), [("score", ["bright"]), ("undecided", None), ("dull", ["dull"])]
)
def test_of_four_options_a_tie_is_decided_by_the_policy(tie, labels):
    rows = [row for row in FOUR if row["member"] != "v2" and row["clip_id"] == "a0"]
    found = verdicts(table(*rows), ["v1", "v3"], ReduceConfig(tie=tie), {"a": 1}, CUES)["a"]
    assert found["labels"] == labels
    assert found["status"] == ("undecided" if labels is None else "ok")


@given(st.lists(st.sampled_from(FOUR)), st.randoms())
def test_of_four_options_order_and_repetition_change_nothing(repeated, chance):
    rows = [*FOUR, *repeated]
    chance.shuffle(rows)
    members = random.Random(len(rows)).sample(MEMBERS, 3)
    found = verdicts(table(*rows), members, of={"a": 2}, judgement=CUES)
    assert found == verdicts(table(*FOUR), of={"a": 2}, judgement=CUES)


def test_other_rules_or_policies_are_other_verdicts_and_other_metrics_are_not():
    def made_from(judgement):
        made = verdicts(table(*WHOLE), judgement=judgement)
        return {video: row["made_from"] for video, row in made.items()}

    before = made_from(AMBIVALENCE)
    strict = AMBIVALENCE.model_copy(update={"policies": ReduceConfig(missing="No")})
    for judgement in (MAJORITY, strict):
        assert made_from(judgement).items().isdisjoint(before.items())
    assert made_from(AMBIVALENCE.model_copy(update={"metrics": ()})) == before
