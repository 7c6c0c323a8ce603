"""Copies of videos in other bytes, found by `ah-ray catalog check` before hours of work."""

import csv
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from ah_ray import storage, tables
from ah_ray.cli import main
from ah_ray.pipelines.copies import FOLDER, SCHEMA
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.toy.archive import ArchiveSpec, write_archive

ROOT = Path(__file__).parents[2]
REMUX = ("-c", "copy", "-movflags", "+faststart")
SMALL = ("-vf", "scale=96:-2", "-r", "8", "-crf", "36", "-c:a", "aac", "-b:a", "32k")
OTHER = ("-c:v", "libvpx", "-b:v", "200k", "-c:a", "libopus", "-b:a", "32k")
SILENT = ("-c:v", "libx264", "-crf", "26", "-an")


def convert(source: Path, target: Path, *how: str, seek: str = "0") -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-ss", seek, "-i", str(source)]
    subprocess.run([*command, *how, str(target)], check=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Twelve recordings, six copies in other bytes, and a file that is no video."""
    root = tmp_path_factory.mktemp("copies")
    write_archive(root / "toy", ArchiveSpec(8, 1, 3, questions=1, max_seconds=14))
    videos = sorted((root / "toy").rglob("*.mp4"))
    for number, video in enumerate(videos):
        video.rename(root / f"{number}.mp4")
    convert(root / "0.mp4", root / "remuxed.mp4", *REMUX)
    convert(root / "1.mp4", root / "small.mp4", *SMALL)
    convert(root / "2.mp4", root / "other.webm", *OTHER)
    convert(root / "3.mp4", root / "trimmed.mkv", "-t", "6", *OTHER, seek="1.37")
    convert(root / "4.mp4", root / "silent.mp4", *SILENT)
    (root / "broken.mp4").write_bytes((root / "5.mp4").read_bytes()[:3000])
    names = [f"{number}.mp4" for number in range(12)]
    copies = ["remuxed.mp4", "small.mp4", "other.webm", "trimmed.mkv", "silent.mp4", "broken.mp4"]
    with (root / "videos.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["uri", "participant_id", "split", "label", "intervals"])
        for number, name in enumerate([*names, *copies]):
            split = "test" if name in copies else ("train", "val")[number % 2]
            positive = number % 4 > 1
            # The last one's times are in milliseconds.
            times = "[[1500, 4000]]" if name == "11.mp4" else "[[1, 2]]"
            label = [1, times] if positive else [0, ""]
            rows.writerow([name, f"p{number}", split, *label])
    return root


@pytest.fixture(scope="module")
def checked(archive):
    """What the check of the archive ends with, and the run."""
    (archive / "entry.yaml").write_text("title: t\nreader: table\n")
    arguments = ["catalog", "check", "--config", str(ROOT / "jobs/demo.yaml")]
    for key, value in (("entry", archive / "entry.yaml"), ("root", archive / "videos.csv")):
        arguments += ["--set", f"catalog.{key}={value}"]
    run = RunDirectory.at(str(archive / "run"))
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--run", run.uri])
    return ended.value.code, run, arguments


def found(run: RunDirectory, kind: str) -> list[str]:
    rows = run.findings().to_pylist()
    return sorted(row["message"] for row in rows if row["kind"] == kind)


def test_every_copy_is_a_warning_with_both_names_and_the_distance(archive, checked):
    _, run, _ = checked
    names = {("0.mp4", "remuxed.mp4"), ("1.mp4", "small.mp4"), ("2.mp4", "other.webm")}
    names |= {("3.mp4", "trimmed.mkv"), ("4.mp4", "silent.mp4")}
    messages = found(run, "similar_in_two_splits")
    told = {
        tuple(Path(side.split(" in ")[0]).name for side in message.split(": ")[0].split(" and "))
        for message in messages
    }
    assert {tuple(sorted(pair)) for pair in told} == {tuple(sorted(pair)) for pair in names}
    assert all("of the picture differs" in message for message in messages)
    assert sum("of the sound differs" in message for message in messages) == 4
    (trimmed,) = [message for message in messages if "trimmed" in message]
    assert re.search(r"1\.[345] s later in the first", trimmed)
    assert sum("in the first" in message for message in messages) == 1
    severities = {row["severity"] for row in run.findings().to_pylist()
                  if row["kind"] == "similar_in_two_splits"}  # fmt: skip
    assert severities == {"warning"}


def test_times_in_milliseconds_start_after_the_end(checked):
    code, run, _ = checked
    assert code == 1
    (message,) = found(run, "intervals_past_video")
    assert "11.mp4: 1 of 1 intervals, such as [1500.0, 4000.0], start after its end" in message


def test_each_content_is_looked_at_once_whatever_its_name(archive, checked, capsys):
    _, run, arguments = checked
    before = found(run, "similar_in_two_splits")
    stored = storage.list_files(run.path(FOLDER))
    rows = tables.read_table(run.path(FOLDER), SCHEMA).to_pylist()
    assert len(rows) == len({row["content"] for row in rows}) == 18
    assert [row["duration_s"] > 0 for row in rows].count(False) == 1
    (message,) = found(run, "not_compared")
    assert "broken.mp4: cannot be read" in message
    with pytest.raises(SystemExit):
        main([*arguments, "--run", run.uri])
    assert "0 videos to do, 18 were done before" in capsys.readouterr().out
    assert storage.list_files(run.path(FOLDER)) == stored
    assert found(run, "similar_in_two_splits") == before


def test_what_was_found_stays_when_the_archive_is_read_again(checked):
    _, run, arguments = checked
    before = found(run, "similar_in_two_splits")
    main_arguments = [argument for argument in arguments if argument != "check"]
    with pytest.raises(SystemExit):
        main([*main_arguments, "--run", run.uri])
    assert found(run, "similar_in_two_splits") == before
