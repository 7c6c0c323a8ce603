"""The runs that `benchmarks/learning.py` makes of a finished one: altered, but whole."""

from pathlib import Path

import pyarrow as pa
import pytest

from ah_ray import schemas, storage, tables
from ah_ray.contents import content_hash, require_content
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from benchmarks.hybrid import with_one_merger
from benchmarks.learning import NO_SOUND, altered_run, shuffled_run
from tests.media.coded_video import steady, tone, write_video


@pytest.fixture
def source(tmp_path) -> RunDirectory:
    """A run with its archive inside: six videos, of which each manifest has a clip."""
    run = RunDirectory.at(str(tmp_path / "run"))
    (tmp_path / "run" / "archive").mkdir(parents=True)
    rows = []
    for number in range(6):
        path = tmp_path / "run" / "archive" / f"{number}.mp4"
        write_video(path, steady(10, 1), tone(1))
        rows.append({"video_id": str(number), "uri": str(path), "content": content_hash(str(path))})
    run.write_videos(pa.Table.from_pylist(rows, schema=schemas.VIDEOS))
    for purpose in (TRAINING, SCORING):
        clips = [
            {"clip_id": row["video_id"], "video_id": row["video_id"], "source_uri": row["uri"],
             "start_s": 0.0, "labels": [("No", "Yes")[number % 2]] if purpose == TRAINING else None}
            for number, row in enumerate(rows)
        ]  # fmt: skip
        table = run.stored(pa.Table.from_pylist(clips, schema=schemas.CLIPS))
        tables.write_table(table, storage.join(run.clips_path(purpose), "part-0.parquet"))
    return run


def test_shuffled_labels_belong_to_the_same_files(source, tmp_path):
    run = shuffled_run(source, tmp_path, seed=0)
    assert run.videos().equals(source.videos())
    assert run.clips(SCORING).equals(source.clips(SCORING))
    ours, theirs = run.clips(TRAINING), source.clips(TRAINING)
    assert ours.drop_columns(["labels"]).equals(theirs.drop_columns(["labels"]))
    assert ours["labels"] != theirs["labels"]
    assert sorted(ours["labels"].to_pylist()) == sorted(theirs["labels"].to_pylist())


def test_altered_videos_are_there_as_the_catalog_states_them(source, tmp_path):
    run = altered_run(source, tmp_path, "video", NO_SOUND)
    for ours, theirs in zip(run.videos().to_pylist(), source.videos().to_pylist(), strict=True):
        require_content(ours["uri"], ours["content"])
        assert Path(ours["uri"]).exists()
        assert content_hash(ours["uri"]) != theirs["content"]


def test_one_merger_is_trained_where_one_of_two_experts_was():
    stages = [
        {"name": n, "trains": t}
        for n, t in zip("abc", (["general"], ["emotion"], ["gate", "language"]), strict=True)
    ]
    one = with_one_merger(stages)
    assert [stage["trains"] for stage in one] == [["aligner"], ["aligner"], ["language"]]
    assert [stage["name"] for stage in one] == ["a", "b", "c"]
