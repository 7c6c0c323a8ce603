"""What a page holds, and when it is made."""

import json
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ah_ray import schemas, storage, tables
from ah_ray.cli import main
from ah_ray.errors import ConfigError
from ah_ray.pipelines.evaluate import METRICS_FILE
from ah_ray.pipelines.report import report
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.status import status
from ah_ray.progress import Cost
from ah_ray.report import plots, sums, timelines
from ah_ray.report.config import ReportConfig
from ah_ray.report.made_from import REPORT_FILE
from ah_ray.report.timelines import Texts, timeline

NO = ReportConfig()


def html(run: RunDirectory) -> str:
    return storage.read_bytes(run.path(REPORT_FILE)).decode()


def data(run: RunDirectory) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html(run))
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def words(run: RunDirectory) -> str:
    """The page as people read it, on one line."""
    body = re.sub(r"<(script|style).*?</\1>", "", html(run), flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.mark.parametrize("kind", ["choice", "unlabelled", "words"])
def test_every_video_is_a_verdict_or_a_finding(runs, kind):
    rows = data(runs[kind])["rows"]
    lost = [row for row in rows if row["status"] == "in findings"]
    told = f"{len(rows)} videos in = {len(rows) - len(lost)} verdicts + {len(lost)} in findings"
    assert told in words(runs[kind])
    assert [row["video"] for row in lost] == (["no.mp4"] if kind == "choice" else [])
    assert all(row["why"] == "no video" for row in lost)


def test_answers_that_are_text_are_shown_without_verdicts(runs):
    found = data(runs["text"])
    assert "41 videos in = 41 with answers + 0 in findings" in words(runs["text"])
    assert [column["data"] for column in found["columns"]] == ["video", "truth", "person"]
    lanes = found["timelines"][0]["lanes"]
    assert found["texts"][lanes["one"][0][0]] == ["one sees a person who looks away.", True]


def test_metrics_and_plots_are_those_of_the_run(runs):
    metrics = json.loads(storage.read_bytes(runs["choice"].path(METRICS_FILE)))
    ensemble = metrics["video_level"]["ensemble"]
    for key in ("macro_f1", "average_precision", "accuracy"):
        assert f"{ensemble[key]:.3f}" in words(runs["choice"])
    for title in ("Precision and recall", "Reliability", "Confusion of the ensemble"):
        assert title in words(runs["choice"])
    statistics = metrics["statistics"]
    interval = statistics["intervals"]["v1"]["macro_f1"]
    assert f"{interval['low']:.2f}\N{EN DASH}{interval['high']:.2f}" in words(runs["choice"])
    against = statistics["compared"]["v1"]
    told = f"v1 {against['difference']:+.3f} {against['low']:.2f}"
    assert told in words(runs["choice"])
    found = metrics["localisation"]["v1"]["Yes"]
    figures = [f"{found[key]:.3f}" for key in ("f1", "average_precision", "mean_iou")]
    told = " ".join(["v1, Yes", str(found["intervals"]), *figures])
    assert told in words(runs["choice"])
    by_clip, by_video = (metrics[level]["v1"] for level in ("clip_level", "video_level"))
    keys = ("accuracy", "macro_f1", "average_precision")
    figures = [f"{of[key]:.3f}" for of in (by_clip, by_video) for key in keys]
    assert " ".join(["v1", *figures, str(by_clip["n"])]) in words(runs["choice"])
    assert "macro F1 by gender" in words(runs["choice"])
    assert "always Yes 0.3" in words(runs["choice"])
    assert "Confusion" not in words(runs["unlabelled"])
    assert "How good" not in words(runs["unlabelled"])


def test_metrics_of_other_verdicts_are_not_shown(run):
    report(run, NO)
    assert "macro F1" in words(run)
    verdicts = tables.read_table(run.path("verdicts"), schemas.VERDICTS)
    changed = verdicts.set_column(
        verdicts.column_names.index("made_from"), "made_from", pa.array(["x"] * len(verdicts))
    )
    tables.write_table(changed, run.path("verdicts", "part-0.parquet"))
    report(run, NO)
    assert "macro F1" not in words(run)
    assert "metrics.json is of other verdicts or labels" in words(run)


def test_a_page_is_made_anew_when_it_is_of_something_else(run):
    def made() -> bool:
        before = storage.read_bytes(run.path(REPORT_FILE))
        storage.write_bytes(run.path(REPORT_FILE), before + b"<!-- as it was -->")
        report(run)
        return b"as it was" not in storage.read_bytes(run.path(REPORT_FILE))

    def line() -> tuple[int, int]:
        (found,) = (one for one in status(run) if one.stage == "report")
        return found.done, found.stale

    report(run, NO)
    assert not made()
    run.note_cost(Cost("reduce", "videos", 3, 0, 0.1))
    assert not made()
    finding = [schemas.finding("x", "warning", "odd", "m", "kept")]
    tables.write_rows(
        finding, schemas.FINDINGS, storage.join(run.findings_path("score"), "part-0.parquet")
    )
    run.remember({"voters": []})  # nobody to compare verdicts with
    assert line() == (0, 1)
    run.remember({"voters": ["v1", "v2", "v3"]})
    assert made()
    storage.remove(run.path(METRICS_FILE))
    assert made()
    report(run, ReportConfig(videos=2))
    assert len(data(run)["rows"]) == 2
    assert not made()  # as the run noted it last


def test_no_picture_leaves_the_archive_unasked(runs, run):
    report(run, NO)
    assert "data:image/jpeg" not in html(run)
    assert "This file holds no picture" in words(run)
    assert html(runs["choice"]).count("data:image/jpeg") == 3 * 2  # of two real videos


def test_a_video_that_cannot_be_decoded_has_no_picture(run):
    report(run, ReportConfig(thumbnails=3))
    assert data(run)["pictures"] == [[], [], []]


def test_what_does_not_fit_has_a_row_and_no_timeline(run, monkeypatch):
    monkeypatch.setattr(timelines, "_ROOM", 900)
    report(run, NO)
    found = data(run)
    assert 0 < len(found["timelines"]) < 3
    assert len(found["rows"]) == 4
    assert f"The first {len(found['timelines'])} have a timeline" in words(run)


def test_nothing_from_data_is_markup(runs):
    for run in runs.values():
        assert "<script>alert" not in html(run)
        assert "<img" not in re.sub(r'"data:[^"]*"', "", html(run)).split("<script")[0]


def test_a_run_that_was_not_scored_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not there yet"):
        report(RunDirectory.at(str(tmp_path)), NO)


def test_the_command_writes_the_page_and_warns_of_stale_verdicts(run):
    with pytest.raises(SystemExit) as end:
        main(["report", "--run", run.uri, "--quiet"])
    assert not end.value.code
    assert "3 verdicts are not made from the answers that there are now" in words(run)


def test_a_clip_that_was_asked_again_counts_once_and_by_its_answer():
    clip = {"start_s": 0.0, "end_s": 1.0, "fps": 9.0, "subtitle": None}
    clips = [clip | {"clip_id": name} for name in "ab"]
    row = {"labels": None, "chances": None, "text": None, "raw_text": None, "error_kind": None}
    answers = [
        row | {"clip_id": "a", "status": "error", "error_kind": "no_picture"},
        row | {"clip_id": "a", "status": "ok", "labels": ["No"], "chances": [("Yes", 0.254)]},
    ]
    video = {"intervals": None, "attributes": None}
    for given in (answers, answers[::-1]):
        texts = Texts()
        found = timeline({}, video, clips, {"v1": given}, texts, ["Yes", "No"])
        assert found["lanes"]["v1"] == [[0, 25], [1, None]]
        assert texts.listed() == [("No", True), ("missing", False)]


def test_sums_by_hand():
    def verdict(labels: list[str] | None, **members: list[str] | None) -> dict[str, Any]:
        chance = [{"label": "Yes", "chance": 0.26 if labels == ["No"] else 1.0, "members": []}]
        votes = [{"member": name, "labels": said} for name, said in members.items()]
        return {"labels": labels, "members": votes, "considered": chance}

    rows = [
        verdict(["Yes"], a=["Yes"], b=["Yes"]),
        verdict(["No"], a=["No"], b=["Yes"]),
        verdict(None, a=None, b=["No"]),
    ]
    table = pa.Table.from_pylist(rows, schema=schemas.VERDICTS)
    assert sums.given(table, ("Yes", "No")) == {
        "Yes": {"ensemble": 1, "a": 1, "b": 2},
        "No": {"ensemble": 1, "a": 1, "b": 1},
        "undecided": {"ensemble": 1, "a": 1, "b": 0},
    }
    assert sums.agreement(table) == [("a", "b", 0.5, 2)]
    assert sums.chances(table, "Yes").tolist() == [0] * 5 + [1] + [0] * 13 + [2]
    costs = [
        {"stage": "score", "unit": "clips", "done": done, "errors": 0, "seconds": seconds}
        for done, seconds in ((30, 2.0), (10, 3.0))
    ]
    (cost,) = sums.costs_by_stage(pa.Table.from_pylist(costs, schema=schemas.COSTS))
    assert (cost["done"], cost["seconds"], cost["rate"], cost["calls"]) == (40, 5.0, 8.0, 2)


def test_left_out_videos_are_listed_when_there_is_room(run):
    assert run.left_out(SCORING)
    report(run, ReportConfig(videos=3))
    assert "Listed are 3 of 4" in words(run)


def test_gates_are_means_by_expert_member_and_label():
    videos = [{"video_id": name, "labels": labels}
              for name, labels in (("a", ["happy"]), ("b", ["sad"]), ("c", ["happy"]))]  # fmt: skip
    gates = [("a", "one", 0.2), ("c", "one", 0.4), ("b", "one", 0.9), ("z", "two", 0.5)]
    answers = [
        {"video_id": video, "member": member, "gate": {"emotion": weight, "general": 1 - weight}}
        for video, member, weight in gates
    ] + [{"video_id": "a", "member": "plain", "gate": None}]
    schema = pa.schema([schemas.PREDICTIONS.field(name) for name in ("video_id", "gate")])
    schema = schema.append(pa.field("member", pa.string()))
    told = [row | {"gate": row["gate"] and list(row["gate"].items())} for row in answers]
    table = pa.Table.from_pylist(told, schema=schema)
    known = pa.Table.from_pylist(videos, schema=schemas.VIDEOS)
    found = sums.gates(table, known)
    assert found["emotion"]["one"] == pytest.approx({"happy": 0.3, "sad": 0.9})
    assert found["general"]["two"] == pytest.approx({"not labelled": 0.5})
    assert set(found["emotion"]) == {"one", "two"}
    assert "mean weight of emotion" in plots.gate(found["emotion"], "emotion")
    assert sums.gates(table.filter(pc.is_null(table["gate"])), known) == {}
