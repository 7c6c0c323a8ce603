"""Runs on the same videos, side by side."""

import json
from pathlib import Path

import pytest

from ah_ray import schemas, tables
from ah_ray.cli import main
from ah_ray.errors import ConfigError
from ah_ray.evaluation.config import EvaluateConfig
from ah_ray.pipelines.compare import compare
from ah_ray.pipelines.evaluate import evaluate
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig

TASK = load_task("cue_conflict").judged(ReduceConfig())
FEW = EvaluateConfig(draws=1000)
WORDS = {"y": ["Yes"], "n": ["No"]}
TRUTH = "yynnyynn"


def evaluated(folder: Path, said: str, truth: str = TRUTH) -> RunDirectory:
    """A run with a verdict for each letter, on videos of four people."""
    run = RunDirectory.at(str(folder))
    videos, verdicts, clips = [], [], []
    for number, (true, answer) in enumerate(zip(truth, said, strict=True)):
        video = {"video_id": f"v{number}", "uri": f"/archive/{number}.mp4", "split": "test"}
        videos.append(
            video
            | {"participant_id": f"p{number // 2}", "labels": WORDS[true], "content": video["uri"]}
        )
        considered = [
            {"label": label, "chance": 0.9 if [label] == WORDS[answer] else 0.1, "members": []}
            for label in ("Yes", "No")
        ]
        verdicts.append(
            {"video_id": f"v{number}", "labels": WORDS[answer], "considered": considered,
             "status": "ok", "members": [], "made_from": answer}
        )  # fmt: skip
        clips.append({"clip_id": f"c{number}", "video_id": f"v{number}", "start_s": 0.0})
    tables.write_rows(videos, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    tables.write_rows(verdicts, schemas.VERDICTS, run.path("verdicts", "part-0.parquet"))
    tables.write_rows(clips, schemas.CLIPS, f"{run.clips_path(SCORING)}/part-0.parquet")
    evaluate(run, ("test",), TASK, settings=FEW)
    return run


def test_the_first_is_tested_against_the_others(tmp_path: Path) -> None:
    runs = [
        evaluated(tmp_path / name, said)
        for name, said in (("long", "yynnyyny"), ("short", "ynnnyyyy"), ("same", "yynnyyny"))
    ]
    found = compare(runs, FEW)
    assert {name: values["accuracy"] for name, values in found["video_level"].items()} == {
        "long": 7 / 8, "short": 5 / 8, "same": 7 / 8,
    }  # fmt: skip
    against = found["statistics"]["compared"]
    assert against["short"]["mcnemar"]["first_alone"] == 2
    assert against["short"]["difference"] > 0
    assert against["same"]["difference"] == 0
    assert against["same"]["mcnemar"]["p"] == 1


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [evaluated(tmp_path / name / "run", TRUTH) for name in "ab"]
    assert list(compare(runs, FEW)["video_level"]) == ["a/run", "b/run"]
    with pytest.raises(ConfigError, match="is named twice"):
        compare([runs[0], runs[0]], FEW)
    with pytest.raises(ConfigError, match="two runs or more"):
        compare(runs[:1], FEW)


def test_runs_on_other_videos_or_labels_are_refused(tmp_path: Path) -> None:
    one, fewer = evaluated(tmp_path / "one", TRUTH), evaluated(tmp_path / "fewer", "yy", "yy")
    with pytest.raises(ConfigError, match=r"6 videos are in one alone, such as /archive/2\.mp4"):
        compare([one, fewer], FEW)
    for key, text in (
        ("content", "contents: .*/2"),
        ("participant_id", "participants: .*p1 and p7"),
    ):
        changed = evaluated(tmp_path / key, TRUTH)
        rows = changed.videos().to_pylist()
        rows[2][key] = "P7"
        tables.write_rows(rows, schemas.VIDEOS, changed.path("videos", "part-0.parquet"))
        evaluate(changed, ("test",), TASK, settings=FEW)
        with pytest.raises(ConfigError, match=f"1 videos have other {text}"):
            compare([one, changed], FEW)
    other = evaluated(tmp_path / "other", TRUTH, "nynnyynn")
    with pytest.raises(ConfigError, match=r"1 videos have other labels: .*0\.mp4 \(Yes and No\)"):
        compare([one, other], FEW)


def test_what_is_stale_or_missing_is_refused(tmp_path: Path) -> None:
    one, other = evaluated(tmp_path / "one", TRUTH), evaluated(tmp_path / "other", TRUTH)
    rows = other.verdicts().to_pylist()
    rows[0]["made_from"] = "changed"
    tables.write_rows(rows, schemas.VERDICTS, other.path("verdicts", "part-0.parquet"))
    with pytest.raises(ConfigError, match="is not made from the verdicts"):
        compare([one, other], FEW)
    for damaged in ("{", "[]", "{}"):
        Path(other.path("metrics.json")).write_text(damaged)
        with pytest.raises(ConfigError, match=r"(?s)metrics\.json: is damaged.*ah-ray evaluate"):
            compare([one, other], FEW)
    Path(other.path("metrics.json")).unlink()
    with pytest.raises(ConfigError, match="is not there yet"):
        compare([one, other], FEW)


def test_the_command_prints_a_table_and_writes_all(tmp_path: Path, capsys) -> None:
    runs = [evaluated(tmp_path / name, said) for name, said in (("a", TRUTH), ("b", "yynnyyyy"))]
    file = tmp_path / "found.json"
    with pytest.raises(SystemExit) as ended:
        main(["compare", *(run.uri for run in runs), "--output", str(file)])
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert "  a - b: +" in printed
    assert json.loads(file.read_text())["runs"] == {"a": runs[0].uri, "b": runs[1].uri}
