"""The scoring clips of a run and the answers to them, of some videos at a time.

    manifest's video ids -> ranges of them -> for each its clips, videos and answers that hold

What is held at a time is bounded by the size of a range, for an archive of any size. The stages
write their tables in order of video ids, or nearly so, so that statistics in the files tell what a
range can do without. Beside it all videos are held, with what their clips are made from.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import lineage, schemas, tables
from ah_ray.pipelines.rereading import reread
from ah_ray.pipelines.run_directory import SCORING, VIDEO_IDS, RunDirectory, asked_rows
from ah_ray.tasks.parsing import Reader

T = TypeVar("T")

# So many clips at a time: with the answers of three members about half a GB.
CLIPS_AT_A_TIME = 800_000

_VIDEO_FACTS = ["video_id", "uri", "content", "participant_id", "split", "subtitles"]
_REPEATED = {"video_id", "content", "made_from"}  # of clips: the same for all of a video
_CLIP_FACTS = ["clip_id", "video_id", "start_s", "made_from"]


class Part(NamedTuple):
    """What there is of some videos; URIs as they are stored.

    Attributes:
        videos: columns of ``schemas.VIDEOS``.
        clips: columns of ``schemas.CLIPS``; those that hold.
        answers: by member, columns of ``schemas.PREDICTIONS``; those that hold, and perhaps some of
            clips that are not in ``clips``.
    """

    videos: pa.Table
    clips: pa.Table
    answers: dict[str, pa.Table]


class Parts:
    """The scoring clips of a run in parts.

    Args:
        run: the run directory.
        members: whose answers are read: their fingerprints by name.
        read: what reads replies in place of their members' questions; None for as they were read.
        at_a_time: how many clips a part has, about; by default ``CLIPS_AT_A_TIME``.

    Raises:
        ConfigError: there is no manifest.
    """

    def __init__(
        self,
        run: RunDirectory,
        members: Mapping[str, str],
        read: Reader | None = None,
        at_a_time: int | None = None,
    ) -> None:
        run.require("clips", "ah-ray prepare")
        run.require("videos", "ah-ray catalog")
        self._run, self._members, self._read = run, members, read
        facts = schemas.columns(schemas.VIDEOS, _VIDEO_FACTS)
        settings = run.settings()
        self._asked = settings.get("asked")
        self._rule = settings.get("manifests", {}).get(SCORING)
        counting = {name for member in members.values() for name in lineage.counting(member)}
        names = [*_CLIP_FACTS, *sorted(counting - {*_CLIP_FACTS})]
        of_clips = schemas.columns(schemas.CLIPS, names, coded=_REPEATED)
        self._clips = tables.Stored(run.clips_path(SCORING), of_clips)
        coded = ["video_id", "status", "made_from"]
        said = ["clip_id", "labels", "chances", *([] if read is None else ["raw_text"])]
        of_answers = schemas.columns(schemas.PREDICTIONS, [*said, *coded], coded)
        self._answers = {
            name: tables.Stored(run.predictions_path(name), of_answers) for name in members
        }
        ids, part = _in_parts(run, at_a_time or CLIPS_AT_A_TIME)
        lasts = np.flatnonzero(np.diff(part, append=len(part)))
        self._lasts: list[str] = ids.take(pa.array(lasts)).to_pylist()
        videos = tables.read_table(run.path("videos"), facts)
        # In parts, too; those that have no clips are in none.
        at = pc.index_in(videos["video_id"], ids).combine_chunks()
        of_part = np.where(at.is_valid(), part[at.fill_null(0).to_numpy()] if len(part) else 0, -1)
        order = np.argsort(of_part, kind="stable")
        self._videos = videos.take(pa.array(order))
        self._bounds = np.searchsorted(of_part[order], np.arange(len(lasts) + 1))
        self.video_count = len(part)

    def __len__(self) -> int:
        return len(self._lasts)

    def bounds(self, part: int) -> tuple[str | None, str | None]:
        """Between which video ids a part is, the second one among it; see ``tables.Stored``."""
        above = self._lasts[part - 1] if part else None
        return above, None if part == len(self) - 1 else self._lasts[part]

    def read(self, part: int) -> Part:
        """The part with this number; the videos of a part come before those of the next."""
        bounds = self.bounds(part)
        clips = self._clips.between(*bounds)
        start, stop = self._bounds[part : part + 2]
        videos = self._videos.slice(start, stop - start)
        made_from = None
        if self._rule is not None:
            made_from = lineage.scoring_clips_made_from(videos, self._rule["rule"])
        clips = tables.only(clips, self._run.hold(clips, made_from, videos["video_id"]))
        answers, rows = {}, {}
        for name, member in self._members.items():
            found, asked = self._answers[name].between(*bounds), lineage.counting(member)
            if asked not in rows:
                rows[asked] = asked_rows(asked, clips)
            made = lineage.fingerprints((member, self._asked), rows[asked])
            answers[name] = reread(tables.only(found, lineage.holds(found, made)), self._read)
        return Part(videos, clips, answers)


def _in_parts(run: RunDirectory, at_a_time: int) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The ids of the videos in the manifest, sorted, and in which part each is."""
    ids = tables.Stored(run.clips_path(SCORING), VIDEO_IDS)
    counts = [pa.table({"video_id": pa.array([], pa.string()), "clips": pa.array([], pa.int64())})]
    for batch in ids.batches():
        coded = batch.column(0).drop_null()
        number = np.bincount(coded.indices.to_numpy(), minlength=len(coded.dictionary))
        counts.append(pa.table({"video_id": coded.dictionary, "clips": number}))
    videos = pa.concat_tables(counts).group_by("video_id").aggregate([("clips", "sum")])
    videos = videos.filter(pc.greater(videos["clips_sum"], 0)).sort_by("video_id")
    part = (np.cumsum(videos["clips_sum"].to_numpy()) - 1) // at_a_time
    return videos["video_id"].combine_chunks(), np.unique(part, return_inverse=True)[1]


def in_order(make: Callable[[int], T], count: int) -> Iterator[T]:
    """``make`` of 0, 1, ... ``count`` - 1 in this order, as many at once as there are CPUs."""
    at_once = len(os.sched_getaffinity(0))
    if count < 2 or at_once < 2:
        yield from map(make, range(count))
        return
    with ThreadPoolExecutor(at_once) as pool:
        coming: deque[Future[T]] = deque()
        try:
            for number in range(count):
                coming.append(pool.submit(make, number))
                if len(coming) > at_once:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
