"""Scoring somebody's own videos with trained members, and what happens to broken files."""

import shutil
from pathlib import Path

import pytest

from ah_ray import schemas
from tests.e2e.helpers import ah_ray, result_rows, rows


@pytest.fixture
def videos(demo: Path, tmp_path: Path) -> Path:
    """Two good videos, a text with a video's name, and half a video."""
    folder = tmp_path / "videos" / "nested"
    folder.mkdir(parents=True)
    good = sorted((demo / "archive" / "Videos").rglob("*.mp4"))[:2]
    shutil.copy(good[0], folder / "first.MP4")
    shutil.copy(good[1], folder.parent / "second.mp4")
    (folder / "text.mp4").write_text("this is no video")
    whole = good[0].read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    return folder.parent


def test_broken_files_become_rows_and_the_job_goes_on(
    demo: Path, videos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["score", "--videos", str(videos), "--ensemble", str(demo), "--members", "v1"]
    done = ah_ray(*arguments, "--run", str(run))
    assert "videos in: 4 = " in done.stdout
    verdicts = rows(run / "verdicts", schemas.VERDICTS)
    findings = rows(run / "findings" / "stage=prepare_scoring", schemas.FINDINGS)
    judged = {Path(row["uri"]).name for row in verdicts if row["labels"] is not None}
    assert {"first.MP4", "second.mp4"} <= judged
    assert {row["item_id"] for row in findings}.isdisjoint(row["video_id"] for row in verdicts)
    assert len(verdicts) + len(findings) == 4
    assert any("text.mp4" in row["message"] for row in findings)
    assert all(row["kind"] == "unreadable" for row in findings)

    before = result_rows(run)
    again = ah_ray(*arguments, "--run", str(run))
    assert "0 videos to do" in again.stdout
    assert result_rows(run) == before


def test_real_videos_of_many_kinds(demo: Path, real_media: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = ah_ray(
        "score", "--videos", str(real_media), "--ensemble", str(demo), "--members", "v1",
        "--run", str(run),
    )  # fmt: skip
    verdicts = rows(run / "verdicts", schemas.VERDICTS)
    assert len(verdicts) == 4
    assert "videos in: 4 = 4 verdicts + 0 in findings" in done.stdout
    assert all(row["status"] == "ok" and row["coverage"] == 1 for row in verdicts)
    clips = rows(run / "clips" / "purpose=scoring", schemas.CLIPS)
    silent = {Path(clip["source_uri"]).name for clip in clips if not clip["has_audio"]}
    assert silent == {"av1_video.mkv", "h265_video.mp4", "bt709_full_range.mp4"}


def test_an_empty_folder_and_a_missing_ensemble_are_errors(demo: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    run = ["--run", str(tmp_path / "run")]
    no_video = ah_ray(
        "score", "--videos", str(empty), "--ensemble", str(demo / "members"), *run, check=False
    )
    assert no_video.returncode == 2
    assert str(empty) in no_video.stdout
    no_member = ah_ray(
        "score", "--videos", str(demo / "archive"), "--ensemble", str(empty), *run, check=False
    )
    assert no_member.returncode == 2
    assert "ah-ray train" in no_member.stdout
