"""Copies: which videos of different splits show one recording, before anything is prepared.

    read videos of the splits -> drop those looked at -> look and listen -> store -> compare

What a file looks and sounds like depends on nothing but its content, so it is kept by that, and
computed once however often the archive is read.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.exceptions

from ah_ray import schemas, storage, tables
from ah_ray.cluster import connect
from ah_ray.errors import ItemError
from ah_ray.evaluation.copies import PICTURE_LIMIT, SOUND_LIMIT, Copy, find_copies
from ah_ray.findings import note
from ah_ray.media.config import LimitsConfig
from ah_ray.media.fingerprint import NOTHING, PICTURE_BITS, Fingerprint, fingerprint
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import StageProgress
from ah_ray.schemas import Row

FOLDER, STAGE = "fingerprints", "copies"  # of the run; of its findings
SCHEMA = pa.schema(
    [
        ("content", pa.string()),  # hash of the file, as in the videos table
        ("picture", pa.binary()),  # little-endian words of ``media.fingerprint``; empty when
        ("sound", pa.binary()),  # the file cannot be read
        ("duration_s", pa.float64()),  # of the whole video; 0 when the file cannot be read
    ]
)
_PASSING = "storage_error"  # is tried again
_TOGETHER_S = 0.25  # a smaller shift is none
_PART = 256  # videos that are stored together


def look_for_copies(run: RunDirectory, limits: LimitsConfig) -> None:
    """Look at the videos that were not looked at before, and write the findings of all.

    Of one split, or of no split, nothing can leak: then nothing is looked at.
    """
    videos = _of_splits(run.videos())
    if len(pc.unique(videos["split"])) > 1:
        _look(run, videos, limits)
    compare_known(run)


def compare_known(run: RunDirectory) -> None:
    """Write the findings about the videos that were looked at, in place of earlier ones."""
    storage.remove(run.findings_path(STAGE))
    videos = _of_splits(run.videos())
    known = tables.read_table(run.path(FOLDER), SCHEMA)
    known = known.filter(pc.is_in(known["content"], videos["content"]))
    if not len(known):
        return
    prints = {row["content"]: _unpacked(row) for row in known.to_pylist()}
    # Contents that are the same are found without looking (``evaluation.leaks``).
    rows = [row for row in videos.to_pylist() if row["content"] in prints]
    copies = find_copies([prints[row["content"]] for row in rows], [row["split"] for row in rows])
    findings = [
        note(rows[copy.first]["video_id"], "similar_in_two_splits", _message(copy, rows))
        for copy in copies
        if rows[copy.first]["content"] != rows[copy.second]["content"]
    ]
    for row in rows:
        duration_s = prints[row["content"]].duration_s
        findings += _past_the_end(row, duration_s)
        if not duration_s:
            message = f"{row['uri']}: cannot be read; prepare says why"
            findings.append(note(row["video_id"], "not_compared", message))
    if findings:
        path = storage.join(run.findings_path(STAGE), "part-0.parquet")
        tables.write_rows(findings, schemas.FINDINGS, path)


def _past_the_end(video: Row, duration_s: float) -> list[Row]:
    """A finding when intervals start after the end of their video."""
    late = [interval for interval in video["intervals"] if interval["start_s"] >= duration_s > 0]
    if not late:
        return []
    first = f"[{late[0]['start_s']}, {late[0]['end_s']}]"
    message = f"{video['uri']}: {len(late)} of {len(video['intervals'])} intervals, such as {first}"
    message += f", start after its end at {duration_s:.3f} s: are they in seconds?"
    return [note(video["video_id"], "intervals_past_video", message)]


def _of_splits(videos: pa.Table) -> pa.Table:
    """The videos with a split whose file can be read."""
    return videos.filter(pc.and_(pc.is_valid(videos["split"]), pc.is_valid(videos["content"])))


def _message(copy: Copy, rows: Sequence[Row]) -> str:
    sides = [f"{row['uri']} in {row['split']}" for row in (rows[copy.first], rows[copy.second])]
    distances = [
        f"{distance:.2f} of the {what} differs (a copy: up to {limit})"
        for what, distance, limit in (
            ("sound", copy.sound, SOUND_LIMIT),
            ("picture", copy.picture, PICTURE_LIMIT),
        )
        if distance is not None
    ]
    message = f"{sides[0]} and {sides[1]}: {', '.join(distances)}"
    if abs(copy.later_s) < _TOGETHER_S:
        return message
    order = "later" if copy.later_s > 0 else "earlier"
    return f"{message}, {abs(copy.later_s):.1f} s {order} in the first"


def _look(run: RunDirectory, videos: pa.Table, limits: LimitsConfig) -> None:
    """Store what the videos look and sound like, in parts, so that a crash costs little."""
    known = tables.ids_in(run.path(FOLDER), SCHEMA, "content")
    uris = dict(zip(videos["content"].to_pylist(), videos["uri"].to_pylist(), strict=True))
    todo = [(content, uri) for content, uri in sorted(uris.items()) if content not in known]
    before = len(uris) - len(todo)
    with StageProgress(
        "look for copies", len(todo), "videos", before, note=run.note_cost
    ) as progress:
        if not todo:
            return
        connect()
        rows: list[Row] = []
        for row in _rows(todo, limits):
            progress.advance(1, errors=row is None or not row["picture"])
            rows += [row] if row is not None else []
            if len(rows) == _PART:
                _store(run, rows)
                rows = []
        _store(run, rows)


def _rows(todo: Sequence[tuple[str, str]], limits: LimitsConfig) -> Iterator[Row | None]:
    """The rows of contents in any order; None for one that is to be tried again."""
    waiting: dict[Any, str] = {}
    items = iter(todo)
    ahead = 4 * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    while True:
        for content, uri in islice(items, ahead - len(waiting)):
            waiting[_fingerprint.remote(uri, limits)] = content
        if not waiting:
            return
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        content = waiting.pop(ready)
        try:
            found = ray.get(ready)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            found = NOTHING  # prepare leaves such a file out, and says so
        yield (
            None
            if found is None
            else {
                "content": content,
                "picture": found.picture.tobytes(),
                "sound": found.sound.tobytes(),
                "duration_s": found.duration_s,
            }
        )


@ray.remote(max_retries=2)  # type: ignore[untyped-decorator]
def _fingerprint(uri: str, limits: LimitsConfig) -> Fingerprint | None:
    """A file's fingerprint; an empty one when it cannot be read, None when that may pass."""
    # Time limits end what is slow; this one ends what does not even notice that.
    faulthandler.dump_traceback_later(2 * limits.timeout_s, exit=True, file=2)
    try:
        return fingerprint(uri, limits)
    except ItemError as error:
        return None if error.kind == _PASSING else NOTHING
    except Exception:  # prepare says what is wrong with it
        return NOTHING
    finally:
        faulthandler.cancel_dump_traceback_later()


def _store(run: RunDirectory, rows: Sequence[Row]) -> None:
    if rows:
        part = f"part-{schemas.stable_id(*(row['content'] for row in rows))}.parquet"
        tables.write_rows(rows, SCHEMA, run.path(FOLDER, part))


def _unpacked(row: Row) -> Fingerprint:
    picture, sound = (np.frombuffer(row[name], "<u4") for name in ("picture", "sound"))
    words = PICTURE_BITS // 32
    return Fingerprint(picture.reshape(-1, words), sound.reshape(-1, 1), row["duration_s"])
