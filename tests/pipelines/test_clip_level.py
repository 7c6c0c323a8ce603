import pyarrow as pa
import pytest
from sklearn import metrics

from ah_ray import schemas
from ah_ray.config import ENSEMBLE
from ah_ray.pipelines.clip_level import clip_level
from ah_ray.pipelines.print_metrics import print_levels
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig

JUDGEMENT = load_task("ambivalence_hesitancy").judged(ReduceConfig())
CLIP_S = 5.0
MEMBERS = ("v1", "v2", "v3")


def videos(**intervals: list[tuple[float, float]] | None) -> pa.Table:
    """Videos with the intervals where it is; None for a video without it."""
    return pa.Table.from_pylist(
        [
            {"video_id": name, "labels": ["No" if spans is None else "Yes"],
             "intervals": [{"start_s": start, "end_s": end} for start, end in spans or ()]}
            for name, spans in intervals.items()
        ],
        schema=schemas.VIDEOS,
    )  # fmt: skip


def clips(**numbers: int) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"clip_id": f"{name}{k}", "video_id": name, "start_s": CLIP_S * k,
             "end_s": CLIP_S * (k + 1)}
            for name, number in numbers.items()
            for k in range(number)
        ],
        schema=schemas.CLIPS,
    )  # fmt: skip


def answers(**said: dict[str, float | str]) -> pa.Table:
    """Of each member P(Yes) of clips, or the status of an answer that is none."""
    rows = [
        {"member": member, "clip_id": clip, "video_id": clip[0], "status": "ok",
         "labels": ["Yes" if yes >= 0.5 else "No"], "chances": [("Yes", yes), ("No", 1 - yes)]}
        if isinstance(yes, float)
        else {"member": member, "clip_id": clip, "video_id": clip[0], "status": yes}
        for member, of in said.items()
        for clip, yes in of.items()
    ]  # fmt: skip
    schema = schemas.PREDICTIONS.append(pa.field("member", pa.string()))
    return pa.Table.from_pylist(rows, schema=schema)


def test_members_and_ensemble_are_measured_over_clips():
    of = {
        "v1": {"a0": 0.9, "a1": 0.2, "b0": 0.4, "b1": 0.1},
        "v2": {"a0": 0.8, "a1": 0.6, "b0": 0.3, "b1": 0.7},
        "v3": {"a0": 0.1, "a1": 0.1, "b0": 0.6, "b1": "error"},
    }
    truth = {"a0": 1, "a1": 0, "b0": 0, "b1": 0}
    found = clip_level(videos(a=[(0.5, 4.0)], b=None), clips(a=2, b=2), answers(**of), JUDGEMENT)
    assert list(found) == [*MEMBERS, ENSEMBLE]
    for name in ("v1", "v2"):
        said = [of[name][clip] >= 0.5 for clip in truth]
        expected = metrics.f1_score([*truth.values()], said, average="macro")
        assert found[name]["macro_f1"] == pytest.approx(expected)
        sure = [of[name][clip] for clip in truth]
        ap = metrics.average_precision_score([*truth.values()], sure)
        assert found[name]["average_precision"] == pytest.approx(ap)
    assert (found["v3"]["n"], found["v3"]["undecided"]) == (3, 1)
    assert found[ENSEMBLE]["accuracy"] == 1.0  # two of three on a0; of b1 the two are even
    assert found[ENSEMBLE]["n"] == 4


@pytest.mark.parametrize(
    ("intervals", "positive"),
    [
        ([(0.0, 2.5)], [True, False]),  # half of the clip
        ([(4.0, 5.4)], [True, False]),  # more than half of the interval
        ([(4.0, 6.0)], [True, True]),  # half of it in each
        ([(3.0, 10.0)], [False, True]),  # less than half of the one, all of the other
        ([(1.0, 2.0), (1.5, 2.2)], [True, False]),  # short ones that lie in it
        ([(2.0, 9.0), (2.5, 9.5)], [True, True]),  # three fifths, and what overlaps counts once
        ([(3.0, 30.0), (3.5, 31.0)], [False, True]),  # two fifths, and not twice of them
    ],
)
def test_what_a_clip_shows(intervals, positive):
    sure = {f"a{k}": float(yes) for k, yes in enumerate(positive)}
    found = clip_level(videos(a=intervals), clips(a=2), answers(v1=sure), JUDGEMENT)
    assert found["v1"]["accuracy"] == 1.0
    assert found["v1"]["positives"] == sum(positive)


def test_clips_of_which_nobody_knows_are_left_out():
    said = {"a0": 0.9, "b0": 0.9, "c0": 0.1}
    of = videos(a=[(0.0, 5.0)], b=[], c=None)
    found = clip_level(of, clips(a=1, b=1, c=1), answers(v1=said), JUDGEMENT)
    assert found["v1"]["n"] == 2


def test_an_answer_counts_once_and_wins_over_an_error():
    said = answers(v1={"a0": 0.9})
    rows = pa.concat_tables([answers(v1={"a0": "error"}), said, said])
    found = clip_level(videos(a=[(0.0, 5.0)]), clips(a=1), rows, JUDGEMENT)
    assert (found["v1"]["n"], found["v1"]["undecided"]) == (1, 0)


@pytest.mark.parametrize("task", ["cues", "emotion_labels"])
def test_other_tasks_have_no_such_level(task):
    judgement = load_task(task).judged(ReduceConfig())
    of = videos(a=[(0.0, 5.0)])
    assert clip_level(of, clips(a=1), answers(v1={"a0": 0.9}), judgement) == {}


def test_without_intervals_there_is_none():
    found = clip_level(videos(a=[], b=None), clips(a=1), answers(v1={"a0": 0.9}), JUDGEMENT)
    assert found == {}


def test_both_levels_are_printed_side_by_side(capsys):
    by_clip = clip_level(
        videos(a=[(0.0, 5.0)], b=None), clips(a=1, b=1), answers(v1={"a0": 0.9, "b0": 0.9}),
        JUDGEMENT,
    )  # fmt: skip
    by_video = clip_level(
        videos(a=[(0.0, 5.0)], b=None), clips(a=1, b=1), answers(v1={"a0": 0.9, "b0": 0.1}),
        JUDGEMENT,
    )  # fmt: skip
    print_levels({"clip_level": by_clip, "video_level": by_video})
    title, *_, v1, ensemble = capsys.readouterr().out.splitlines()
    assert title.strip() == "by clip and by video"
    assert v1.split() == ["v1", "0.500", "0.667", "0.333", "0.500", "2", *["1.000"] * 4, "2"]
    assert ensemble.split()[0] == ENSEMBLE
    print_levels({"clip_level": {}, "video_level": by_video})
    assert capsys.readouterr().out == ""
