"""The run directory: the format of its tables, and what is read of them."""

import pytest
import yaml

from ah_ray import schemas, storage, tables
from ah_ray.errors import ConfigError
from ah_ray.pipelines.batches import PLANNED, plan_batches
from ah_ray.pipelines.opening import open_run
from ah_ray.pipelines.run_directory import FORMAT, SCORING, TRAINING, RunDirectory


@pytest.fixture
def run(tmp_path):
    return RunDirectory.at(str(tmp_path / "run"))


def write(run, **noted):
    storage.write_bytes(run.path("run.yaml"), yaml.safe_dump(noted).encode())


def test_a_run_states_its_format_with_the_first_note(run):
    assert run.settings() == {}
    run.remember({"archive": "a"})
    assert run.settings() == {"archive": "a", "format": FORMAT}


@pytest.mark.parametrize("stated", [0, 1, FORMAT + 1, str(FORMAT), None, "absent"])
def test_a_run_of_another_format_is_refused_before_anything_is_read_or_written(
    run, tmp_path, stated
):
    """A run that states none is of the first one."""
    write(run, archive="a", **({} if stated == "absent" else {"format": stated}))
    before = (tmp_path / "run" / "run.yaml").read_bytes()
    for use in (lambda: open_run(run.uri), lambda: run.remember({"limit": 3}), run.settings):
        with pytest.raises(ConfigError, match=f"format {FORMAT}") as caught:
            use()
        assert caught.value.where == f"{run.path('run.yaml')}: format"
        assert f"is {1 if stated == 'absent' else stated!r}, " in str(caught.value)
        assert "the version that made the run" in caught.value.fix
    assert (tmp_path / "run" / "run.yaml").read_bytes() == before


@pytest.mark.parametrize("damaged", [b"", b"- a\n", b"archive: [a\n", b"format: 1\nformat: 2\n"])
def test_notes_that_are_none_are_named_and_left_alone(run, damaged):
    path = run.path("run.yaml")
    storage.write_bytes(path, damaged)
    for use in (lambda: open_run(run.uri), lambda: run.remember({"limit": 3})):
        with pytest.raises(ConfigError) as caught:
            use()
        assert caught.value.where == path
    assert storage.read_bytes(path) == damaged


def test_some_columns_of_a_manifest_coded_or_not_are_those_of_the_whole(run):
    """From parts whose texts differ, in any order, one clip twice."""
    rows = [
        {
            "clip_id": f"c{number}", "video_id": f"v{number * 7 % 5}", "start_s": -number / 2,
            "source_uri": f"s3://far/{number % 5}.mp4" if number % 2 else f"near/{number % 5}.mp4",
            "content": f"h{number % 3}" if number % 3 else None, "subtitle": "so" * (number % 2),
            "bucket": f"{number % 4}x64x64", "split": "test",
        }
        for number in range(40)
    ]  # fmt: skip
    for part, some in enumerate((rows[30:], rows[:30], rows[5:6])):
        tables.write_rows(some, schemas.CLIPS, f"{run.clips_path(SCORING)}/part-{part}.parquet")
    whole = run.clips(SCORING)
    assert whole["clip_id"].to_pylist() == [
        row["clip_id"] for row in sorted(rows, key=lambda row: (row["video_id"], row["start_s"]))
    ]
    assert set(whole["source_uri"].to_pylist()) == {
        row["source_uri"] if number % 2 else f"{run.uri}/{row['source_uri']}"
        for number, row in enumerate(rows)
    }
    coded = run.clips(SCORING, PLANNED)
    assert coded.schema.names == PLANNED.names
    assert coded["source_uri"].type == schemas.CODED
    assert coded.to_pylist() == whole.select(PLANNED.names).to_pylist()
    assert plan_batches(coded, 7).equals(plan_batches(whole, 7))
    assert run.clips(SCORING, schemas.columns(schemas.CLIPS, ["split"])).equals(
        whole.select(["split"])
    )
    assert run.prepared(SCORING) == {row["video_id"] for row in rows}


def test_a_run_keeps_the_settings_it_was_made_with(tmp_path):
    run = RunDirectory.at(str(tmp_path / "run"))
    run.claim({"segmentation": {"clip_s": 5.0, "min_tail_s": 3.0}})
    run.claim({"segmentation": {"clip_s": 5.0, "min_tail_s": 3.0}, "media": {"fps": 2}})
    run.claim({"media": {"fps": 2}})
    with pytest.raises(ConfigError) as caught:
        run.claim({"segmentation": {"clip_s": 4.0, "min_tail_s": 3.0}})
    assert caught.value.where.endswith("run.yaml: segmentation.clip_s")
    told = "the run was made with segmentation.clip_s 5.0, now it is 4.0"
    assert caught.value.problem == told
    with pytest.raises(ConfigError, match="media"):
        run.claim({"media": {"fps": 1}})
    run.claim({"segmentation": {"clip_s": 5.0, "min_tail_s": 3.0}})  # nothing was overwritten


def test_each_clip_of_a_manifest_once_and_in_order(tmp_path):
    run = RunDirectory.at(str(tmp_path))
    rows = [
        {"clip_id": f"{v}{n}", "video_id": v, "start_s": float(n)} for v in "ba" for n in (2, 0, 1)
    ]
    videos = [{"video_id": name} for name in "ab"]
    tables.write_rows(videos, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    for part in (0, 1):
        path = storage.join(run.clips_path(SCORING), f"part-{part}.parquet")
        tables.write_rows(rows, schemas.CLIPS, path)
    assert run.clips(SCORING)["clip_id"].to_pylist() == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert len(run.clips(TRAINING)) == 0


def test_predictions_carry_their_member(tmp_path):
    run = RunDirectory.at(str(tmp_path))
    for member in ("v1", "v2"):
        path = storage.join(run.predictions_path(member), "part-0.parquet")
        tables.write_rows([{"clip_id": "a0", "status": "ok"}], schemas.PREDICTIONS, path)
    assert sorted(run.predictions()["member"].to_pylist()) == ["v1", "v2"]


def test_a_local_run_is_known_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunDirectory.at("run").uri == str(tmp_path / "run")
    assert RunDirectory.at("s3://bucket/run/").uri == "s3://bucket/run"
