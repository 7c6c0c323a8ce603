"""The videos that a report lists: read from the tables of a run, as many as a page can hold."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, storage
from ah_ray.media.config import LimitsConfig
from ah_ray.pipelines.ledger import in_scope
from ah_ray.pipelines.rereading import reread
from ah_ray.pipelines.results import evidence, is_still, ranked, short_names, span_text
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.standing import Standing
from ah_ray.report.config import ReportConfig
from ah_ray.report.timelines import Place, Texts, filled, lost_row, row, timeline
from ah_ray.schemas import Row
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.parsing import Reader
from ah_ray.yaml_objects import build

_ANSWERED = (
    "clip_id", "video_id", "status", "labels", "chances", "text", "raw_text", "error_kind",
    "made_from",
)  # fmt: skip
_SHOWN = schemas.columns(
    schemas.CLIPS, ["video_id", "clip_id", "start_s", "end_s", "fps", "subtitle", "content"]
)
_AT_ONCE = 500  # videos whose answers are Python objects at a time


def listed(
    run: RunDirectory,
    settings: ReportConfig,
    verdicts: pa.Table | None,
    splits: Sequence[str],
    judgement: Judgement | None,
) -> dict[str, Any]:
    """The first videos of a run, those that have no verdict last.

    Args:
        run: the run directory.
        settings: how many videos, and of how many pictures.
        verdicts: ``schemas.VERDICTS``; None where answers are text, on which nobody votes.
        splits: that are scored.
        judgement: of the run; None where nobody was judged.

    Returns:
        rows and timelines (see ``timelines``; the first rows have one), texts, pictures (by the
        place of the row), and how many videos are answered, and lost: have a finding alone.
    """
    options = judgement.answer.options if judgement else ()
    read = judgement.reader if judgement else None
    place_of = _places(run)
    clips = run.clips(SCORING, _SHOWN)
    scope = in_scope(run, splits, unlabelled=True)
    chosen = (
        _undecided(scope, clips, settings.videos)
        if verdicts is None
        else ranked(verdicts, settings.videos, in_words=not options)
    )
    ids = pa.array([verdict["video_id"] for verdict in chosen], pa.string())
    facts = {video["video_id"]: video for video in _of(scope, ids).to_pylist()}
    clips_of: dict[str, list[Row]] = defaultdict(list)
    for clip in _of(clips, ids).to_pylist():
        clips_of[clip["video_id"]].append(clip)
    spans = {
        clip["clip_id"]: (clip["start_s"], clip["end_s"]) for of in clips_of.values() for clip in of
    }
    moments = {
        clip["clip_id"]: span_text(*spans[clip["clip_id"]])
        for of in clips_of.values()
        for clip in of
        if not is_still(clip)
    }
    chosen = [verdict for verdict in chosen if verdict["video_id"] in facts]
    videos = [facts[verdict["video_id"]] for verdict in chosen]
    rows = [
        row(verdict, video, place_of(video["uri"]), moments, options)
        for verdict, video in zip(chosen, videos, strict=True)
    ]
    texts = Texts()
    drawn = (
        timeline(verdict, video, clips_of[video["video_id"]], answers, texts, options)
        for (verdict, answers), video in zip(
            _with_answers(run, chosen, clips, read), videos, strict=True
        )
    )
    timelines = filled(drawn, texts)
    judged = (clips if verdicts is None else verdicts)["video_id"].unique()
    lost = _lost(run, scope, judged)
    last = lost.slice(0, max(0, settings.videos - len(rows)))
    return {
        "rows": rows + _lost_rows(run, last, place_of),
        "timelines": timelines,
        "texts": texts.listed(),
        "pictures": _pictures(run, chosen[: settings.thumbnails], videos, spans),
        "answered": len(judged),
        "lost": len(lost),
    }


def _of(table: pa.Table, ids: pa.Array) -> pa.Table:
    """The rows of some videos."""
    return table.filter(pc.is_in(table["video_id"], ids))


def _undecided(scope: pa.Table, clips: pa.Table, most: int) -> list[Row]:
    """Verdicts of videos on which nobody votes."""
    prepared = _of(scope, clips["video_id"].unique()).sort_by("uri").slice(0, most)
    nothing: Row = {"labels": None, "considered": [], "members": []}
    nothing |= {"status": None, "coverage": None}
    return [nothing | {"video_id": video} for video in prepared["video_id"].to_pylist()]


def _with_answers(
    run: RunDirectory, verdicts: Sequence[Row], clips: pa.Table, read: Reader | None
) -> Iterator[tuple[Row, Mapping[str, list[Row]]]]:
    """Verdicts with the answers to their clips by member, in order."""
    names = run.settings()["voters"]
    standing = Standing(run, names, _ANSWERED)
    for start in range(0, len(verdicts), _AT_ONCE):
        some = verdicts[start : start + _AT_ONCE]
        ids = pa.array([verdict["video_id"] for verdict in some], pa.string())
        answers: dict[str, dict[str, list[Row]]] = defaultdict(lambda: {name: [] for name in names})
        for name, found in standing.answers(clips, ids).items():
            for answer in reread(found, read).to_pylist():
                answers[answer["video_id"]][name].append(answer)
        yield from ((verdict, answers[verdict["video_id"]]) for verdict in some)


def _lost(run: RunDirectory, scope: pa.Table, judged: pa.Array) -> pa.Table:
    """The videos that have a finding in the place of a verdict."""
    videos = _of(scope, pa.array(sorted(run.left_out(SCORING)), pa.string())).sort_by("uri")
    return videos.filter(pc.invert(pc.is_in(videos["video_id"], judged)))


def _lost_rows(run: RunDirectory, videos: pa.Table, place_of: Callable[[str], Place]) -> list[Row]:
    """Their rows, with what was found."""
    findings = run.findings().select(["item_id", "message"])
    why: dict[str, list[str]] = defaultdict(list)
    for finding in findings.filter(pc.is_in(findings["item_id"], videos["video_id"])).to_pylist():
        why[finding["item_id"]].append(finding["message"])
    return [
        lost_row(video, place_of(video["uri"]), sorted(why[video["video_id"]]))
        for video in videos.to_pylist()
    ]


def _pictures(
    run: RunDirectory,
    verdicts: Sequence[Row],
    videos: Sequence[Row],
    spans: Mapping[str, tuple[float, float]],
) -> list[list[str]]:
    """Pictures of the clips that decided, for each verdict."""
    if not verdicts:
        return []
    from ah_ray.report.thumbnails import thumbnails  # ffmpeg, only where pictures are wanted

    noted = run.settings().get("manifests", {}).get(SCORING, {}).get("limits", {})
    limits = build(LimitsConfig, noted, f"{run.path('run.yaml')}: limits")
    of = [spans.get(evidence(verdict) or "") for verdict in verdicts]
    return [
        thumbnails(video["uri"], *span, limits) if span else []
        for video, span in zip(videos, of, strict=False)
    ]


def _places(run: RunDirectory) -> Callable[[str], Place]:
    """A function from the URI of a video to where it is for people."""
    short = short_names(run)

    def place(uri: str) -> Place:
        path = storage.local_path(uri)
        if path is not None:  # in the run: relative, so that both can be moved
            inside = uri.removeprefix(f"{run.uri}/")
            link = path.as_uri() if inside == uri else quote(inside)
            return Place(short(uri), link, shlex.quote(str(path)))
        web = uri if storage.protocol(uri) in ("http", "https") else None
        return Place(short(uri), web, web and shlex.quote(web))

    return place
