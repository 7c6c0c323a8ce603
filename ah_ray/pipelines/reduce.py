"""Reduce: clip answers become video answers, the members' video answers become verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ah_ray import tables
from ah_ray.ensemble import require_voters
from ah_ray.errors import ConfigError
from ah_ray.members import Member, member_fingerprint
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.verdict_table import make_verdicts
from ah_ray.progress import StageProgress
from ah_ray.tasks.judgement import Judgement
from ah_ray.yaml_objects import build

__all__ = [
    "current_answers",
    "current_verdicts",
    "make_verdicts",
    "noted_judgement",
    "reduce",
    "require_current",
]


def reduce(run: RunDirectory, members: Sequence[Member], judgement: Judgement) -> None:
    """Write one verdict for every video in the manifest of scoring clips.

    Args:
        run: the run directory.
        members: the ensemble; those vote that ``members.voting`` names.
        judgement: the rules, and what absent answers and ties count as.
    """
    verdicts = current_verdicts(run, members, judgement)
    run.remember({"judgement": judgement.model_dump(mode="json")})
    told = run.path("verdicts")
    with StageProgress(
        "reduce", len(verdicts), "videos", table=told, note=run.note_cost
    ) as progress:
        table = run.stored(verdicts)
        tables.write_table(table, run.path("verdicts", "part-0.parquet"))
        undecided = sum(status == "undecided" for status in verdicts["status"].to_pylist())
        progress.advance(len(verdicts), undecided, ["undecided"] * undecided)


def noted_judgement(run: RunDirectory) -> Judgement | None:
    """How a run was judged last; None if it was not yet.

    Raises:
        ConfigError: what ``run.yaml`` says of it is not as ``reduce`` has written it.
    """
    noted = run.settings().get("judgement")
    where = f"{run.path('run.yaml')}: judgement"
    return None if noted is None else build(Judgement, noted, where).check(where)


def current_verdicts(
    run: RunDirectory, members: Sequence[Member], judgement: Judgement
) -> pa.Table:
    """What the verdicts of a run are now: ``make_verdicts`` of the answers that hold.

    Raises:
        ConfigError: the members answer another question than is judged.
    """
    run.require("clips", "ah-ray prepare")
    clips = run.clips(SCORING)
    voters = require_voters(members)
    for member in voters:
        if member.card.question.answer != judgement.answer:
            raise ConfigError(
                f"{member.uri}: question.answer",
                f"is {member.card.question.answer!r}, but what is judged is {judgement.answer!r}",
                "judge it by its own task",
            )
    answers = current_answers(run, voters, clips)
    return make_verdicts(run.videos(), clips, answers, [m.name for m in voters], judgement)


def current_answers(run: RunDirectory, members: Sequence[Member], clips: pa.Table) -> pa.Table:
    """The answers of members to the clips of a manifest, made from what there is now."""
    return run.answers({m.name: member_fingerprint(m) for m in members}, clips)


def require_current(run: RunDirectory, members: Sequence[Member], judgement: Judgement) -> None:
    """Fail unless the verdicts of a run are made from its answers as they are now.

    Raises:
        ConfigError: naming some videos whose verdicts are stale, or have none.
    """
    stored, now = (
        {row["video_id"]: row for row in table.to_pylist()}
        for table in (run.verdicts(), current_verdicts(run, members, judgement))
    )
    if not now:
        problem = "no scoring clip is made from the catalog as it is now"
        raise ConfigError(run.clips_path(SCORING), problem, "run `ah-ray catalog` and `prepare`")
    # Whole rows: a verdict that somebody has edited is not what its answers say.
    stale = sorted(video for video in stored.keys() | now if stored.get(video) != now.get(video))
    if stale:
        raise ConfigError(
            run.path("verdicts"),
            f"{len(stale)} of {len(now)} verdicts are not made from the answers, members, rules "
            f"and policies that there are now (videos {', '.join(stale[:5])}…)",
            "run `ah-ray score` and `ah-ray reduce` first",
        )
