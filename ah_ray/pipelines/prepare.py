"""Prepare: videos in, clip manifest out.

    read videos -> drop done -> probe, segment, cut -> write manifest and findings

Each video is one unit of work: its clips and findings are written together, so that a video
either is in the manifest whole or will be done by the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from ah_ray import schemas, storage
from ah_ray.cluster import connect
from ah_ray.config import MediaConfig, SegmentationConfig
from ah_ray.errors import ItemError
from ah_ray.media.cut import cut
from ah_ray.media.frames import bucket
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import Span, clamp, scoring_spans, training_spans
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.progress import StageProgress

Row = dict[str, Any]
_VIDEOS_PER_PART = 8


def prepare(
    run: RunDirectory,
    segmentation: str,
    splits: Sequence[str],
    rule: SegmentationConfig,
    media: MediaConfig,
    cpus_per_video: float,
) -> None:
    """Write the manifest of training or of scoring clips for the videos that lack one.

    Args:
        run: the run directory; its videos table is read.
        segmentation: ``training`` (cut by the annotation, written as files) or ``scoring``
            (blind to it, virtual).
        splits: which splits; for scoring, videos without a split are always included.
        rule: how stretches become clips.
        media: what the model will see of them.
        cpus_per_video: CPUs that one video takes while it is worked on.
    """
    run.claim({"segmentation": rule.model_dump(), "media": media.model_dump()})
    videos = in_splits(run.videos(), splits, unlabelled=segmentation == SCORING)
    done = prepared_videos(run, segmentation)
    todo = videos.filter(pc.invert(pc.is_in(videos["video_id"], pa.array(done, pa.string()))))
    with StageProgress(f"prepare {segmentation}", len(todo), "videos", len(done)) as progress:
        if not len(todo):
            return
        connect()
        parts = (
            ray.data.from_arrow(todo)
            .repartition(target_num_rows_per_block=_VIDEOS_PER_PART)
            .map_batches(
                make_prepare_videos(run, segmentation, rule, media),
                batch_size=None,
                num_cpus=cpus_per_video,
            )
        )
        for part in parts.iter_batches(batch_size=None):
            progress.advance(int(part["videos"].sum()), int(part["errors"].sum()))


def in_splits(videos: pa.Table, splits: Sequence[str], unlabelled: bool) -> pa.Table:
    """The videos of some splits, and with ``unlabelled`` those without any."""
    chosen = pc.is_in(videos["split"], pa.array(list(splits), pa.string()))
    return videos.filter(pc.or_(chosen, pc.is_null(videos["split"])) if unlabelled else chosen)


def prepared_videos(run: RunDirectory, segmentation: str) -> set[str]:
    """The videos that are in a manifest or ended as an error of making it."""
    clips = storage.ids_in(run.clips_path(segmentation), schemas.CLIPS, "video_id")
    return clips | lost_videos(run, segmentation)


def lost_videos(run: RunDirectory, segmentation: str) -> set[str]:
    """The videos that ended as an error of making a manifest."""
    findings = storage.read_table(run.findings_path(f"prepare_{segmentation}"), schemas.FINDINGS)
    errors = findings.filter(pc.equal(findings["severity"], "error"))
    return set(errors["item_id"].to_pylist())


def make_prepare_videos(
    run: RunDirectory, segmentation: str, rule: SegmentationConfig, media: MediaConfig
) -> Callable[[dict[str, Any]], dict[str, list[int]]]:
    """A function that prepares a batch of videos and writes it as one part of the manifest.

    Columns in: those of ``schemas.VIDEOS``. Columns out: ``videos`` and ``errors``, counts.
    """
    training = segmentation == TRAINING

    def prepare_videos(batch: dict[str, Any]) -> dict[str, list[int]]:
        names = list(batch)
        videos = [
            dict(zip(names, values, strict=True)) for values in zip(*batch.values(), strict=True)
        ]
        clips: list[Row] = []
        findings: list[Row] = []
        for video in videos:
            try:
                info = probe(video["uri"])
                if training:
                    rows, notes = _plan_training(video, info, rule, media)
                    rows, failures = _cut(rows, video, info, run.path("media", video["video_id"]))
                    notes += failures
                else:
                    rows, notes = _plan_scoring(video, info, rule, media), []
                clips += rows
                findings += notes
            except ItemError as error:
                findings.append(_lost(video, error.kind, error.message))
        part = f"part-{schemas.stable_id(*sorted(v['video_id'] for v in videos))}.parquet"
        # Findings first: a video counts as done by its clips or by an error.
        if findings:
            path = storage.join(run.findings_path(f"prepare_{segmentation}"), part)
            storage.write_rows(findings, schemas.FINDINGS, path)
        if clips:
            path = storage.join(run.clips_path(segmentation), part)
            storage.write_rows(clips, schemas.CLIPS, path)
        errors = sum(row["severity"] == "error" for row in findings)
        return {"videos": [len(videos)], "errors": [errors]}

    return prepare_videos


def _plan_scoring(
    video: Mapping[str, Any], info: MediaInfo, rule: SegmentationConfig, media: MediaConfig
) -> list[Row]:
    """The virtual clips of a video; neither its label nor its annotation is looked at."""
    segments = scoring_spans(info.duration_s, rule)
    return _clip_rows(video, info, SCORING, segments, None, rule, media)


def _plan_training(
    video: Mapping[str, Any], info: MediaInfo, rule: SegmentationConfig, media: MediaConfig
) -> tuple[list[Row], list[Row]]:
    """The clips of a labelled video and what was odd about its annotation."""
    label = video["label"]
    if label is None:
        raise ItemError("no_label", f"{video['uri']}: a training video needs a label")
    annotated = [Span(i["start_s"], i["end_s"]) for i in video["intervals"]]
    intervals, problems = clamp(annotated, info.duration_s)
    notes = [
        schemas.finding(
            video["video_id"],
            "warning",
            "interval_past_end",
            f"{video['uri']}: [{span.start_s:.3f}, {span.end_s:.3f}] s "
            f"in a video of {info.duration_s:.3f} s",
            problem,
        )
        for span, problem in problems
    ]
    if label and not intervals:
        message = f"{video['uri']}: positive, but no annotated interval lies in the video"
        raise ItemError("no_interval", message)
    segments = training_spans(info.duration_s, int(label), intervals, rule)
    return _clip_rows(video, info, TRAINING, segments, int(label), rule, media), notes


def _clip_rows(
    video: Mapping[str, Any],
    info: MediaInfo,
    segmentation: str,
    segments: Sequence[Sequence[Span]],
    label: int | None,
    rule: SegmentationConfig,
    media: MediaConfig,
) -> list[Row]:
    """Rows of ``schemas.CLIPS``, without files."""
    clips = [(number, span) for number, spans in enumerate(segments) for span in spans]
    return [
        {
            "clip_id": schemas.stable_id(
                video["video_id"],
                f"{span.start_s:.3f}",
                f"{span.end_s:.3f}",
                segmentation,
                rule.model_dump_json(),
            ),
            "video_id": video["video_id"],
            "participant_id": video["participant_id"],
            "split": video["split"],
            "segmentation": segmentation,
            "source_uri": video["uri"],
            "segment_index": segment,
            "clip_index": index,
            "start_s": span.start_s,
            "end_s": span.end_s,
            "label": label,
            "media_uri": None,
            "audio_uri": None,
            "width": info.width,
            "height": info.height,
            "fps": info.fps,
            "has_audio": info.audio_stream is not None,
            "bucket": bucket(span, info.width, info.height, media),
        }
        for index, (segment, span) in enumerate(clips)
    ]


def _cut(
    rows: Sequence[Row], video: Mapping[str, Any], info: MediaInfo, folder: str
) -> tuple[list[Row], list[Row]]:
    """Write the clips' files; the rows that have them, and a finding for each that has not."""
    spans = {row["clip_id"]: Span(row["start_s"], row["end_s"]) for row in rows}
    failed = cut(video["uri"], info, spans, folder)
    if len(failed) == len(rows):
        raise ItemError("cut_failed", f"{video['uri']}: none of its {len(rows)} clips could be cut")
    kept = [
        row
        | {
            "media_uri": storage.join(folder, f"{row['clip_id']}.mp4"),
            "audio_uri": storage.join(folder, f"{row['clip_id']}.wav"),
        }
        for row in rows
        if row["clip_id"] not in failed
    ]
    notes = [
        schemas.finding(clip_id, "warning", error.kind, error.message, "left out of training")
        for clip_id, error in failed.items()
    ]
    return kept, notes


def _lost(video: Mapping[str, Any], kind: str, message: str) -> Row:
    return schemas.finding(video["video_id"], "error", kind, message, "the video was left out")
