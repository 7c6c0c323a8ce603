"""Evaluate: verdicts against labels, and the sums that must hold, into ``metrics.json``."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import lineage, storage
from ah_ray.config import ENSEMBLE
from ah_ray.errors import ConfigError, StageError
from ah_ray.evaluation.combinations import by_combination
from ah_ray.evaluation.config import EvaluateConfig
from ah_ray.evaluation.judged import Judged, Metrics, Written
from ah_ray.evaluation.leaks import require_no_leaks
from ah_ray.evaluation.metrics import measured
from ah_ray.evaluation.statistics import Shown, Sources, majority, statistics
from ah_ray.evaluation.trade_off import trade_off
from ah_ray.participants import person
from ah_ray.pipelines.clip_level import clip_level
from ah_ray.pipelines.ledger import in_scope, in_splits
from ah_ray.pipelines.located import located
from ah_ray.pipelines.rereading import read_otherwise, reread
from ah_ray.pipelines.run_directory import SCORING, TRAINING, VIDEO_IDS, RunDirectory
from ah_ray.pipelines.verdict_rows import member_verdict
from ah_ray.pipelines.written import written
from ah_ray.tasks.answers import LabelSet
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.opinions import STATUSES

METRICS_FILE, TRADE_OFF_FILE = "metrics.json", "combinations.svg"


def evaluate(
    run: RunDirectory,
    splits: tuple[str, ...],
    judgement: Judgement,
    baseline: pa.Table | None = None,
    answers: pa.Table | None = None,
    settings: EvaluateConfig = EvaluateConfig(),
) -> dict[str, Any]:
    """Compare the verdicts with the labels; write ``metrics.json`` and ``combinations.svg``.

    Args:
        run: the run directory.
        splits: the splits that were scored.
        judgement: names the metrics.
        baseline: what something that looks at no video says of the same videos
            (``schemas.VERDICTS``).
        answers: the members' answers to clips of labelled videos (``RunDirectory.answers``), to
            compare with annotated intervals, and for metrics of what was written; None not to.
        settings: of what is told beside the metrics.

    Returns:
        What was written: ``video_level.<member or ensemble>.<metric>``, the same below
        ``baseline`` if there is one, ``combinations.<members>.<metric>``, ``by`` (the groups and
        wheels that decide which words count as one), ``statistics`` (``evaluation.statistics``),
        ``localisation.<member>.<label>``, ``clip_level.<member or ensemble>.<metric>``,
        ``majority``, ``leaks``, ``read`` (the parser, and how many replies of each member it reads
        otherwise than strictly) and ``counts.<what>``.

    Raises:
        ConfigError: no video of the splits has a label.
        LeakError: a participant or file is in several splits.
        StageError: no labelled video has an answer.
    """
    videos = run.videos()
    require_no_leaks(videos)
    labelled = labelled_in(run, splits)
    if not len(labelled):
        problem = f"no video in split {', '.join(splits) or 'at all'} has a label"
        raise ConfigError("score.splits", problem, "name splits with labels to evaluate")
    verdicts = run.verdicts()
    of_labelled = _of(_truth(labelled), verdicts)
    ids = labelled["video_id"].combine_chunks()
    clips = run.clips(SCORING, where=pc.field("video_id").isin(ids))
    told = {} if answers is None else written(of_labelled, clips, answers)
    sources = judged_by(labelled, verdicts, told)
    report: dict[str, Any] = {"video_level": _measured(sources, judgement)}
    if not any(metrics["n"] for metrics in report["video_level"].values()):
        raise StageError(
            f"{run.path('verdicts')}: none of {len(labelled)} labelled videos has an answer\n"
            "  fix: see the findings and the errors in the predictions, then score and reduce again"
        )
    if baseline is not None:
        blind = judged_by(labelled, baseline)
        del blind[ENSEMBLE]  # of one member
        report["baseline"] = _measured(blind, judgement)
        sources |= blind
    asked = (judgement.metrics, judgement.answer)
    report["statistics"] = statistics(sources, shown_in(labelled), ENSEMBLE, *asked, settings)
    report["majority"] = majority(_known_elsewhere(videos, splits), sources[ENSEMBLE], *asked)
    report |= {"localisation": {}, "clip_level": {}}
    report["read"] = {"parse": judgement.policies.parse, "otherwise": {}}
    if answers is not None:
        as_judged = reread(answers, judgement.reader)
        report["localisation"] = located(labelled, clips, as_judged)
        report["clip_level"] = clip_level(labelled, clips, as_judged, judgement)
        report["read"]["otherwise"] = read_otherwise(answers, as_judged)
    report["leaks"] = _checked(videos)
    report["combinations"] = combinations_level(labelled, verdicts, judgement)
    report["counts"] = counts(run, splits)
    report |= {
        "by": compared_by(judgement),
        "task": judgement.model_dump(mode="json"),
        "splits": list(splits),
        "made_from": metrics_made_from(run, splits),
    }
    if (picture := trade_off(report["combinations"])) is not None:
        storage.write_bytes(run.path(TRADE_OFF_FILE), picture)
    storage.write_bytes(run.path(METRICS_FILE), (json.dumps(report, indent=2) + "\n").encode())
    return report


def read_metrics(run: RunDirectory) -> dict[str, Any]:
    """What ``evaluate`` has written of a run that it was asked about.

    Raises:
        ConfigError: the file is damaged, or of another version.
    """
    path = run.path(METRICS_FILE)
    try:
        report = json.loads(storage.read_bytes(path))
    except ValueError:
        report = None
    if not isinstance(report, dict) or not {"by", "task", "splits", "made_from"} <= report.keys():
        raise ConfigError(path, "is damaged or of another version", "run `ah-ray evaluate` again")
    return report


def labelled_in(run: RunDirectory, splits: Sequence[str]) -> pa.Table:
    """The videos of splits that have labels, as far as a trial has come (``schemas.VIDEOS``).

    A labelled video outside the splits may show somebody who was trained on: it has a verdict but
    does not count.
    """
    videos = in_splits(in_scope(run, splits, unlabelled=True), splits, unlabelled=False)
    return videos.filter(pc.is_valid(videos["labels"]))


def metrics_made_from(run: RunDirectory, splits: Sequence[str]) -> str:
    """A fingerprint of what metrics are made from.

    These are the verdicts, and what the videos of some splits are said to show, where in them, and
    who is in them: metrics of clips go by intervals, those of groups by attributes.
    """
    known = ["video_id", "participant_id", "split", "labels", "intervals", "attributes"]
    labelled = in_splits(run.videos(), splits, unlabelled=False).sort_by("video_id")
    verdicts = run.verdicts().sort_by("video_id")
    facts = (labelled.select(known), verdicts.select(["video_id", "made_from"]))
    return lineage.fingerprint(*(table.to_pydict() for table in facts))


def compared_by(judgement: Judgement) -> dict[str, Any]:
    """The groups and wheels that metrics are by, as they are now.

    Raises:
        ConfigError: one of them is not there any more.
    """
    by: dict[str, Any] = measured([], judgement.metrics, judgement.answer).get("by", {})
    return by


def video_level(videos: pa.Table, verdicts: pa.Table, judgement: Judgement) -> dict[str, Metrics]:
    """Metrics of every member and of the ensemble over the videos that have labels."""
    return _measured(judged_by(videos, verdicts), judgement)


def _measured(sources: Sources, judgement: Judgement) -> dict[str, Metrics]:
    return {
        name: measured(judged, judgement.metrics, judgement.answer)
        for name, judged in sources.items()
    }


def judged_by(
    videos: pa.Table,
    verdicts: pa.Table,
    told: Mapping[str, Mapping[str, Written]] = MappingProxyType({}),
) -> dict[str, list[Judged]]:
    """What every member, and after them the ensemble, says of the videos that have labels.

    A labelled video without a verdict, such as one in the findings, is undecided.

    Args:
        videos: ``schemas.VIDEOS``.
        verdicts: ``schemas.VERDICTS``.
        told: what members wrote of videos, by both; an ensemble of one has written what it has.
    """
    truth = _truth(videos)
    stated = dict(
        zip(*(videos[name].to_pylist() for name in ("video_id", "attributes")), strict=True)
    )
    ensemble = {row["video_id"]: row for row in _of(truth, verdicts).to_pylist()}
    members: dict[str, dict[str, Any]] = defaultdict(dict)
    for video, row in ensemble.items():
        for member in row["members"]:
            members[member["member"]][video] = member
    by_member = {name: members[name] for name in sorted(members)}
    alone = next(iter(by_member)) if len(by_member) == 1 else ENSEMBLE
    return {
        name: [
            _judged(video, labels, answers.get(video))._replace(
                written=told.get(alone if name == ENSEMBLE else name, {}).get(video),
                stated=dict(stated[video] or ()),
            )
            for video, labels in truth.items()
        ]
        for name, answers in (by_member | {ENSEMBLE: ensemble}).items()
    }


def shown_in(videos: pa.Table) -> list[Shown]:
    """Who is in the videos that have labels, in their order."""
    columns = ("video_id", "participant_id", "attributes")
    labelled = videos.filter(pc.is_valid(videos["labels"]))
    rows = zip(*(labelled[name].to_pylist() for name in columns), strict=True)
    return [Shown(video, person, dict(stated or ())) for video, person, stated in rows]


def _known_elsewhere(videos: pa.Table, splits: Sequence[str]) -> list[LabelSet]:
    """The labels of the videos of other splits."""
    outside = pc.invert(pc.is_in(videos["split"], pa.array([*splits, None], pa.string())))
    others = videos.filter(pc.and_(outside, pc.is_valid(videos["labels"])))
    return [frozenset(labels) for labels in others["labels"].to_pylist()]


def _checked(videos: pa.Table) -> dict[str, Any]:
    """What ``require_no_leaks``, which fails on any, has compared across splits."""
    split = videos.filter(pc.is_valid(videos["split"]))
    return {
        "found": 0,
        "splits": sorted(set(split["split"].to_pylist())),
        "participants": len({person(name) for name in split["participant_id"].to_pylist() if name}),
        "contents": pc.count_distinct(split["content"]).as_py(),
        "videos_without_participant": split["participant_id"].null_count,
    }


def combinations_level(
    videos: pa.Table, verdicts: pa.Table, judgement: Judgement
) -> dict[str, Metrics]:
    """Metrics of every combination of members, over the same videos as those of the ensemble."""
    truth = _truth(videos)
    verdicts = _of(truth, verdicts)
    rows = zip(verdicts["video_id"].to_pylist(), verdicts["members"].to_pylist(), strict=True)
    answers = {video: [member_verdict(row) for row in members] for video, members in rows}
    return by_combination(truth, answers, judgement)


def _of(videos: Iterable[str], rows: pa.Table) -> pa.Table:
    """What there is of some videos: beside these an archive may have any number without labels."""
    return rows.filter(pc.is_in(rows["video_id"], pa.array(list(videos), pa.string())))


def _truth(videos: pa.Table) -> dict[str, LabelSet]:
    """The labels of the videos that have some, by video_id."""
    columns = (videos[name].to_pylist() for name in ("video_id", "labels"))
    rows = zip(*columns, strict=True)
    return {video: frozenset(labels) for video, labels in rows if labels is not None}


def _judged(video_id: str, truth: LabelSet, answer: Mapping[str, Any] | None) -> Judged:
    """A labelled video, and what a verdict or a member says of it."""
    if answer is None or answer["labels"] is None:
        return Judged(truth, None, {}, video_id)
    chances = {one["label"]: one["chance"] for one in answer["considered"]}
    return Judged(truth, frozenset(answer["labels"]), chances, video_id)


def counts(run: RunDirectory, splits: tuple[str, ...]) -> dict[str, Any]:
    """What went in and what came out; ``videos`` is ``verdicts`` plus ``videos_in_findings``.

    After a trial (``prepare --limit``), ``videos`` are those of the trial.

    Raises:
        ConfigError: a video is in neither: a stage has not seen it yet.
    """
    judged, lost = accounted(run, splits)
    expected = judged | lost
    archive = len(in_splits(run.videos(), splits, unlabelled=True))
    verdicts = run.verdicts()
    findings = run.findings()
    clips, training = (run.clips(purpose, VIDEO_IDS) for purpose in (SCORING, TRAINING))
    return {
        "videos": len(expected),
        "videos_beyond_trial": archive - len(expected),
        "verdicts": len(judged),
        "videos_in_findings": len(lost),
        "verdicts_by_status": _tally(verdicts["status"]),
        "clips": len(clips),
        "predictions": _predictions(verdicts),
        "training_videos": len(training["video_id"].unique()),
        "training_clips": len(training),
        "findings": {
            stage: _tally(findings.filter(pc.equal(findings["stage"], stage))["severity"])
            for stage in sorted(set(findings["stage"].to_pylist()))
        },
    }


def accounted(run: RunDirectory, splits: Sequence[str]) -> tuple[set[str], set[str]]:
    """The videos that have a verdict, and those that have a finding in its place, by video_id.

    Raises:
        ConfigError: a video is in neither: a stage has not seen it yet.
    """
    expected = set(in_scope(run, splits, unlabelled=True)["video_id"].to_pylist())
    judged = set(run.verdicts()["video_id"].to_pylist()) & expected
    lost = (run.left_out(SCORING) & expected) - judged
    if unseen := sorted(expected - judged - lost):
        unprepared = set(unseen) - run.prepared(SCORING)
        stages = "prepare, score and reduce" if unprepared else "score and reduce"
        raise ConfigError(
            run.path("verdicts"),
            f"{len(unseen)} videos have neither verdict nor finding: {', '.join(unseen[:5])}",
            f"run the stages {stages} again, or `ah-ray run`; they do what is missing",
        )
    return judged, lost


def _predictions(verdicts: pa.Table) -> dict[str, dict[str, int]]:
    """Per member: how its expected clip answers ended."""
    members = pa.Table.from_struct_array(verdicts["members"].combine_chunks().flatten())
    statuses = [f"clips_{status}" for status in STATUSES]
    sums = members.group_by("member").aggregate([(name, "sum") for name in statuses])
    return {
        row["member"]: {status: row[f"clips_{status}_sum"] for status in STATUSES}
        for row in sums.sort_by("member").to_pylist()
    }


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(column.to_pylist()).items()))
