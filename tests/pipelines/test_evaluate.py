import json

import pyarrow as pa
import pytest

from ah_ray import schemas, storage, tables
from ah_ray.errors import ConfigError, StageError
from ah_ray.evaluation.leaks import LeakError
from ah_ray.pipelines.evaluate import (
    counts,
    evaluate,
    video_level,
)
from ah_ray.pipelines.print_metrics import (
    print_combinations,
    print_metrics,
    print_statistics,
)
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Labels
from ah_ray.tasks.judgement import Judgement, Rules
from ah_ray.tasks.policies import ReduceConfig

YES, NO = "Yes", "No"
JUDGEMENT = load_task("cue_conflict").judged(ReduceConfig())
LABELS = {"a": YES, "b": YES, "c": NO, "d": NO, "e": None, "f": YES}
ANSWERS = {  # ensemble, v1, v2
    "a": (YES, YES, YES),
    "b": (NO, YES, NO),
    "c": (NO, NO, NO),
    "d": (YES, NO, YES),
    "e": (YES, YES, YES),
    "f": (None, None, None),
}


def videos(split="test", **labels) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"video_id": name, "uri": f"{name}.mp4", "participant_id": name, "split": split,
             "labels": label and [label]}
            for name, label in labels.items()
        ],
        schema=schemas.VIDEOS,
    )  # fmt: skip


def answer(label: str | None, sure: float, options=(YES, NO)) -> dict:
    """What is said, ``sure`` of it."""
    if label is None:
        return {"labels": None, "considered": []}
    others = (1 - sure) / (len(options) - 1)
    considered = [{"label": o, "chance": sure if o == label else others} for o in options]
    return {"labels": [label], "considered": considered}


def verdicts(options=(YES, NO), **answers) -> pa.Table:
    def member(name, label):
        states = {f"clips_{s}": 0 for s in ("ok", "unparseable", "error", "missing")}
        states["clips_error" if label is None else "clips_ok"] = 2
        return {"member": name} | answer(label, 0.9, options) | states

    return pa.Table.from_pylist(
        [
            {
                "video_id": name,
                "status": "undecided" if label is None else "ok",
                "members": [member("v1", v1), member("v2", v2)],
            }
            | answer(label, 0.8, options)
            for name, (label, v1, v2) in answers.items()
        ],
        schema=schemas.VERDICTS,
    )


@pytest.fixture
def run(tmp_path):
    """A run with the verdicts above, a video that could not be prepared and a training video."""
    run = RunDirectory.at(str(tmp_path / "run"))
    table = pa.concat_tables([videos(**LABELS, lost=YES), videos("train", t=YES)])
    tables.write_table(table, run.path("videos", "part-0.parquet"))
    tables.write_table(verdicts(**ANSWERS), run.path("verdicts", "part-0.parquet"))
    manifest = [
        {"clip_id": f"{v}{n}", "video_id": v, "start_s": n} for v in ANSWERS for n in (0, 1)
    ]
    for segmentation, rows in (
        (SCORING, manifest),
        (TRAINING, [{"clip_id": "t0", "video_id": "t"}]),
    ):
        path = storage.join(run.clips_path(segmentation), "part-0.parquet")
        tables.write_rows(rows, schemas.CLIPS, path)
    findings = [
        schemas.finding("lost", "error", "unreadable", "m", "left out"),
        schemas.finding("a", "warning", "odd", "m", "kept"),
    ]
    path = storage.join(run.findings_path(f"prepare_{SCORING}"), "part-0.parquet")
    tables.write_rows(findings, schemas.FINDINGS, path)
    return run


def test_metrics_of_members_and_ensemble():
    result = video_level(videos(**LABELS), verdicts(**ANSWERS), JUDGEMENT)
    assert list(result) == ["v1", "v2", "ensemble"]
    for name, accuracy, precision, recall in (
        ("v1", 1.0, 1.0, 1.0),
        ("v2", 0.5, 0.5, 0.5),
        ("ensemble", 0.5, 0.5, 0.5),
    ):
        assert result[name]["accuracy"] == accuracy
        assert result[name]["precision"] == precision
        assert result[name]["recall"] == recall
        assert (result[name]["n"], result[name]["undecided"]) == (4, 1)  # e has no label


def test_rows_in_another_order_give_the_same_metrics():
    shuffled = dict(reversed(ANSWERS.items()))
    result = video_level(videos(**LABELS), verdicts(**shuffled), JUDGEMENT)
    assert result == video_level(videos(**LABELS), verdicts(**ANSWERS), JUDGEMENT)


def test_a_labelled_video_without_a_verdict_is_undecided():
    result = video_level(videos(**LABELS, lost=YES), verdicts(**ANSWERS), JUDGEMENT)
    for name in ("v1", "v2", "ensemble"):
        assert (result[name]["n"], result[name]["undecided"]) == (4, 2)
        assert result[name]["coverage"] == pytest.approx(4 / 6)
    assert result["v1"]["positives"] == 2


def test_a_member_that_is_missing_in_a_verdict_is_undecided():
    rows = verdicts(**ANSWERS).to_pylist()
    rows[0]["members"] = rows[0]["members"][:1]
    fewer = pa.Table.from_pylist(rows, schema=schemas.VERDICTS)
    result = video_level(videos(**LABELS), fewer, JUDGEMENT)
    assert [result[name]["n"] for name in ("v1", "v2", "ensemble")] == [4, 3, 4]


def test_every_video_is_a_verdict_or_a_finding(run):
    found = counts(run, ("test",))
    assert found["videos"] == 7
    assert found["verdicts"] == 6
    assert found["videos_in_findings"] == 1
    assert found["verdicts_by_status"] == {"ok": 5, "undecided": 1}
    assert found["clips"] == 12
    assert found["predictions"]["v1"] == {"ok": 10, "unparseable": 0, "error": 2, "missing": 0}
    assert all(sum(ends.values()) == found["clips"] for ends in found["predictions"].values())
    assert (found["training_videos"], found["training_clips"]) == (1, 1)
    assert found["findings"] == {"prepare_scoring": {"error": 1, "warning": 1}}


def test_a_video_that_is_in_neither_stops_the_run(run):
    tables.write_table(videos(vanished=NO), run.path("videos", "part-1.parquet"))
    with pytest.raises(ConfigError, match=r"1 videos have neither .*vanished"):
        counts(run, ("test",))


def test_a_warning_alone_does_not_account_for_a_video(run):
    tables.write_table(videos(vanished=NO), run.path("videos", "part-1.parquet"))
    path = storage.join(run.findings_path(f"prepare_{SCORING}"), "part-1.parquet")
    odd = schemas.finding("vanished", "warning", "odd", "m", "kept")
    tables.write_rows([odd], schemas.FINDINGS, path)
    with pytest.raises(ConfigError, match="vanished"):
        counts(run, ("test",))


def test_a_clip_in_the_manifest_does_not_account_for_a_video_without_verdict(run):
    tables.write_table(videos(vanished=NO), run.path("videos", "part-1.parquet"))
    path = storage.join(run.clips_path(SCORING), "part-1.parquet")
    tables.write_rows([{"clip_id": "x", "video_id": "vanished"}], schemas.CLIPS, path)
    with pytest.raises(ConfigError, match="vanished"):
        counts(run, ("test",))


def test_repeated_findings_count_once(run):
    findings = tables.read_table(run.findings_path(f"prepare_{SCORING}"), schemas.FINDINGS)
    path = storage.join(run.findings_path(f"prepare_{SCORING}"), "part-again.parquet")
    tables.write_table(findings, path)
    assert counts(run, ("test",))["findings"] == {"prepare_scoring": {"error": 1, "warning": 1}}


def test_other_splits_are_not_expected_but_videos_without_one_are(run):
    tables.write_table(videos("val", v=YES), run.path("videos", "part-1.parquet"))
    assert counts(run, ("test",))["videos"] == 7
    tables.write_table(videos(None, u=YES), run.path("videos", "part-2.parquet"))
    with pytest.raises(ConfigError, match=r"finding: u\b"):
        counts(run, ("test",))


def test_the_report_is_written_as_it_is_returned(run):
    report = evaluate(run, ("test",), JUDGEMENT)
    assert json.loads(storage.read_bytes(run.path("metrics.json"))) == report
    keys = {"video_level", "combinations", "by", "counts", "task", "splits", "made_from", "read"}
    assert set(report) == keys | {"statistics", "majority", "localisation", "clip_level", "leaks"}
    assert report["task"] == JUDGEMENT.model_dump(mode="json")


def test_a_baseline_stands_beside_the_members_over_the_same_videos(run, capsys):
    baseline = verdicts(**dict.fromkeys(ANSWERS, (YES, YES, YES)))
    report = evaluate(run, ("test",), JUDGEMENT, baseline)
    assert json.loads(storage.read_bytes(run.path("metrics.json"))) == report
    assert list(report["baseline"]) == ["v1", "v2"]
    assert report["baseline"]["v1"]["accuracy"] == 0.6
    assert report["baseline"]["v1"]["n"] == 5
    print_metrics(report)
    printed = capsys.readouterr().out
    names = [line.split()[0] for line in printed.splitlines() if "." in line]
    assert names == ["v1", "v2", "v1", "v2", "ensemble"]


def test_every_figure_has_an_interval_or_says_why_not(run, capsys):
    report = evaluate(run, ("test",), JUDGEMENT)
    found, level = report["statistics"], report["video_level"]
    assert found["people"]["count"] == 6
    assert "optimistic" in found["people"]["note"]
    assert set(found["intervals"]) == set(level) == set(found["calibration"])
    for name, figures in found["intervals"].items():
        for key, bounds in figures.items():
            value = level[name][key]
            if value is None or bounds["low"] is None:
                assert bounds["why"]
            else:
                assert bounds["low"] <= value <= bounds["high"]
    # Of the four answered videos v1 has all right, the ensemble two.
    assert found["compared_by"] == "macro_f1"
    assert found["compared"]["v1"]["mcnemar"] == {"first_alone": 0, "second_alone": 2, "p": 0.5}
    assert found["compared"]["v1"]["difference"] == -0.5
    assert found["compared"]["v2"]["difference"] == 0
    assert report["leaks"]["found"] == 0
    assert report["majority"]["of"] == "other videos"
    print_statistics(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("macro F1 with 95% intervals, over 6 people; with fewer than 30")
    assert lines[2].startswith("  ensemble - v1: -0.500 (")


def test_what_ranks_is_printed_with_its_coverage(run, capsys):
    print_metrics(evaluate(run, ("test",), JUDGEMENT))
    lines = capsys.readouterr().out.splitlines()[1:]
    assert max(map(len, lines)) <= 80
    head = "macro weighted BAH's F1 F1 AP AP accuracy F1 n undecided coverage"
    assert " ".join(lines[0].split() + lines[1].split()) == head
    # Right on two positives and two negatives; f is undecided, lost has no verdict.
    assert " ".join(lines[2].split()) == "v1 1.000 1.000 1.000 0.500 1.000 1.000 4 2 0.667"
    assert [line.split()[0] for line in lines[2:5]] == ["v1", "v2", "ensemble"]


def test_what_one_class_does_not_define_is_printed_with_the_reason(run, capsys):
    only_positives = videos(
        **{name: label and YES for name, label in LABELS.items() if label != NO}
    )
    table = pa.concat_tables([only_positives, videos(lost=YES)])
    tables.write_table(table, run.path("videos", "part-0.parquet"))
    report = evaluate(run, ("test",), JUDGEMENT)
    written = json.loads(storage.read_bytes(run.path("metrics.json")))["video_level"]["v1"]
    assert written["macro_f1"] is None
    assert written["undefined"]["macro_f1"] == "no video is labelled negative"
    print_metrics(report)
    printed = capsys.readouterr().out
    assert (
        "-: no video is labelled negative, which leaves undefined macro F1, AP, BAH's AP of "
        "v1, v2, ensemble" in printed
    )
    assert printed.splitlines()[3].split()[:5] == ["v1", "-", "1.000", "-", "-"]


def test_without_a_labelled_video_there_is_nothing_to_evaluate(run):
    with pytest.raises(ConfigError, match="no video in split val has a label"):
        evaluate(run, ("val",), JUDGEMENT)
    unlabelled = videos(**dict.fromkeys([*LABELS, "lost"]))
    tables.write_table(unlabelled, run.path("videos", "part-0.parquet"))
    with pytest.raises(ConfigError, match="no video in split test has a label"):
        evaluate(run, ("test",), JUDGEMENT)
    assert not storage.exists(run.path("metrics.json"))


@pytest.mark.parametrize("answers", [{}, dict.fromkeys(ANSWERS, (None, None, None))])
def test_without_any_answer_there_is_nothing_to_evaluate(run, answers):
    tables.write_table(verdicts(**answers), run.path("verdicts", "part-0.parquet"))
    with pytest.raises(StageError, match="none of 6 labelled videos has an answer"):
        evaluate(run, ("test",), JUDGEMENT)
    assert not storage.exists(run.path("metrics.json"))


def test_a_trial_is_covered_by_its_own_videos(run):
    run.remember({"limit": 4})
    report = evaluate(run, ("test",), JUDGEMENT)
    assert report["counts"]["videos_beyond_trial"] == 3
    assert (report["video_level"]["v1"]["n"], report["video_level"]["v1"]["coverage"]) == (4, 1.0)


def test_a_leak_stops_the_evaluation(run):
    leaky = videos("train", a=YES)
    tables.write_table(leaky, run.path("videos", "part-1.parquet"))
    with pytest.raises(LeakError, match="participant a"):
        evaluate(run, ("test",), JUDGEMENT)
    assert not storage.exists(run.path("metrics.json"))


def test_evaluating_too_early_names_the_command(tmp_path):
    run = RunDirectory.at(str(tmp_path))
    with pytest.raises(ConfigError, match="ah-ray catalog"):
        evaluate(run, ("test",), JUDGEMENT)
    tables.write_table(videos(a=YES), run.path("videos", "part-0.parquet"))
    with pytest.raises(ConfigError, match="ah-ray reduce"):
        evaluate(run, ("test",), JUDGEMENT)


# More than two options


CUES = load_task("cues").judged(ReduceConfig())


def test_one_class_of_four_is_measured_and_its_confusion_is_printed(run, capsys):
    labels = {"a": "smile", "b": "frown", "c": "bright", "d": "dull", "e": None, "f": "dull"}
    said = {
        "a": ("smile", "smile", "smile"),
        "b": ("smile", "frown", "smile"),
        "c": ("bright", "bright", "bright"),
        "d": ("dull", "dull", "frown"),
        "e": ("dull", "dull", "dull"),
        "f": (None, None, None),
    }
    table = pa.concat_tables([videos(**labels, lost="frown"), videos("train", t="dull")])
    tables.write_table(table, run.path("videos", "part-0.parquet"))
    tables.write_table(
        verdicts(CUES.answer.options, **said), run.path("verdicts", "part-0.parquet")
    )
    report = evaluate(run, ("test",), CUES)
    assert json.loads(storage.read_bytes(run.path("metrics.json"))) == report
    ensemble = report["video_level"]["ensemble"]
    assert (ensemble["war"], ensemble["uar"]) == (0.75, 0.75)
    assert (ensemble["n"], ensemble["undecided"]) == (4, 2)
    assert ensemble["confusion"]["frown"] == {
        "smile": 1, "frown": 0, "bright": 0, "dull": 0, "undecided": 1,
    }  # fmt: skip
    assert report["video_level"]["v1"]["war"] == 1.0
    print_metrics(report)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines]
    assert ["smile", "frown", "bright", "dull", "undecided"] in rows
    assert ["frown", "1", "0", "0", "0", "1"] in rows


# Sets of words, and combinations of members


def words(text: str | None) -> dict:
    """What somebody says: words, surely."""
    if text is None:
        return {"labels": None, "considered": []}
    said = sorted(text.split())
    return {"labels": said, "considered": [{"label": word, "chance": 1.0} for word in said]}


def sets_of_words(run, truth: dict[str, str], **said: dict[str, str | None]) -> None:
    """A run in which members have said words about videos; any of them makes a verdict."""
    rows = []
    for video in truth:
        members = [
            {"member": name, "clips_ok": 1, "clips_unparseable": 0, "clips_error": 0,
             "clips_missing": 0} | words(of_video[video])
            for name, of_video in sorted(said.items())
        ]  # fmt: skip
        union = {word for member in members for word in member["labels"] or ()}
        undecided = all(member["labels"] is None for member in members)
        verdict = words(None if undecided else " ".join(union))
        rows.append({"video_id": video, "status": "ok", "members": members} | verdict)
    storage.remove(run.path("videos"))
    table = [{"video_id": video, "uri": f"{video}.mp4", "participant_id": video, "split": "test",
              "labels": sorted(gold.split())} for video, gold in truth.items()]  # fmt: skip
    tables.write_rows(table, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    tables.write_rows(rows, schemas.VERDICTS, run.path("verdicts", "part-0.parquet"))


TRUTH = {"a": "glad calm", "b": "sad angry", "c": "afraid"}
FACE = {"a": "happy", "b": "sad", "c": None}
VOICE = {"a": "calm bored", "b": "sad", "c": "scared"}


def by(*groups: str) -> Judgement:
    labels = Labels(kind="labels")
    metrics = tuple({"label_sets": {"groups": name}} for name in groups)
    return Judgement.usual(labels, ReduceConfig()).model_copy(update={"metrics": metrics})


def test_every_combination_of_members_is_measured_by_the_rules(run, capsys):
    sets_of_words(run, TRUTH, face=FACE, voice=VOICE)
    report = evaluate(run, ("test",), by("wheel", "none"))
    assert json.loads(storage.read_bytes(run.path("metrics.json"))) == report
    found = report["combinations"]
    assert list(found) == ["face", "voice", "face+voice"]
    level = report["video_level"]
    for name, of_level in (("face", "face"), ("voice", "voice"), ("face+voice", "ensemble")):
        assert found[name].items() <= level[of_level].items()
    told = ["words_precision", "words_recall", "wheel_1_precision", "wheel_1_recall", "coverage"]
    assert {name: [round(values[key], 3) for key in told] for name, values in found.items()} == {
        "face": [0.5, 0.25, 1.0, 0.5, 0.667],
        "voice": [0.5, 0.333, 0.833, 0.667, 1.0],
        "face+voice": [0.444, 0.333, 0.889, 0.833, 1.0],
    }
    assert set(report["by"]) == {"wheel", "words"}
    print_metrics(report)
    print_combinations(report)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert (
        f"  wheel: what counts as one word is by wheel.yaml, hash {report['by']['wheel']['hash']}"
        in lines
    )
    table = lines[lines.index(next(line for line in lines if "combinations of members" in line)) :]
    assert table[1].split() == ["words", "words", "words", "wheel", "wheel", "wheel"]
    assert [line.split()[0] for line in table[3:]] == list(found)


def test_combinations_are_judged_by_the_rule_over_members(run):
    sets_of_words(run, TRUTH, face=FACE, voice=VOICE)
    both = by("none").model_copy(update={"rules": Rules(clips="any", members="all")})
    found = evaluate(run, ("test",), both)["combinations"]
    # Of a: nothing, of b: sad, of c: what the only one says that says something.
    assert found["face+voice"]["words_precision"] == pytest.approx(1 / 3)
    assert found["voice"]["words_precision"] == pytest.approx(1 / 2)


def test_the_trade_off_is_drawn_beside_the_metrics(run):
    sets_of_words(run, TRUTH, face=FACE, voice=VOICE)
    evaluate(run, ("test",), by("wheel", "none"))
    drawn = storage.read_bytes(run.path("combinations.svg"))
    assert b"face+voice" in drawn
    assert b"wheel by wheel.yaml" in drawn
    evaluate(run, ("test",), by("wheel", "none"))
    assert storage.read_bytes(run.path("combinations.svg")) == drawn


def test_what_has_combinations_is_two_to_eight_members(run, capsys):
    said = {f"m{number}": FACE for number in range(9)}
    sets_of_words(run, TRUTH, **said)
    report = evaluate(run, ("test",), by("none"))
    assert report["combinations"] == {}
    assert not storage.exists(run.path("combinations.svg"))
    print_combinations(report)
    assert "of 9 members too many, at most 8" in capsys.readouterr().out
    sets_of_words(run, TRUTH, face=FACE)
    report = evaluate(run, ("test",), by("none"))
    print_combinations(report)
    assert (report["combinations"], capsys.readouterr().out) == ({}, "")


def test_of_many_combinations_the_best_are_printed(run, capsys):
    said = {f"m{number}": FACE | {"b": "bored"} for number in range(5)} | {"best": VOICE}
    sets_of_words(run, TRUTH, **said)
    report = evaluate(run, ("test",), by("none"))
    assert len(report["combinations"]) == 63
    print_combinations(report)
    lines = capsys.readouterr().out.splitlines()
    assert "the best 31 of 63 combinations of members, by words mean" in lines[0]
    assert len(lines) == 3 + 31
    assert lines[3].split()[0] == "best"


def test_the_combinations_of_two_options_are_measured_too(run, capsys):
    report = evaluate(run, ("test",), JUDGEMENT)
    # Where one says Yes and one No, both as surely, it is Yes.
    assert {name: one["precision"] for name, one in report["combinations"].items()} == {
        "v1": 1.0, "v2": 0.5, "v1+v2": pytest.approx(2 / 3)
    }  # fmt: skip
    print_combinations(report)
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[1].split() + lines[2].split()) == "macro P R F1 F1 coverage"
    assert b"combinations of members<" in storage.read_bytes(run.path("combinations.svg"))


# The run directory
