"""Answers to clips beside the intervals of their videos, for ``evaluation.localisation``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray.evaluation.judged import Judged, chance_of
from ah_ray.evaluation.localisation import Found, Video, localisation
from ah_ray.media.segment import Span
from ah_ray.schemas import Row


def located(
    videos: pa.Table, clips: pa.Table, answers: pa.Table
) -> dict[str, dict[str, dict[str, Any]]]:
    """How well each member finds where each label is that intervals are annotated for.

    A video that has a label and no interval for it is left out for that label: nobody knows where
    in it that is.

    Args:
        videos: the labelled videos (``schemas.VIDEOS``).
        clips: the manifest of scoring clips.
        answers: to them (``schemas.PREDICTIONS``), with a column ``member``.

    Returns:
        ``localisation`` by member and label; empty where no interval is annotated.
    """
    rows = videos.select(["video_id", "labels", "intervals"]).to_pylist()
    truth = {row["video_id"]: (frozenset(row["labels"]), intervals_of(row)) for row in rows}
    shown = sorted({label for _, spans in truth.values() for label in spans})
    if not shown:
        return {}
    spans = _spans(clips, truth)
    by_member: dict[str, dict[str, list[tuple[Span, Judged]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    columns = ["member", "clip_id", "video_id", "status", "labels", "chances"]
    usable = answers.filter(pc.equal(answers["status"], "ok")).select(columns)
    for row in usable.to_pylist():
        if row["clip_id"] in spans:
            said = Judged(frozenset(), frozenset(row["labels"] or ()), dict(row["chances"] or ()))
            by_member[row["member"]][row["video_id"]].append((spans[row["clip_id"]], said))
    return {
        member: {label: localisation(_videos(truth, found, label)) for label in shown}
        for member, found in sorted(by_member.items())
    }


def _videos(
    truth: Mapping[str, tuple[frozenset[str], Mapping[str, list[Span]]]],
    found: Mapping[str, list[tuple[Span, Judged]]],
    label: str,
) -> list[Video]:
    return [
        Video(
            spans.get(label, []),
            [
                Found(span, chance_of(said, label), label in (said.said or ()))
                for span, said in found.get(video_id, [])
            ],
        )
        for video_id, (labels, spans) in truth.items()
        if label in spans or label not in labels
    ]


def intervals_of(video: Row) -> dict[str, list[Span]]:
    """By label; an interval without one is for those of its video."""
    found: dict[str, list[Span]] = defaultdict(list)
    for interval in video["intervals"] or ():
        span = Span(interval["start_s"], interval["end_s"])
        for label in video["labels"] if interval["label"] is None else [interval["label"]]:
            if span.duration_s > 0:
                found[label].append(span)
    return found


def _spans(clips: pa.Table, videos: Mapping[str, Any]) -> dict[str, Span]:
    wanted = clips.filter(pc.is_in(clips["video_id"], pa.array(list(videos), pa.string())))
    columns = (wanted[name].to_pylist() for name in ("clip_id", "start_s", "end_s"))
    return {clip: Span(start, end) for clip, start, end in zip(*columns, strict=True)}
