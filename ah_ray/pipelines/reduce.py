"""Reduce: clip answers become video answers, the members' video answers become verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, tables
from ah_ray.ensemble import require_voters
from ah_ray.errors import ConfigError
from ah_ray.members import Member, member_fingerprint
from ah_ray.pipelines.parts import Parts, in_order
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.verdict_table import make_verdicts, verdicts_of
from ah_ray.progress import StageProgress, console
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
    now = CurrentVerdicts(run, members, judgement)
    run.remember({"judgement": judgement.model_dump(mode="json")})
    told = run.path("verdicts")
    incomplete = 0
    with (
        StageProgress("reduce", now.videos, "videos", table=told, note=run.note_cost) as progress,
        tables.writing(run.path("verdicts", "part-0.parquet"), schemas.VERDICTS) as write,
    ):
        for verdicts in now:
            write(verdicts)
            undecided = pc.sum(pc.equal(verdicts["status"], "undecided"), min_count=0).as_py()
            progress.advance(len(verdicts), undecided, ["undecided"] * undecided)
            incomplete += pc.sum(pc.less(verdicts["coverage"], 1.0), min_count=0).as_py()
    if incomplete:
        console.print(
            f"  [yellow]warning[/] {incomplete} of {now.videos} verdicts lack clip answers: "
            "none was given, it is stale, or it says nothing; their column `members` counts which"
        )


def noted_judgement(run: RunDirectory) -> Judgement | None:
    """How a run was judged last; None if it was not yet.

    Raises:
        ConfigError: what ``run.yaml`` says of it is not as ``reduce`` has written it.
    """
    noted = run.settings().get("judgement")
    where = f"{run.path('run.yaml')}: judgement"
    return None if noted is None else build(Judgement, noted, where).check(where)


class CurrentVerdicts:
    """What the verdicts of a run are now, made of the answers that hold, some videos at a time.

    URIs in them are as they are stored.

    Attributes:
        videos: how many are in the manifest.

    Raises:
        ConfigError: the members answer another question than is judged.
    """

    def __init__(self, run: RunDirectory, members: Sequence[Member], judgement: Judgement) -> None:
        voters = require_voters(members)
        for member in voters:
            if member.card.question.answer != judgement.answer:
                raise ConfigError(
                    f"{member.uri}: question.answer",
                    f"is {member.card.question.answer!r}, but what is judged is "
                    f"{judgement.answer!r}",
                    "judge it by its own task",
                )
        fingerprints = {member.name: member_fingerprint(member) for member in voters}
        self._parts, self._judgement = Parts(run, fingerprints, judgement.reader), judgement
        self.videos = self._parts.video_count

    def __iter__(self) -> Iterator[pa.Table]:
        """Verdicts in order of video ids."""
        return in_order(self._made, len(self._parts))

    def beside(self, run: RunDirectory) -> Iterator[tuple[pa.Table, pa.Table]]:
        """The same, each time with what the run has written of the same range of videos.

        Raises:
            ConfigError: it has written none.
        """
        run.require("verdicts", "ah-ray reduce")
        stored = tables.Stored(run.path("verdicts"), schemas.VERDICTS)
        for number, now in enumerate(self):
            yield now, stored.between(*self._parts.bounds(number))
        if not len(self._parts):
            yield schemas.VERDICTS.empty_table(), stored.between(None, None)

    def _made(self, part: int) -> pa.Table:
        videos, clips, answers = self._parts.read(part)
        return verdicts_of(videos, clips, answers, self._judgement)


def current_verdicts(
    run: RunDirectory, members: Sequence[Member], judgement: Judgement
) -> pa.Table:
    """What the verdicts of a run are now, all of them.

    Raises:
        ConfigError: the members answer another question than is judged.
    """
    now = CurrentVerdicts(run, members, judgement)
    return run.resolved(pa.concat_tables([schemas.VERDICTS.empty_table(), *now]))


def current_answers(run: RunDirectory, members: Sequence[Member], clips: pa.Table) -> pa.Table:
    """The answers of members to clips of a manifest, made from what there is now."""
    known = {member.name: member_fingerprint(member) for member in members}
    return run.answers(known, clips, where=pc.field("video_id").isin(clips["video_id"].unique()))


def require_current(run: RunDirectory, members: Sequence[Member], judgement: Judgement) -> None:
    """Fail unless the verdicts of a run are made from its answers as they are now.

    Raises:
        ConfigError: naming some videos whose verdicts are stale, or have none.
    """
    stale: list[str] = []
    count = 0
    for now, stored in CurrentVerdicts(run, members, judgement).beside(run):
        count += len(now)
        # Whole rows: a verdict that somebody has edited is not what its answers say.
        if not now.equals(stored):
            ours, theirs = (
                {row["video_id"]: row for row in table.to_pylist()} for table in (now, stored)
            )
            stale += (one for one in ours.keys() | theirs if ours.get(one) != theirs.get(one))
    if not count:
        problem = "no scoring clip is made from the catalog as it is now"
        raise ConfigError(run.clips_path(SCORING), problem, "run `ah-ray catalog` and `prepare`")
    if stale:
        raise ConfigError(
            run.path("verdicts"),
            f"{len(stale)} of {count} verdicts are not made from the answers, members, rules "
            f"and policies that there are now (videos {', '.join(sorted(stale)[:5])}…)",
            "run `ah-ray score` and `ah-ray reduce` first",
        )
