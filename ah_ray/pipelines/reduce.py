"""Reduce: clip answers become video answers, the members' video answers become verdicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from ah_ray import schemas, storage
from ah_ray.config import ReduceConfig
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import StageProgress
from ah_ray.tasks import Task
from ah_ray.tasks.rules import CLIP_RULES, MEMBER_RULES, ClipAnswer


def reduce(run: RunDirectory, members: Sequence[str], task: Task, policies: ReduceConfig) -> None:
    """Write one verdict for every video in the manifest of scoring clips.

    Args:
        run: the run directory.
        members: the names of the ensemble; predictions of others are not looked at.
        task: names the rules.
        policies: what absent answers and ties count as.
    """
    run.require("clips", "ah-ray prepare")
    verdicts = make_verdicts(
        run.videos(),
        run.clips(SCORING),
        run.predictions(),
        members,
        task,
        policies,
    )
    told = run.path("verdicts")
    with StageProgress("reduce", len(verdicts), "videos", table=told) as progress:
        storage.write_table(verdicts, run.path("verdicts", "part-0.parquet"))
        undecided = sum(status == "undecided" for status in verdicts["status"].to_pylist())
        progress.advance(len(verdicts), undecided, ["undecided"] * undecided)


def make_verdicts(
    videos: pa.Table,
    clips: pa.Table,
    predictions: pa.Table,
    members: Sequence[str],
    task: Task,
    policies: ReduceConfig,
) -> pa.Table:
    """Verdicts (``schemas.VERDICTS``) sorted by video id.

    Args:
        videos: ``schemas.VIDEOS``.
        clips: ``schemas.CLIPS``; its videos get verdicts, its clips are the expected answers.
        predictions: ``schemas.PREDICTIONS`` and ``member``; rows of other clips are ignored.
        members: the names of the ensemble.
        task: names the rules.
        policies: what absent answers and ties count as.
    """
    answers: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    columns = ["member", "clip_id", "status", "answer", "p_yes"]
    for row in predictions.select(columns).to_pylist():
        answers[row["member"], row["clip_id"]].append(row)
    clips_of: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for clip in clips.select(["video_id", "clip_id", "start_s"]).to_pylist():
        clips_of[clip["video_id"]].append((clip["clip_id"], clip["start_s"]))
    facts = {
        row["video_id"]: row
        for row in videos.select(["video_id", "uri", "participant_id", "split"]).to_pylist()
    }

    def clip_answers(member: str, video_id: str) -> Iterable[ClipAnswer]:
        for clip_id, start_s in clips_of[video_id]:
            rows = answers.get((member, clip_id))
            if rows is None:
                yield ClipAnswer(clip_id, start_s, "missing", None, None)
                continue
            for row in rows:
                yield ClipAnswer(clip_id, start_s, row["status"], row["answer"], row["p_yes"])

    rows = []
    for video_id in sorted(clips_of):
        video_answers = [
            CLIP_RULES[task.clips_to_video](member, clip_answers(member, video_id), policies)
            for member in sorted(set(members))
        ]
        verdict = MEMBER_RULES[task.members_to_verdict](video_answers, policies)
        rows.append(
            facts[video_id]
            | verdict._asdict()
            | {"members": [answer._asdict() for answer in video_answers]}
        )
    return pa.Table.from_pylist(rows, schema=schemas.VERDICTS)
