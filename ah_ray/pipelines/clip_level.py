"""Answers to clips beside what the clips show, for a task that looks for one thing.

What a clip shows is told by the annotated intervals of its video, which the clips themselves know
nothing of: they are cut blindly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray.config import ENSEMBLE
from ah_ray.evaluation.judged import Judged, Metrics
from ah_ray.evaluation.metrics import measured
from ah_ray.media.segment import Span
from ah_ray.pipelines.located import intervals_of
from ah_ray.pipelines.verdict_rows import answers_by_video
from ah_ray.schemas import Row
from ah_ray.tasks.answers import LabelSet
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.opinions import Given
from ah_ray.tasks.rules import find_rule

_ENOUGH = 0.5  # of the clip, or of an interval


def clip_level(
    videos: pa.Table, clips: pa.Table, answers: pa.Table, judgement: Judgement
) -> dict[str, Metrics]:
    """The task's metrics of every member, and of the ensemble, over clips.

    A clip shows the first option when at least half of it is annotated so, or at least half of
    one annotated interval lies in it; else it shows the option that says that it is not there.
    Left out are the clips of videos that have the label and no interval: nobody knows which show
    it. The ensemble is what the rule over members makes of their answers to the one clip.

    Args:
        videos: the labelled videos (``schemas.VIDEOS``).
        clips: the manifest of scoring clips.
        answers: to them (``schemas.PREDICTIONS``), with a column ``member``.
        judgement: the rule over members, and the metrics.

    Returns:
        The metrics by source, as of videos; none where no interval is annotated, or where the
        answer is not one of two options of which one says that nothing is there.
    """
    options = judgement.answer.options
    if len(options) != 2 or judgement.answer.absent is None:
        return {}
    rows = videos.select(["video_id", "labels", "intervals"]).to_pylist()
    shown = {row["video_id"]: intervals_of(row).get(options[0], []) for row in rows}
    if not any(shown.values()):
        return {}
    unknown = {row["video_id"] for row in rows
               if options[0] in row["labels"] and not shown[row["video_id"]]}  # fmt: skip
    wanted = pa.array(sorted(shown.keys() - unknown), pa.string())
    clips = clips.filter(pc.is_in(clips["video_id"], wanted))
    spans: dict[str, list[Row]] = defaultdict(list)
    for clip in clips.select(["video_id", "clip_id", "start_s", "end_s"]).to_pylist():
        spans[clip["video_id"]].append(clip)
    by_member = {
        name: answers.filter(pc.equal(answers["member"], name))
        for name in sorted(set(answers["member"].to_pylist()))
    }
    judged: dict[str, list[Judged]] = {name: [] for name in [*by_member, ENSEMBLE]}
    rule = find_rule(judgement.rules.members, "rules.members")
    for video, said in answers_by_video(wanted, clips, by_member, judgement.answer):
        given = {name: {one.source: one for one in ones} for name, ones in said.items()}
        for clip in spans[video]:
            truth = _shows(Span(clip["start_s"], clip["end_s"]), shown[video], options)
            here = {name: ones[clip["clip_id"]] for name, ones in given.items()}
            for name, one in here.items():
                decided = one.labels if one.status == "ok" and one.labels else None
                judged[name].append(Judged(truth, decided, one.chances, clip["clip_id"]))
            votes = [_vote(name, one) for name, one in here.items() if one.status == "ok"]
            opinion = rule(votes, judgement.answer, judgement.policies)
            chances = {one.label: one.chance for one in opinion.considered}
            judged[ENSEMBLE].append(Judged(truth, opinion.labels, chances, clip["clip_id"]))
    return {
        name: measured(ones, judgement.metrics, judgement.answer) for name, ones in judged.items()
    }


def _shows(clip: Span, annotated: Sequence[Span], options: Sequence[str]) -> LabelSet:
    """What a clip shows, of intervals that may overlap."""
    inside = sorted(
        (max(one.start_s, clip.start_s), min(one.end_s, clip.end_s)) for one in annotated
    )
    covered, upto = 0.0, clip.start_s
    for start, end in inside:
        covered += max(end - max(start, upto), 0.0)
        upto = max(upto, end)
    holds = any(
        end - start >= _ENOUGH * one.duration_s
        for one in annotated
        for start, end in [(max(one.start_s, clip.start_s), min(one.end_s, clip.end_s))]
    )
    return frozenset({options[not (holds or covered >= _ENOUGH * clip.duration_s)]})


def _vote(name: str, one: Given) -> Given:
    """An answer to a clip as a member's."""
    return Given(name, 0.0, "ok", one.labels, one.chances)
