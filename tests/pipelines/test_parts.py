"""A run is reduced in parts as it is whole, in whatever order its tables are."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import lineage, schemas, storage, tables
from ah_ray.errors import ConfigError
from ah_ray.members import read_member
from ah_ray.pipelines import parts
from ah_ray.pipelines.parts import in_order
from ah_ray.pipelines.reduce import CurrentVerdicts, current_verdicts, reduce, require_current
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig
from benchmarks.reduce import MEMBERS, TASK, write_run
from tests.s3 import new_bucket, s3_server

CLIPS = 400
JUDGEMENT = load_task(TASK).judged(ReduceConfig())


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    write_run(tmp_path / "run", CLIPS)
    return RunDirectory.at(str(tmp_path / "run"))


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "CLIPS_AT_A_TIME", 60)


def members_of(run):
    return [read_member(run.path("members", name)) for name in MEMBERS]


def shuffled(run: RunDirectory) -> None:
    """Put the rows of manifest and answers in any order, in several files with small groups."""
    folders = [run.clips_path(SCORING), *(run.predictions_path(name) for name in MEMBERS)]
    for seed, folder in enumerate(folders):
        schema = schemas.CLIPS if seed == 0 else schemas.PREDICTIONS
        table = tables.read_table(folder, schema)
        table = table.take(pa.array(np.random.default_rng(seed).permutation(len(table))))
        storage.remove(folder)
        for number in range(3):
            uri = storage.join(folder, f"{number}.parquet")
            tables.write_table(table.slice(0, 0), uri)
            some = table.slice(number * 150, 150)
            pq.write_table(some, uri, row_group_size=40)


def test_in_parts_and_in_any_order_as_whole(run, monkeypatch):
    whole = current_verdicts(run, members_of(run), JUDGEMENT)
    assert sum(len(row) for row in whole["members"].to_pylist()) == 3 * len(whole)
    ok = sum(one["clips_ok"] for row in whole["members"].to_pylist() for one in row)
    assert 3 * CLIPS * 0.9 < ok < 3 * CLIPS  # some have failed, as written
    monkeypatch.setattr(parts, "CLIPS_AT_A_TIME", 60)
    made = [*CurrentVerdicts(run, members_of(run), JUDGEMENT)]
    assert len(made) > 4
    assert pa.concat_tables(made).equals(whole)
    shuffled(run)
    assert current_verdicts(run, members_of(run), JUDGEMENT).equals(whole)


def test_what_is_written_is_current_until_it_is_not(run, small_parts):
    members = members_of(run)
    reduce(run, members, JUDGEMENT)
    require_current(run, members, JUDGEMENT)
    written = run.verdicts()
    number = len(written)

    def stale_when(table: pa.Table, count: int) -> None:
        tables.write_table(table, run.path("verdicts", "part-0.parquet"))
        with pytest.raises(ConfigError, match=f"{count} of {number} verdicts are not made from"):
            require_current(run, members, JUDGEMENT)

    rows = written.to_pylist()
    edited = [row | {"coverage": 0.5} if at == number // 2 else row for at, row in enumerate(rows)]
    stale_when(pa.Table.from_pylist(edited, schema=schemas.VERDICTS), 1)
    stale_when(written.slice(0, number - 2), 2)
    for name in ("", "\U0010fffe"):  # before and after all others
        more = pa.Table.from_pylist([*rows, rows[0] | {"video_id": name}], schema=schemas.VERDICTS)
        stale_when(more, 1)
    order = random.Random(0).sample(range(number), number)
    tables.write_table(written.take(order), run.path("verdicts", "part-0.parquet"))
    require_current(run, members, JUDGEMENT)


def test_answers_that_hold_no_more_are_missing(run, small_parts):
    file = storage.join(run.predictions_path("v2"), "part-00000.parquet")
    answers = pq.read_table(file)
    other = pa.array(["other"] * 5 + answers["made_from"].to_pylist()[5:])
    at = answers.column_names.index("made_from")
    pq.write_table(answers.set_column(at, "made_from", other), file)
    found = current_verdicts(run, members_of(run), JUDGEMENT)
    missing = dict.fromkeys(MEMBERS, 0)
    for row in found["members"].to_pylist():
        for one in row:
            missing[one["member"]] += one["clips_missing"]
    assert missing == {"v1": 0, "v2": 5, "v3": 0}


def test_a_run_in_object_storage_is_reduced_as_on_a_disk(run, monkeypatch):
    monkeypatch.setattr(parts, "CLIPS_AT_A_TIME", CLIPS // 2)
    with s3_server():
        there = RunDirectory.at(f"{new_bucket()}/run")
        for file in storage.list_files(run.uri):
            storage.write_bytes(there.uri + file.removeprefix(run.uri), storage.read_bytes(file))
        members = members_of(run)
        reduce(there, members, JUDGEMENT)
        require_current(there, members, JUDGEMENT)
        assert there.verdicts().equals(current_verdicts(run, members, JUDGEMENT))


TEXTS = st.none() | st.text(max_size=6) | st.sampled_from(['a"b', "\\", "ä", "\x7f", "\n"])


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_fingerprints_of_many_are_those_of_each(rows):
    columns = [pa.array([row[k] for row in rows], pa.string()) for k in (0, 1)]
    facts = ("v1", {"b": 1, "a": [None]})
    made = lineage.fingerprints(facts, lineage.rows_of(columns))
    assert made == [lineage.fingerprint(*facts, *r) for r in rows]


@pytest.mark.parametrize("said", [None, [{"start_s": 0.0, "end_s": 1.0, "text": "hm"}]])
def test_what_clips_are_made_from_is_the_same_for_many_videos(said):
    rows = [
        {"video_id": name, "uri": f"{name}.mp4", "content": None, "split": "test",
         "subtitles": said if name == "b" else []}
        for name in ("a", "b")
    ]  # fmt: skip
    videos = pa.Table.from_pylist(rows, schema=schemas.VIDEOS)
    one_by_one = lineage.clips_made_from(videos.to_pylist(), False, {"clip_s": 5})
    found = lineage.scoring_clips_made_from(videos, {"clip_s": 5})
    assert dict(zip("ab", found, strict=True)) == one_by_one


def test_what_is_made_at_once_comes_in_order_and_fails_where_it_fails():
    assert [*in_order(lambda number: number * 2, 50)] == [*range(0, 100, 2)]
    made = in_order(lambda number: 1 // (3 - number), 50)
    assert [next(made), next(made), next(made)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)
