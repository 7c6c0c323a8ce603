"""Reduce: clip answers become video answers, the members' video answers become verdicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ah_ray import lineage, schemas, tables
from ah_ray.ensemble import require_voters
from ah_ray.errors import ConfigError
from ah_ray.members import Member, member_fingerprint
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import StageProgress
from ah_ray.tasks.answers import LabelSet
from ah_ray.tasks.judgement import Judgement, MemberVerdict, verdict, video_answer
from ah_ray.tasks.rules import Considered, Given, unique
from ah_ray.yaml_objects import build


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


def make_verdicts(
    videos: pa.Table,
    clips: pa.Table,
    predictions: pa.Table,
    members: Sequence[str],
    judgement: Judgement,
) -> pa.Table:
    """Verdicts (``schemas.VERDICTS``) sorted by video id.

    Args:
        videos: ``schemas.VIDEOS``.
        clips: ``schemas.CLIPS``; its videos get verdicts, its clips are the expected answers.
        predictions: ``schemas.PREDICTIONS`` and ``member``; rows of other clips are ignored. A
            chance that is no number, as foreign tables have it for null, is unknown.
        members: the names of those that vote.
        judgement: the rules and policies.
    """
    answers: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    columns = ["member", "clip_id", "status", "labels", "chances"]
    for row in predictions.select(columns).to_pylist():
        answers[row["member"], row["clip_id"]].append(row)
    clips_of: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for clip in clips.select(["video_id", "clip_id", "start_s"]).to_pylist():
        clips_of[clip["video_id"]].append((clip["clip_id"], clip["start_s"]))
    facts = {
        row["video_id"]: row
        for row in videos.select(["video_id", "uri", "participant_id", "split"]).to_pylist()
    }

    def given(member: str, video_id: str) -> Iterable[Given]:
        for clip_id, start_s in clips_of[video_id]:
            rows = answers.get((member, clip_id))
            if rows is None:
                yield Given(clip_id, start_s, "missing")
                continue
            for row in rows:
                labels, chances = row["labels"] or (), dict(row["chances"] or ())
                yield Given(clip_id, start_s, row["status"], frozenset(labels), chances)

    how = judgement.facts()
    names = sorted(set(members))
    rows = []
    for video_id in sorted(clips_of):
        used = {name: unique(given(name, video_id), judgement.answer) for name in names}
        on_video = {name: video_answer(name, clips, judgement) for name, clips in used.items()}
        found = verdict(list(on_video.values()), judgement)
        plain = {
            name: [one._replace(labels=sorted(one.labels)) for one in clips]  # type: ignore[arg-type]
            for name, clips in used.items()
        }
        rows.append(
            facts[video_id]
            | found._asdict()
            | {
                "labels": _sorted(found.labels),
                "considered": [_by_members(one, on_video) for one in found.considered],
                "members": [_row(one) for one in on_video.values()],
                "made_from": lineage.fingerprint(how, plain),
            }
        )
    return pa.Table.from_pylist(rows, schema=schemas.VERDICTS)


def _row(answer: MemberVerdict) -> dict[str, Any]:
    """A member's answer on a video, as ``schemas.MEMBER_VERDICT``."""
    considered = [
        {"label": one.label, "chance": one.chance, "evidence_clip_id": one.evidence}
        for one in answer.considered
    ]
    return answer._asdict() | {"labels": _sorted(answer.labels), "considered": considered}


def member_verdict(row: Mapping[str, Any]) -> MemberVerdict:
    """A member's answer on a video, from a row of ``schemas.MEMBER_VERDICT``."""
    considered = tuple(
        Considered(one["label"], one["chance"], one["evidence_clip_id"], ())
        for one in row["considered"]
    )
    labels = None if row["labels"] is None else frozenset(row["labels"])
    return MemberVerdict(**{**row, "labels": labels, "considered": considered})


def _by_members(one: Considered, on_video: Mapping[str, MemberVerdict]) -> dict[str, Any]:
    """What the members say of a label (``schemas.CONSIDERED``), and the clip that shows it."""
    evidence = {of.label: of.evidence for of in on_video[one.evidence].considered}
    return {
        "label": one.label,
        "chance": one.chance,
        "evidence_clip_id": evidence.get(one.label),
        "members": list(one.givers),
    }


def _sorted(labels: LabelSet | None) -> list[str] | None:
    return None if labels is None else sorted(labels)
