"""What members wrote of videos, for metrics that look at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray.evaluation.judged import Written
from ah_ray.pipelines.results import evidence

_COLUMNS = ("member", "video_id", "clip_id", "text", "raw_text")


def written(
    verdicts: pa.Table, clips: pa.Table, answers: pa.Table
) -> dict[str, dict[str, Written]]:
    """By member and video; the explanation is that of the clip that speaks most for its answer.

    Of a video whose options were weighed nothing is written.

    Args:
        verdicts: ``schemas.VERDICTS``; whose videos.
        clips: the manifest of scoring clips.
        answers: to them (``schemas.PREDICTIONS``), with a column ``member``.
    """
    answers = answers.filter(pc.is_valid(answers["raw_text"])).select(_COLUMNS)
    answers = answers.filter(pc.is_in(answers["video_id"], verdicts["video_id"].combine_chunks()))
    columns = (clips[name].to_pylist() for name in ("clip_id", "start_s"))
    start_s: Mapping[str, float] = dict(zip(*columns, strict=True))
    replies: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    texts: dict[tuple[str, str], str] = {}
    for row in answers.to_pylist():
        if row["clip_id"] in start_s:
            replies[row["member"], row["video_id"]][row["clip_id"]] = row["raw_text"]
            texts[row["member"], row["clip_id"]] = row["text"] or ""
    found: defaultdict[str, dict[str, Written]] = defaultdict(dict)
    for video, members in zip(
        *(verdicts[name].to_pylist() for name in ("video_id", "members")), strict=True
    ):
        for member in members or ():
            of_clips = replies.get((member["member"], video), {})
            in_order = sorted(of_clips, key=lambda clip: (start_s[clip], clip))
            explanation = texts.get((member["member"], evidence(member) or ""), "")
            found[member["member"]][video] = Written(
                tuple(of_clips[clip] for clip in in_order), explanation
            )
    return dict(found)
