"""How does reducing an archive compare with DuckDB doing a maximum and a vote in SQL?

Writes a scored run of ``--rows`` clips (20 of a video on average), each answered by three members,
as the stages write it; then judges it, each time in a process of its own:

- ours: ``reduce``, from the run directory to its verdicts;
- duckdb: a maximum over clips and a majority over members, of the same Parquet files to one more;
- whole: DuckDB again, for the table that ours writes: answers joined to the manifest, so that a
  clip without one counts as missing; for every label of every member and of the ensemble the chance
  and the clip that shows it; how many answers ended how; what videos are; in order of videos.

    python benchmarks/reduce.py --rows 1000000 10000000
    python benchmarks/reduce.py --rows 100000000 --beside duckdb

(of 100 million clips ``whole`` sorts more than 50 GB on disk).

Prints a table, then one JSON object: ``vs_duckdb`` and ``vs_whole`` are our time divided by
DuckDB's, by size, the medians of rounds with the least and the largest (``spread_...``);
``cpu_vs_...`` the same of the time of CPUs, which other work on the machine changes less;
``peak_gb`` is the largest resident set of ours. All have all CPUs, files that were just written,
and a clock that starts after imports; ours and ``whole`` must say the same in every row.

What ours alone does: it leaves out clips and answers that are not made from the catalog, members
and settings that there are now, counts each clip once, and writes a fingerprint of all answers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from ah_ray import lineage, schemas, storage, tables
from ah_ray.hashing import hexadecimal
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import (
    MEMBER_FILE,
    Member,
    MemberCard,
    member_fingerprint,
    read_member,
    write_card,
)
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.reduce import reduce
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import console
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig

TASK, MEMBERS = "ambivalence_hesitancy", ("v1", "v2", "v3")
CLIPS, CLIP_S = 20, 5.0  # of a video on average, and how long each is
FILE_VIDEOS, GROUP_ROWS = 50_000, 1 << 17  # of a file of the run
LOST = {"error": 0.005, "unparseable": 0.005}  # how many answers are none
ASKED = {"engine": "transformers", "engine_args": {}}

SQL = """
copy (
    select video_id, avg(chance) as chance,
        sum(yes) * 2 > count(*) or (sum(yes) * 2 = count(*) and avg(chance) >= 0.5) as yes
    from (
        select video_id, member, max((labels[1] = 'Yes')::int) as yes, max(chances['Yes']) as chance
        from read_parquet('{run}/predictions/*/*.parquet', hive_partitioning = true)
        where status = 'ok'
        group by video_id, member
    )
    group by video_id
) to '{out}' (format parquet, compression zstd)
"""

WHOLE = """
copy (
    with answers as (
        select clip_id, member, status, labels[1] as said, chances['Yes'] as yes,
            chances['No'] as no
        from read_parquet('{run}/predictions/*/*.parquet', hive_partitioning = true)
    ),
    expected as (
        select video_id, clip_id, start_s, member
        from read_parquet('{run}/clips/*/*.parquet'), (select distinct member from answers)
    ),
    of_member as (
        select e.video_id, e.member,
            count(*) filter (status = 'ok') as clips_ok,
            count(*) filter (status = 'unparseable') as clips_unparseable,
            count(*) filter (status = 'error') as clips_error,
            count(*) filter (status is null) as clips_missing,
            bool_or(said = 'Yes') filter (status = 'ok') as yes,
            max(a.yes) filter (status = 'ok') as chance,
            min_by(e.clip_id, row(said <> 'Yes', -a.yes, e.start_s, e.clip_id))
                filter (status = 'ok') as shows_yes,
            min_by(e.clip_id, row(said <> 'No', -a.no, e.start_s, e.clip_id))
                filter (status = 'ok') as shows_no
        from expected as e left join answers as a using (clip_id, member)
        group by e.video_id, e.member
    ),
    judged as (
        select video_id,
            list({{
                member: member,
                labels: if(yes is null, null, [if(yes, 'Yes', 'No')]),
                considered: if(yes is null, [], [
                    {{label: 'Yes', chance: chance, evidence_clip_id: shows_yes}},
                    {{label: 'No', chance: 1 - chance, evidence_clip_id: shows_no}}]),
                clips_ok: clips_ok, clips_unparseable: clips_unparseable,
                clips_error: clips_error, clips_missing: clips_missing
            }} order by member) as members,
            count(yes) as voters,
            count(*) filter (yes) as votes,
            avg(chance) as chance,
            min_by(shows_yes, row(not yes, -chance, member)) filter (yes is not null)
                as shows_yes,
            min_by(shows_no, row(yes, chance, member)) filter (yes is not null) as shows_no,
            coalesce(list(member order by member) filter (yes), []) as say_yes,
            coalesce(list(member order by member) filter (not yes), []) as say_no,
            sum(clips_ok) as usable,
            sum(clips_ok + clips_unparseable + clips_error + clips_missing) as expected
        from of_member group by video_id
    ),
    decided as (  -- of as many votes the larger mean chance, of equal ones the earlier option
        select *, votes * 2 > voters or votes * 2 = voters and chance >= 0.5 as yes from judged
    )
    select video_id, v.uri, v.participant_id, v.split,
        if(voters = 0, null, [if(yes, 'Yes', 'No')]) as labels,
        case when voters = 0 then 'undecided' when usable = expected then 'ok' else 'partial' end
            as status,
        usable / expected as coverage, members,
        if(voters = 0, [], [
            {{label: 'Yes', chance: chance, evidence_clip_id: shows_yes, members: say_yes}},
            {{label: 'No', chance: 1 - chance, evidence_clip_id: shows_no, members: say_no}}
        ]) as considered
    from decided join read_parquet('{run}/videos/*.parquet') as v using (video_id)
    order by video_id
) to '{out}' (format parquet, compression zstd)
"""

Draw = np.random.Generator


def make_member(folder: Path, name: str) -> Member:
    """A member as training leaves it, with next to no weights."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(name.encode())
    card = MemberCard(
        name=name, weights="full", task=TASK, prompt="short", model=ModelConfig(path="base"),
        media=MediaConfig(), segmentation=SegmentationConfig(),
    )  # fmt: skip
    (folder / MEMBER_FILE).write_bytes(write_card(card))
    return read_member(str(folder))


def write_run(folder: Path, rows: int) -> None:
    """A scored run of ``rows`` clips."""
    draw, run = np.random.default_rng(0), RunDirectory.at(str(folder))
    members = [make_member(folder / "members" / name, name) for name in MEMBERS]
    rule = {"segmentation": SegmentationConfig().model_dump()}
    run.remember({"asked": ASKED, "manifests": {SCORING: {"rule": rule, "limits": {}}}})
    ids = np.sort(draw.integers(0, 2**63, max(rows // CLIPS, 1), np.uint64))
    writers = {}
    left = rows
    for start in range(0, len(ids), FILE_VIDEOS):
        videos = _videos(ids[start : start + FILE_VIDEOS], draw)
        number = draw.integers(1, 2 * CLIPS, len(videos))
        if start + FILE_VIDEOS >= len(ids):
            number[-1] = max(left - number[:-1].sum(), 1)
        left -= number.sum()
        file = f"part-{start // FILE_VIDEOS:05}.parquet"
        _append(writers, run.path("videos", "part-0.parquet"), videos)
        clips = _clips(videos, number, rule, draw)
        _append(writers, storage.join(run.clips_path(SCORING), file), clips)
        rows_of_videos = lineage.rows_of(
            [videos[name].combine_chunks() for name in ("video_id", "content")]
        )
        for member in members:
            made = lineage.fingerprints((member_fingerprint(member), ASKED), rows_of_videos)
            answers = _answers(clips, pa.array(np.repeat(made, number)), draw)
            _append(writers, storage.join(run.predictions_path(member.name), file), answers)
    for writer in writers.values():
        writer.close()


def _append(writers: dict[str, pq.ParquetWriter], uri: str, table: pa.Table) -> None:
    if uri not in writers:
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        writers[uri] = pq.ParquetWriter(uri, table.schema, compression="zstd")
    writers[uri].write_table(table, row_group_size=GROUP_ROWS)


def _videos(ids: npt.NDArray[np.uint64], draw: Draw) -> pa.Table:
    names = hexadecimal(ids)
    people = draw.integers(0, len(ids), len(ids))
    rows = {
        "video_id": names,
        "uri": pa.array([f"/archive/{name}.mp4" for name in names.to_pylist()]),
        "content": hexadecimal(draw.integers(0, 2**63, len(ids), np.uint64)),
        "participant_id": pa.array([f"p{person}" for person in people]),
        "split": pa.array(["test"] * len(ids)),
    }
    return _table(rows, schemas.VIDEOS)


def _clips(
    videos: pa.Table, number: npt.NDArray[np.int64], rule: dict[str, object], draw: Draw
) -> pa.Table:
    made = lineage.scoring_clips_made_from(videos, rule)
    of = pa.array(np.repeat(np.arange(len(videos)), number))
    place = np.arange(len(of)) - np.repeat(np.cumsum(number) - number, number)
    rows = {
        name: videos[name].take(of) for name in ("video_id", "participant_id", "split", "content")
    }
    rows |= {
        "clip_id": hexadecimal(draw.integers(0, 2**63, len(of), np.uint64)),
        "source_uri": videos["uri"].take(of),
        "segment_index": pa.array(np.zeros(len(of), np.int32)),
        "clip_index": pa.array(place.astype(np.int32)),
        "start_s": pa.array(place * CLIP_S),
        "end_s": pa.array(place * CLIP_S + CLIP_S),
        "made_from": pa.array(made).take(of),
    }
    return _table(rows, schemas.CLIPS)


def _answers(clips: pa.Table, made_from: pa.Array, draw: Draw) -> pa.Table:
    size = len(clips)
    status = draw.choice(3, size, p=[1 - sum(LOST.values()), *LOST.values()])
    answered = status == 0
    chance = draw.beta(0.1, 2.0, size).astype(np.float32).astype(np.float64)
    said = pa.array(["No", "Yes"]).take(pa.array((chance >= 0.5).astype(np.int8)[answered]))
    offsets = pa.array(np.append(0, np.cumsum(answered)).astype(np.int32))
    none = pa.array(~answered)
    pairs = np.stack([chance, 1 - chance], axis=1)[answered].ravel()
    keys = pa.array(["Yes", "No"]).take(pa.array(np.tile([0, 1], int(answered.sum()))))
    twice = pa.array(np.append(0, 2 * np.cumsum(answered)).astype(np.int32))
    rows = {
        "clip_id": clips["clip_id"],
        "video_id": clips["video_id"],
        "status": pa.array(["ok", *LOST]).take(pa.array(status)),
        "labels": pa.ListArray.from_arrays(offsets, said, mask=none),
        "chances": pa.MapArray.from_arrays(twice, keys, pa.array(pairs), mask=none),
        "mass": pa.array(draw.random(size, np.float32).astype(np.float64), mask=~answered),
        "damage": pa.array(np.zeros(size, np.int32)),
        "attempts": pa.array(np.ones(size, np.int32)),
        "error_kind": pa.array([None, "decode"]).take(pa.array((status == 1).astype(np.int8))),
        "made_from": made_from,
    }
    return _table(rows, schemas.PREDICTIONS)


def _table(rows: dict[str, pa.Array], schema: pa.Schema) -> pa.Table:
    size = len(next(iter(rows.values())))
    return pa.table([rows.get(f.name, pa.nulls(size, f.type)) for f in schema], schema)


@contextmanager
def measuring() -> Iterator[dict[str, float]]:
    """What something takes: seconds, those of CPUs, and the peak of this process's memory in GB."""
    found: dict[str, float] = {}
    start, cpu = time.perf_counter(), time.process_time()
    yield found
    found["seconds"] = time.perf_counter() - start
    found["cpu_seconds"] = time.process_time() - cpu
    # Not ru_maxrss, which begins with what the parent, who wrote the run, held.
    status = Path("/proc/self/status").read_text()
    found["peak_gb"] = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def ours(folder: Path) -> dict[str, float]:
    """Reduce; what it takes."""
    import ray.util.metrics  # noqa: F401  (what progress imports)

    members = [read_member(str(folder / "members" / name)) for name in MEMBERS]
    judgement = load_task(TASK).judged(ReduceConfig())
    with measuring() as found:
        reduce(RunDirectory.at(str(folder)), members, judgement)
    return found


def by_sql(query: str, name: str) -> Callable[[Path], dict[str, float]]:
    """A query of the run directory to a file of this name; what it takes."""

    def way(folder: Path) -> dict[str, float]:
        import duckdb

        spilled = str(folder / "spilled")
        settings = {"threads": len(os.sched_getaffinity(0)), "memory_limit": "4GB",
                    "temp_directory": spilled}  # fmt: skip
        with measuring() as found, duckdb.connect(config=settings) as connection:
            connection.execute(query.format(run=folder, out=folder / f"{name}.parquet"))
        return found

    return way


WAYS = {"ours": ours, "duckdb": by_sql(SQL, "duckdb"), "whole": by_sql(WHOLE, "whole")}


def measured(way: str, folder: Path) -> dict[str, float]:
    """One way in a process of its own; see ``measuring``."""
    command = [sys.executable, __file__, "--measure", way, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    console.print(f"  {way}: {found}", markup=False)
    return found


def require_same_labels(folder: Path) -> None:
    """Fail unless ours and ``duckdb`` have the same labels."""
    mine = tables.Stored(str(folder / "verdicts"), schemas.VERDICTS)
    labels = pq.read_table(folder / "duckdb.parquet", columns=["video_id", "yes"])
    yes = dict(zip(*labels.to_pydict().values(), strict=True))
    for batch in mine.batches():
        for video_id, said in zip(*map(batch.column, ("video_id", "labels")), strict=True):
            if said.is_valid and said.as_py() != [("No", "Yes")[yes.pop(video_id.as_py())]]:
                raise SystemExit(f"not the same of video {video_id}: {said}")
    if yes:
        raise SystemExit(f"ours has no labels of {len(yes)} videos")


def require_same_rows(folder: Path) -> None:
    """Fail unless ours and ``whole`` have the same rows."""
    mine = tables.Stored(str(folder / "verdicts"), schemas.VERDICTS)
    theirs = pq.ParquetFile(folder / "whole.parquet")
    rows = (row for batch in theirs.iter_batches(10_000) for row in batch.to_pylist())
    for batch in mine.batches():
        for row in batch.to_pylist():
            other = next(rows, None)
            if other is None or not same({name: row[name] for name in other}, other):
                raise SystemExit(f"not the same: {row} and {other}")
    if next(rows, None) is not None:
        raise SystemExit("there are verdicts that ours has not")


def same(one: object, other: object) -> bool:
    """Whether two values are equal, but for the rounding of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)
    return one == other


SAME = {"duckdb": require_same_labels, "whole": require_same_rows}


def compared(rows: int, repeats: int, folder: Path, beside: Sequence[str]) -> dict[str, float]:
    """Ours and what stands beside it at one size."""
    start = time.perf_counter()
    write_run(folder, rows)
    size_gb = sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e9
    console.print(f"{rows} clips: {size_gb:.2f} GB in {time.perf_counter() - start:.0f} s")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ("ours", *beside)}
    for _ in range(repeats):
        for way, some in found.items():
            some.append(measured(way, folder))
    for way in beside:
        SAME[way](folder)
    result = {}
    for way in beside:
        pairs = zip(found["ours"], found[way], strict=True)
        ratios = [one["seconds"] / other["seconds"] for one, other in pairs]
        result[f"vs_{way}"] = statistics.median(ratios)
        result |= {f"vs_{way}_least": min(ratios), f"vs_{way}_most": max(ratios)}
    for way, some in found.items():
        result[f"{way}_seconds"] = statistics.median(one["seconds"] for one in some)
        result[f"{way}_cpu"] = statistics.median(one["cpu_seconds"] for one in some)
        result[f"{way}_peak_gb"] = max(one["peak_gb"] for one in some)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=5, help="of sizes below 100 million; else 1")
    parser.add_argument("--beside", nargs="+", choices=SAME, default=list(SAME))
    parser.add_argument("--folder", default=None, help="where there is room for the runs")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "RUN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(WAYS[options.measure[0]](Path(options.measure[1]))))
        return
    found = {}
    if options.folder is not None:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    for rows in options.rows:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            repeats = options.repeats if rows < 100_000_000 else 1
            found[rows] = compared(rows, repeats, folder, options.beside)
        finally:
            shutil.rmtree(folder)
    table = Table("clips x 3", "way", "s", "CPU s", "GB", "ours / it", "least", "most")
    ways = ("ours", *options.beside)
    for rows, of in found.items():
        for way in ways:
            names = [f"{way}_{key}" for key in ("seconds", "cpu", "peak_gb")]
            names += [name for end in ("", "_least", "_most") if (name := f"vs_{way}{end}") in of]
            table.add_row(str(rows), way, *(f"{of[name]:.2f}" for name in names))
    console.print(table)
    result: dict[str, dict[str, float | list[float]]] = {
        "peak_gb": {str(rows): round(of["ours_peak_gb"], 2) for rows, of in found.items()}
    }
    for rows, of in found.items():
        for way in options.beside:
            kept = {
                f"vs_{way}": of[f"vs_{way}"],
                f"cpu_vs_{way}": of["ours_cpu"] / of[f"{way}_cpu"],
            }
            for key, value in kept.items():
                result.setdefault(key, {})[str(rows)] = round(value, 2)
            spread = [round(of[f"vs_{way}_{end}"], 2) for end in ("least", "most")]
            result.setdefault(f"spread_{way}", {})[str(rows)] = spread
        for way in ways:
            for key in ("seconds", "peak_gb"):
                result.setdefault(f"{way}_{key}", {})[str(rows)] = round(of[f"{way}_{key}"], 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
