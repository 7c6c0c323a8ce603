"""Runs in the formats of other tools."""

import csv
import io
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pympi import Elan

from ah_ray import lineage, schemas, storage, tables
from ah_ray.cli import main
from ah_ray.export.elan import Mark, apart, file_name
from ah_ray.export.flat import harmless
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MEMBER_FILE, MemberCard, member_fingerprint, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig

ODD = '=cmd|"x"!\x07<&>.mp4'


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Two videos of two clips and two members; one has an odd name and no answer."""
    run = RunDirectory.at(str(tmp_path / "run"))
    archive = tmp_path / "archive"
    videos = [
        {"video_id": "a", "uri": f"{archive}/p1/a.mp4", "participant_id": "p1", "split": "test",
         "labels": ["Yes"], "attributes": [("question", "4")],
         "intervals": [{"start_s": 1.0, "end_s": 4.0}, {"start_s": 3.0, "end_s": 6.5}]},
        {"video_id": "b", "uri": f"{archive}/{ODD}", "labels": None},
    ]  # fmt: skip
    tables.write_rows(videos, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    clips = [
        {"clip_id": f"{video}{n}", "video_id": video, "start_s": 4.0 * n, "end_s": 4.0 * n + 5,
         "subtitle": "well, yes" if n else None}
        for video in "ab" for n in range(2)
    ]  # fmt: skip
    tables.write_rows(clips, schemas.CLIPS, f"{run.clips_path(SCORING)}/part-0.parquet")
    for name, chance in (("v1", 0.75), ("v2", 0.25)):
        answers = [
            {"clip_id": clip, "video_id": clip[0], "status": "ok",
             "labels": ["Yes"] if chance > 0.5 else ["No"],
             "chances": [("Yes", chance), ("No", 1 - chance)]}
            for clip in ("a0", "a1")
        ] + [{"clip_id": f"b{n}", "video_id": "b", "status": "error", "error_kind": "unreadable",
              "labels": None} for n in range(2)]  # fmt: skip
        uri = f"{run.predictions_path(name)}/part-0.parquet"
        tables.write_rows(answers, schemas.PREDICTIONS, uri)

    def considered(chance: float, clip: str) -> list[dict[str, Any]]:
        rest = {"evidence_clip_id": clip}
        return [
            {"label": "Yes", "chance": chance} | rest,
            {"label": "No", "chance": 1 - chance} | rest,
        ]

    members = [
        {"member": name, "labels": labels, "considered": considered(chance, "a0")}
        for name, labels, chance in (("v1", ["Yes"], 0.75), ("v2", ["No"], 0.25))
    ]
    nothing = [{"member": name, "labels": None, "considered": []} for name in ("v1", "v2")]
    verdicts = [
        {"video_id": "a", "uri": videos[0]["uri"], "members": members, "labels": ["Yes"],
         "considered": considered(0.5, "a1"), "status": "ok", "coverage": 1.0},
        {"video_id": "b", "uri": videos[1]["uri"], "members": nothing, "labels": None,
         "considered": [], "status": "undecided", "coverage": 0.0},
    ]  # fmt: skip
    tables.write_rows(verdicts, schemas.VERDICTS, run.path("verdicts", "part-0.parquet"))
    judgement = load_task("cue_conflict").judged(ReduceConfig()).model_dump(mode="json")
    run.remember({"archive": str(archive), "voters": ["v1", "v2"], "judgement": judgement})
    return run


@pytest.fixture
def exported(run: RunDirectory, tmp_path: Path) -> Callable[[str], Path]:
    def export(form: str) -> Path:
        folder = tmp_path / "out" / form
        with pytest.raises(SystemExit) as ended:
            main(["export", form, "--run", run.uri, "--to", str(folder)])
        assert not ended.value.code
        return folder

    return export


def test_videos_and_clips_are_flat_rows(exported: Callable[[str], Path]) -> None:
    folder = exported("csv")
    text = (folder / "videos.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbfvideo_id,file,participant_id,split,label,score,status,")
    first, second = csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline=""))
    assert first == {
        "video_id": "a", "file": "p1/a.mp4", "participant_id": "p1", "split": "test",
        "label": "Yes", "score": "0.5", "status": "ok", "coverage": "1.0",
        "evidence_start_s": "4.0", "evidence_end_s": "9.0", "true_label": "Yes",
        "v1_label": "Yes", "v1_score": "0.75", "v2_label": "No", "v2_score": "0.25",
        "attribute_question": "4",
    }  # fmt: skip
    assert second["file"] == f"'{ODD}", "no spreadsheet runs it"
    assert (second["label"], second["v1_score"], second["attribute_question"]) == ("", "", "")
    with (folder / "clips.csv").open(encoding="utf-8-sig", newline="") as file:
        clips = list(csv.DictReader(file))
    assert len(clips) == 2 * 2 * 2
    yes = clips[0]
    assert (yes["member"], yes["label"], yes["chance_Yes"], yes["chance_No"]) == (
        "v1", "Yes", "0.75", "0.25",
    )  # fmt: skip
    assert {row["error_kind"] for row in clips} == {"", "unreadable"}


def test_json_lines_say_the_same(exported: Callable[[str], Path]) -> None:
    rows = [
        json.loads(line) for line in (exported("jsonl") / "videos.jsonl").read_text().splitlines()
    ]
    assert [row["label"] for row in rows] == ["Yes", None]
    assert rows[1]["file"] == ODD  # as it is: no spreadsheet reads this
    assert rows[0]["score"] == 0.5


def test_who_exports_again_writes_the_same(exported: Callable[[str], Path]) -> None:
    for form in ("csv", "elan"):
        before = {file.name: file.read_bytes() for file in exported(form).iterdir()}
        assert {file.name: file.read_bytes() for file in exported(form).iterdir()} == before


def test_elan_s_own_library_reads_the_documents(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = exported("elan")
    first, second = sorted(folder.iterdir(), key=lambda file: file.name[-5])
    assert first.name == "a-a.eaf"
    eaf = Elan.Eaf(str(first))
    assert list(eaf.get_tier_names()) == ["v1", "v2", "ensemble", "evidence", "annotation"]
    # Clips of 5 s every 4 s: the second begins where the first ends.
    assert eaf.get_annotation_data_for_tier("v1") == [
        (0, 5000, "Yes (0.75)"), (5000, 9000, "Yes (0.75)"),
    ]  # fmt: skip
    assert eaf.get_annotation_data_for_tier("ensemble") == [(0, 9000, "Yes (0.50)")]
    assert eaf.get_annotation_data_for_tier("evidence") == [(4000, 9000, "Yes")]
    assert eaf.get_annotation_data_for_tier("annotation") == [
        (1000, 4000, "Yes"), (4000, 6500, "Yes"),
    ]  # fmt: skip
    (media,) = eaf.media_descriptors
    assert media["MEDIA_URL"] == (tmp_path / "archive/p1/a.mp4").as_uri()
    odd = Elan.Eaf(str(second))
    assert odd.get_annotation_data_for_tier("v1") == [(0, 5000, "error"), (5000, 9000, "error")]
    assert odd.get_annotation_data_for_tier("ensemble") == [(0, 9000, "undecided")]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("p1/a.mp4", "a-x.eaf"),
        ("../../etc/passwd", "passwd-x.eaf"),
        ("..", "video-x.eaf"),
        ("a b/\u00fc <1>.mov", "\u00fc_1-x.eaf"),
        ("n" * 300, "n" * 80 + "-x.eaf"),
    ],
)
def test_a_document_is_called_after_its_video(file: str, name: str) -> None:
    assert file_name(file, "x") == name


@given(st.lists(st.builds(Mark, st.integers(0, 20), st.integers(0, 20), st.just("a"))))
def test_marks_lie_apart_and_in_order(marks: list[Mark]) -> None:
    found = apart(marks)
    assert apart(found) == found
    assert all(one.end_s <= other.start_s for one, other in pairwise(found))
    assert all(mark.start_s < mark.end_s for mark in found)
    covered = {second for mark in marks for second in range(mark.start_s, mark.end_s)}
    assert {s for mark in found for s in range(int(mark.start_s), int(mark.end_s))} == covered


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_formulas_are_text(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert (harmless("a=1"), harmless(-1.5), harmless(None)) == ("a=1", -1.5, None)


def test_what_to_annotate_next_is_told_with_reasons(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "next.csv"
    with pytest.raises(SystemExit) as ended:
        main(["suggest", "--run", run.uri, "--n", "5", "--output", str(file)])
    assert not ended.value.code
    assert "of 1 videos without a label" in capsys.readouterr().out
    (row,) = csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline=""))
    assert (row["video_id"], row["reasons"]) == ("b", "nothing was answered")
    assert row["file"] == f"'{ODD}"


def test_answers_of_weights_that_have_changed_since_are_not_exported(
    run: RunDirectory, exported: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of v1, who is there to compare with; v2 is not, and what it said stays."""
    weights = Path(run.path("members", "v1", "model.safetensors"))
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"first")
    card = MemberCard(
        name="v1", weights="full", task="cue_conflict", prompt="short",
        model=ModelConfig(path="base"), media=MediaConfig(), segmentation=SegmentationConfig(),
    )  # fmt: skip
    storage.write_bytes(str(weights.with_name(MEMBER_FILE)), write_card(card))
    run.remember({"ensemble": "members", "asked": {"engine": "transformers"}})
    member = member_fingerprint(read_member(str(weights.parent)))
    path = f"{run.predictions_path('v1')}/part-0.parquet"
    answers = tables.read_table(path, schemas.PREDICTIONS).to_pylist()
    for answer in answers:
        clip = {"video_id": answer["video_id"], "content": None}
        how = run.settings()["asked"]
        answer["made_from"] = lineage.answer_made_from(member, how, clip)
    tables.write_rows(answers, schemas.PREDICTIONS, path)

    def members() -> list[str]:
        with (exported("csv") / "clips.csv").open(encoding="utf-8-sig", newline="") as file:
            return sorted(row["member"] for row in csv.DictReader(file))

    assert members() == ["v1"] * 4 + ["v2"] * 4
    weights.write_bytes(b"other")
    assert members() == ["v2"] * 4
    assert "2 verdicts are not made from the answers that there are now" in " ".join(
        capsys.readouterr().out.split()
    )
