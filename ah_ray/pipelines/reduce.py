"""Reduce: clip answers become video answers, the members' video answers become verdicts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from ah_ray import lineage, schemas, tables
from ah_ray.errors import ConfigError
from ah_ray.members import Member, member_fingerprint
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import StageProgress
from ah_ray.tasks import Task
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.rules import CLIP_RULES, MEMBER_RULES, ClipAnswer, unique_answers


def reduce(
    run: RunDirectory, members: Sequence[Member], task: Task, policies: ReduceConfig
) -> None:
    """Write one verdict for every video in the manifest of scoring clips.

    Args:
        run: the run directory.
        members: the ensemble; predictions of others are not looked at.
        task: names the rules.
        policies: what absent answers and ties count as.
    """
    verdicts = current_verdicts(run, members, task, policies)
    run.remember({"policies": policies.model_dump()})
    told = run.path("verdicts")
    with StageProgress("reduce", len(verdicts), "videos", table=told) as progress:
        table = run.stored(verdicts)
        tables.write_table(table, run.path("verdicts", "part-0.parquet"))
        undecided = sum(status == "undecided" for status in verdicts["status"].to_pylist())
        progress.advance(len(verdicts), undecided, ["undecided"] * undecided)


def current_verdicts(
    run: RunDirectory, members: Sequence[Member], task: Task, policies: ReduceConfig
) -> pa.Table:
    """What the verdicts of a run are now: ``make_verdicts`` of the answers that hold."""
    run.require("clips", "ah-ray prepare")
    clips = run.clips(SCORING)
    answers = run.answers({m.name: member_fingerprint(m) for m in members}, clips)
    names = [member.name for member in members]
    return make_verdicts(run.videos(), clips, answers, names, task, policies)


def require_current(
    run: RunDirectory, members: Sequence[Member], task: Task, policies: ReduceConfig
) -> None:
    """Fail unless the verdicts of a run are made from its answers as they are now.

    Raises:
        ConfigError: naming some videos whose verdicts are stale, or have none.
    """
    stored, now = (
        dict(zip(table["video_id"].to_pylist(), table["made_from"].to_pylist(), strict=True))
        for table in (run.verdicts(), current_verdicts(run, members, task, policies))
    )
    stale = sorted(video for video in stored.keys() | now if stored.get(video) != now.get(video))
    if stale:
        raise ConfigError(
            run.path("verdicts"),
            f"{len(stale)} of {len(now)} verdicts are not made from the answers, members and "
            f"policies that there are now (videos {', '.join(stale[:5])}…)",
            "run `ah-ray score` and `ah-ray reduce` first",
        )


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
        predictions: ``schemas.PREDICTIONS`` and ``member``; rows of other clips are ignored. A
            chance that is no number, as foreign tables have it for null, is unknown.
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
                chance = row["p_yes"]
                if chance is not None and not math.isfinite(chance):
                    chance = None
                yield ClipAnswer(clip_id, start_s, row["status"], row["answer"], chance)

    rows = []
    rules = [task.clips_to_video, task.members_to_verdict, policies.model_dump(), task.positive]
    for video_id in sorted(clips_of):
        used = {
            member: unique_answers(clip_answers(member, video_id))
            for member in sorted(set(members))
        }
        video_answers = [
            CLIP_RULES[task.clips_to_video](member, given, policies)
            for member, given in used.items()
        ]
        verdict = MEMBER_RULES[task.members_to_verdict](video_answers, policies)
        rows.append(
            facts[video_id]
            | verdict._asdict()
            | {"members": [answer._asdict() for answer in video_answers]}
            | {"made_from": lineage.fingerprint(rules, used)}
        )
    return pa.Table.from_pylist(rows, schema=schemas.VERDICTS)
