"""The main job end to end: learning, sums, resume after kill -9."""

import json
import shutil
import sys
from pathlib import Path

import pyarrow.compute as pc
import pytest

from ah_ray import schemas, tables
from tests.e2e.helpers import ah_ray, kill_when, result_rows, rows


def test_ensemble_learns_and_counts_add_up(demo: Path) -> None:
    report = json.loads((demo / "metrics.json").read_text())
    level, counts = report["video_level"], report["counts"]
    assert set(level) == {"v1", "v2", "v3", "ensemble"}
    for values in level.values():
        assert {"accuracy", "precision", "recall", "f1", "n"} <= set(values)
    assert level["ensemble"]["accuracy"] >= 0.95
    assert level["v1"]["accuracy"] >= 0.9  # LoRA from a base that knows single cues
    assert level["v3"]["accuracy"] >= 0.95  # full
    assert 0.35 <= report["baseline"]["prior"]["accuracy"] <= 0.65  # it looks at nothing
    assert level["ensemble"]["n"] == counts["videos"] >= 40
    assert counts["videos"] == counts["verdicts"] + counts["videos_in_findings"]
    for ends in counts["predictions"].values():
        assert sum(ends.values()) == counts["clips"]


def test_it_ends_with_a_page_that_is_small_and_has_pictures(demo: Path) -> None:
    page = (demo / "report.html").read_bytes()
    assert len(page) < 2e6
    assert page.count(b"data:image/jpeg") == 24 * 3


def test_every_member_answers_every_clip_once_and_blind(demo: Path) -> None:
    clips = tables.read_table(str(demo / "clips" / "purpose=scoring"), schemas.CLIPS)
    assert clips["labels"].null_count == len(clips)
    assert set(clips["split"].to_pylist()) == {"test"}
    predictions = tables.read_table(str(demo / "predictions"), schemas.PREDICTIONS, "member")
    expected = sorted(clips["clip_id"].to_pylist())
    for member in ("v1", "v2", "v3"):
        given = predictions.filter(pc.equal(predictions["member"], member))
        assert sorted(given["clip_id"].to_pylist()) == expected


def test_training_and_test_people_are_disjoint(demo: Path) -> None:
    training = tables.read_table(str(demo / "clips" / "purpose=training"), schemas.CLIPS)
    scoring = tables.read_table(str(demo / "clips" / "purpose=scoring"), schemas.CLIPS)
    assert set(training["split"].to_pylist()) == {"train"}
    assert not set(training["participant_id"].to_pylist()) & set(
        scoring["participant_id"].to_pylist()
    )


def test_second_run_reuses_everything(copy_of_demo: Path) -> None:
    before = result_rows(copy_of_demo)
    done = ah_ray("demo", "--run", str(copy_of_demo))
    assert "0 members to do" in done.stdout
    assert "0 clips to do" in done.stdout
    assert "0 videos to do" in done.stdout
    assert result_rows(copy_of_demo) == before


def test_killed_while_scoring_continues_to_the_same_tables(copy_of_demo: Path) -> None:
    undisturbed = result_rows(copy_of_demo)
    predictions = copy_of_demo / "predictions" / "member=v1"
    shutil.rmtree(predictions)
    shutil.rmtree(copy_of_demo / "verdicts")
    command = [sys.executable, "-m", "ah_ray.cli", "demo", "--run", str(copy_of_demo)]
    kill_when(command, lambda: any(predictions.glob("part-*")))
    left = tables.ids_in(str(predictions), schemas.PREDICTIONS, "clip_id")
    assert 0 < len(left) < len(undisturbed["predictions"]) / 4  # three members and the prior
    done = ah_ray("demo", "--run", str(copy_of_demo))
    assert f"{len(left)} were done before" in done.stdout
    assert result_rows(copy_of_demo) == undisturbed


def test_killed_while_preparing_continues_to_the_same_manifest(
    demo: Path, copy_of_demo: Path
) -> None:
    undisturbed = rows(demo / "clips", schemas.CLIPS)
    clips = copy_of_demo / "clips"
    shutil.rmtree(clips)
    shutil.rmtree(copy_of_demo / "media")
    arguments = ["prepare", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo)]
    command = [sys.executable, "-m", "ah_ray.cli", *arguments]
    kill_when(command, lambda: any(clips.glob("purpose=training/part-*")))
    assert 0 < len(rows(clips, schemas.CLIPS)) < len(undisturbed)
    ah_ray(*arguments)
    finished = rows(clips, schemas.CLIPS)
    for row in finished:
        for column in ("media_uri", "audio_uri"):
            if row[column] is not None:
                assert (copy_of_demo / row[column]).exists()
    assert finished == undisturbed
    assert not list((copy_of_demo / "media").rglob(".ah_ray-tmp-*"))


def test_settings_of_a_run_cannot_change(copy_of_demo: Path) -> None:
    done = ah_ray(
        "run", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo),
        "--set", "segmentation.clip_s=2.0", check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "2.5" in done.stdout
    assert "2.0" in done.stdout
    assert "fix:" in done.stdout


def test_leak_fails_the_run(copy_of_demo: Path) -> None:
    videos = tables.read_table(str(copy_of_demo / "videos"), schemas.VIDEOS).to_pylist()
    trained = next(row for row in videos if row["split"] == "train")
    tested = next(row for row in videos if row["split"] == "test")
    tested["participant_id"] = trained["participant_id"]
    tables.write_rows(videos, schemas.VIDEOS, str(copy_of_demo / "videos" / "part-0.parquet"))
    done = ah_ray("evaluate", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo), check=False)
    assert done.returncode == 1
    assert trained["participant_id"] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--config", "jobs/no.yaml"], "jobs/no.yaml"),
        (["--config", "jobs/demo.yaml", "--set", "score.batchsize=2"], "batch_size"),
        (["--config", "jobs/demo.yaml", "--set", "media.fps=-1"], "media.fps"),
        (["--config", "jobs/demo.yaml", "--set", "members.v1.recipe=lorra"], "lora"),
        (["--config", "jobs/demo.yaml", "--set", "model.path=/nowhere"], "/nowhere"),
    ],
)
def test_wrong_settings_fail_before_anything_starts(
    arguments: list[str], named: str, tmp_path: Path
) -> None:
    done = ah_ray("run", *arguments, "--run", str(tmp_path / "run"), check=False)
    assert done.returncode == 2
    assert named in done.stdout
    assert "fix:" in done.stdout
    assert not (tmp_path / "run").exists()
