"""Export: the tables of a run in, files for other tools out.

    verdicts, answers -> some videos at a time -> flat rows, or a document per video -> FOLDER

Nothing is computed: what is exported is what the tables say, and whoever exports again writes the
same bytes.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, storage
from ah_ray.errors import ConfigError
from ah_ray.export import elan, flat
from ah_ray.pipelines.reduce import noted_judgement
from ah_ray.pipelines.rereading import reread
from ah_ray.pipelines.results import short_names, voters
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.standing import Standing
from ah_ray.progress import results
from ah_ray.schemas import Row

_AT_ONCE = 500  # videos that are Python objects at a time


def export(run: RunDirectory, form: str, folder: str) -> None:
    """Write a run's verdicts and answers as files.

    Args:
        run: the run directory; it is reduced.
        form: one of ``FORMS``.
        folder: where to; any fsspec URI.

    Raises:
        ConfigError: there are no verdicts yet.
    """
    written = FORMS[form](run, folder)
    for uri, count in written.items():
        results.print(f"{uri}: {count}", markup=False)


def _as_csv(run: RunDirectory, folder: str) -> dict[str, str]:
    """Comma-separated values in UTF-8 with a header, as R, SPSS and spreadsheets read them."""

    @contextmanager
    def writer(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Row], None]]:
        # With a mark of UTF-8, without which Excel takes it for something else.
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            rows = csv.DictWriter(file, columns)
            rows.writeheader()
            yield lambda row: rows.writerow({k: flat.harmless(v) for k, v in row.items()})

    return _as_tables(run, folder, "csv", writer)


def _as_jsonl(run: RunDirectory, folder: str) -> dict[str, str]:
    """A JSON object per line, with every column in each."""

    @contextmanager
    def writer(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Row], None]]:
        with path.open("w", encoding="utf-8") as file:

            def write(row: Row) -> None:
                whole = {name: row.get(name) for name in columns}
                file.write(json.dumps(whole, ensure_ascii=False) + "\n")

            yield write

    return _as_tables(run, folder, "jsonl", writer)


def _as_tables(run: RunDirectory, folder: str, suffix: str, writer: Any) -> dict[str, str]:
    verdicts, videos = run.verdicts(), run.videos()
    members, file_of = voters(verdicts), short_names(run)
    keys = pc.list_flatten(pc.cast(videos["attributes"], pa.list_(_PAIR)))
    attributes = sorted(pc.unique(pc.struct_field(keys, "key")).to_pylist())
    judgement = noted_judgement(run)
    options = judgement.answer.options if judgement else ()
    counts = {"videos": 0, "clips": 0}
    with tempfile.TemporaryDirectory(prefix="ah_ray_export_") as scratch:
        paths = {name: Path(scratch, f"{name}.{suffix}") for name in counts}
        with (
            writer(paths["videos"], flat.video_columns(members, attributes)) as write_video,
            writer(paths["clips"], flat.clip_columns(options)) as write_clip,
        ):
            for verdict, video, clips, answers in _whole_videos(run, verdicts, videos):
                file = file_of(verdict["uri"])
                spans = {c["clip_id"]: (c["start_s"], c["end_s"]) for c in clips}
                write_video(flat.video_row(verdict, video, file, spans))
                counts["videos"] += 1
                for clip in clips:
                    for answer in answers[clip["clip_id"]]:
                        write_clip(flat.clip_row(answer, clip, file))
                        counts["clips"] += 1
        uris = {name: storage.join(folder, path.name) for name, path in paths.items()}
        for name, uri in uris.items():
            storage.put(uri, paths[name])
    return {uris[name]: f"{count} rows" for name, count in counts.items()}


def _as_elan(run: RunDirectory, folder: str) -> dict[str, str]:
    """A document of ELAN (``.eaf``) per video."""
    file_of = short_names(run)
    count = 0
    for verdict, video, clips, answers in _whole_videos(run, run.verdicts(), run.videos()):
        content = elan.document(verdict, video, clips, answers)
        name = elan.file_name(file_of(verdict["uri"]), verdict["video_id"])
        storage.write_bytes(storage.join(folder, name), content)
        count += 1
    return {folder: f"{count} documents"}


FORMS: dict[str, Callable[[RunDirectory, str], dict[str, str]]] = {
    "csv": _as_csv,
    "jsonl": _as_jsonl,
    "elan": _as_elan,
}

_PAIR = pa.struct([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.string())])


def _whole_videos(
    run: RunDirectory, verdicts: pa.Table, videos: pa.Table
) -> Iterator[tuple[Row, Row, list[Row], dict[str, list[Row]]]]:
    """Each verdict in order, with its video, its clips in order of time, and answers by clip."""
    if not len(verdicts):
        raise ConfigError(run.path("verdicts"), "has no verdict", "run `ah-ray reduce` first")
    clips, judgement = run.clips(SCORING), noted_judgement(run)
    read = judgement.reader if judgement else None
    names = run.settings().get("voters", voters(verdicts))
    standing = Standing(run, names, schemas.PREDICTIONS.names)
    for start in range(0, len(verdicts), _AT_ONCE):
        some = verdicts.slice(start, _AT_ONCE)
        ids = some["video_id"].combine_chunks()
        facts = {row["video_id"]: row for row in _of(videos, ids).to_pylist()}
        clips_of: dict[str, list[Row]] = defaultdict(list)
        for clip in _of(clips, ids).to_pylist():
            clips_of[clip["video_id"]].append(clip)
        answers: dict[str, list[Row]] = defaultdict(list)
        for name, found in standing.answers(clips, ids).items():
            for row in reread(found, read).to_pylist():
                answers[row["clip_id"]].append(row | {"member": name})
        for verdict in some.to_pylist():
            video_id = verdict["video_id"]
            if video_id in facts:
                yield verdict, facts[video_id], clips_of[video_id], answers


def _of(table: pa.Table, ids: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table["video_id"], ids))
