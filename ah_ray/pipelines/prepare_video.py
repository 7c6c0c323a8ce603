"""What prepare does to one video: probe, segment, cut, and see that it still is the catalog's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ah_ray import schemas, storage
from ah_ray.contents import require_content
from ah_ray.errors import ItemError
from ah_ray.findings import note
from ah_ray.media.config import SegmentationConfig
from ah_ray.media.cut import cut
from ah_ray.media.frames import bucket
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import Balance, Span, clamp, scoring_spans, training_spans
from ah_ray.pipelines.manifest import PASSING, Manifest, Outcome, Row
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory


def make_prepare_video(
    run: RunDirectory, manifest: Manifest, lengths: Sequence[float]
) -> Callable[[Row], Outcome]:
    """A function that makes the clips of one video, or says why there are none.

    Columns in: those of ``schemas.VIDEOS``. Rows out: ``schemas.CLIPS`` and ``schemas.FINDINGS``,
    both but for ``made_from``. Whatever goes wrong is a finding.

    Args:
        run: the run directory; files of clips are written there.
        manifest: what to make.
        lengths: ``positive_lengths``.
    """

    def prepare_video(video: Row) -> Outcome:
        clips: list[Row] = []
        findings: list[Row] = []
        try:
            clips = _clips(run, manifest, lengths, video, findings)
        except ItemError as error:
            findings.append(note(video["video_id"], error.kind, error.message))
            if error.kind in PASSING:
                return Outcome([], findings)
        except Exception as error:  # of ours; one video more or less does not end a job
            message = f"{video['uri']}: {type(error).__name__}: {error}"
            findings.append(note(video["video_id"], "unexpected", message))
        try:  # of another file neither clips nor faults hold
            require_content(video["uri"], video["content"])
        except ItemError as error:
            return Outcome([], [note(video["video_id"], error.kind, error.message)])
        return Outcome(clips, findings)

    return prepare_video


def _clips(
    run: RunDirectory,
    manifest: Manifest,
    lengths: Sequence[float],
    video: Mapping[str, Any],
    findings: list[Row],
) -> list[Row]:
    """The rows of a video's clips; what is odd about it is added to ``findings``.

    Raises:
        ItemError: the video is left out; the kind is one of ``findings.KINDS``.
    """
    info = probe(video["uri"], manifest.limits)
    if info.audio_stream is None and manifest.settings.no_audio != "silence":
        skipped = manifest.settings.no_audio == "skip"
        kind = "no_audio_skipped" if skipped else "no_audio"
        raise ItemError(kind, f"{video['uri']}: has no sound")
    if manifest.segmentation == TRAINING:
        segments = _training_segments(video, info, manifest.rule, lengths, findings)
        rows = _clip_rows(video, info, manifest, segments, int(video["label"]))
    else:  # neither label nor annotation is looked at
        segments = scoring_spans(info.duration_s, manifest.rule)
        rows = _clip_rows(video, info, manifest, segments, None)
    if not rows:
        raise ItemError("no_clip", f"{video['uri']}: nothing is as long as segmentation wants")
    if manifest.writes_files:
        rows = _cut(run, manifest, video, info, rows, findings)
    return rows


def _training_segments(
    video: Mapping[str, Any],
    info: MediaInfo,
    rule: SegmentationConfig,
    lengths: Sequence[float],
    findings: list[Row],
) -> list[list[Span]]:
    """The clips of a labelled video."""
    if video["label"] is None:
        raise ItemError("no_label", f"{video['uri']}: a training video needs a label")
    annotated = [Span(i["start_s"], i["end_s"]) for i in video["intervals"]]
    intervals, problems = clamp(annotated, info.duration_s)
    findings += [
        note(
            video["video_id"],
            "interval_past_end",
            f"{video['uri']}: [{span.start_s:.3f}, {span.end_s:.3f}] s "
            f"in a video of {info.duration_s:.3f} s {problem}",
        )
        for span, problem in problems
    ]
    if video["label"] and not intervals:
        message = f"{video['uri']}: positive, but no annotated interval lies in the video"
        raise ItemError("no_interval", message)
    balance = Balance(lengths, video["video_id"]) if lengths else None
    return training_spans(info.duration_s, int(video["label"]), intervals, rule, balance)


def _clip_rows(
    video: Mapping[str, Any],
    info: MediaInfo,
    manifest: Manifest,
    segments: Sequence[Sequence[Span]],
    label: int | None,
) -> list[Row]:
    """Rows of ``schemas.CLIPS``, without files."""
    clips = [(number, span) for number, spans in enumerate(segments) for span in spans]
    return [
        {
            "clip_id": schemas.stable_id(
                video["video_id"],
                f"{span.start_s:.3f}",
                f"{span.end_s:.3f}",
                manifest.segmentation,
                manifest.rule.model_dump_json(),
            ),
            "video_id": video["video_id"],
            "participant_id": video["participant_id"],
            "split": video["split"],
            "source_uri": video["uri"],
            "content": video["content"],
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
            "damage": None,
            "bucket": bucket(span, info.width, info.height, manifest.media),
        }
        for index, (segment, span) in enumerate(clips)
    ]


def _cut(
    run: RunDirectory,
    manifest: Manifest,
    video: Mapping[str, Any],
    info: MediaInfo,
    rows: Sequence[Row],
    findings: list[Row],
) -> list[Row]:
    """Write the clips' files; the rows of those that have one."""
    folder = run.path("media", video["video_id"])
    spans = {row["clip_id"]: Span(row["start_s"], row["end_s"]) for row in rows}
    done = cut(video["uri"], info, spans, folder, manifest.limits)
    if not done.damage:
        first = next(iter(done.failed.values()))
        raise ItemError("cut_failed", f"none of its {len(rows)} clips could be cut: {first}")
    findings += [note(id_, "clip_failed", error.message) for id_, error in done.failed.items()]
    for clip_id, damage in done.damage.items():
        if damage:
            start_s, end_s = spans[clip_id]
            where = f"{video['uri']} from {start_s:.3f} to {end_s:.3f} s"
            findings.append(note(clip_id, "damaged", f"{where}: {damage} decoding errors"))
    if done.warning and not any(done.damage.values()):
        message = f"{video['uri']}: ffmpeg: {done.warning}"
        findings.append(note(video["video_id"], "damaged", message))
    return [
        row
        | {
            "media_uri": storage.join(folder, f"{row['clip_id']}.mp4"),
            "audio_uri": storage.join(folder, f"{row['clip_id']}.wav"),
            "damage": done.damage[row["clip_id"]],
        }
        for row in rows
        if row["clip_id"] in done.damage
    ]
