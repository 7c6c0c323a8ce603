"""What prepare does to one video: probe, segment, cut, and see that it still is the catalog's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ah_ray import schemas, storage
from ah_ray.catalog.rows import needs_interval
from ah_ray.contents import require_content
from ah_ray.errors import ItemError
from ah_ray.findings import note
from ah_ray.media.cut import cut
from ah_ray.media.frames import bucket
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import STILL, Balance, Span, clamp, scoring_spans, split
from ah_ray.media.subtitles import subtitle_of
from ah_ray.pipelines.manifest import PASSING, Manifest, Outcome
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.schemas import Row


class Segment(NamedTuple):
    """A stretch of a video that is cut into clips.

    Attributes:
        clips: of it, in order of time.
        labels: of what they show; None where nobody looks at labels.
    """

    clips: list[Span]
    labels: list[str] | None


def make_prepare_video(
    run: RunDirectory, manifest: Manifest, lengths: Sequence[float]
) -> Callable[[Row], Outcome]:
    """A function that makes the clips of one video, or says why there are none.

    Columns in: those of ``schemas.VIDEOS``. Rows out: ``schemas.CLIPS`` and ``schemas.FINDINGS``,
    both but for ``made_from``. Whatever goes wrong is a finding.

    Args:
        run: the run directory; files of clips are written there.
        manifest: what to make.
        lengths: ``annotated_lengths``.
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
    if manifest.purpose == TRAINING:
        segments = training_segments(video, info, manifest, lengths, findings)
        rows = _clip_rows(video, info, manifest, segments)
    else:  # neither label nor annotation is looked at
        rows = _clip_rows(video, info, manifest, [Segment(_whole(info, manifest), None)])
    if not rows:
        raise ItemError("no_clip", f"{video['uri']}: nothing is as long as segmentation wants")
    if manifest.writes_files and not info.still:  # a picture is its own file
        rows = _cut(run, manifest, video, info, rows, findings)
    return rows


def _whole(info: MediaInfo, manifest: Manifest) -> list[Span]:
    """The clips of a whole video; a picture is one, whatever the rule says of short ones."""
    if info.still:
        return [STILL]
    return scoring_spans(info.duration_s, manifest.rule)


def training_segments(
    video: Mapping[str, Any],
    info: MediaInfo,
    manifest: Manifest,
    lengths: Sequence[float],
    findings: list[Row],
) -> list[Segment]:
    """The clips of a labelled video, and what they show.

    Raises:
        ItemError: it has no label, or no interval where it needs one.
    """
    if video["labels"] is None:
        raise ItemError("no_label", f"{video['uri']}: a training video needs a label")
    if info.still:
        if video["intervals"]:
            message = f"{video['uri']}: a picture, and {len(video['intervals'])} intervals of it"
            findings.append(note(video["video_id"], "picture_with_intervals", message))
        return [Segment(_whole(info, manifest), video["labels"])]
    annotated: dict[str | None, list[Span]] = defaultdict(list)
    for interval in video["intervals"]:
        annotated[interval["label"]].append(Span(interval["start_s"], interval["end_s"]))
    segments: list[Segment] = []
    for label, spans in annotated.items():
        intervals, problems = clamp(spans, info.duration_s)
        findings += [
            note(
                video["video_id"],
                "interval_past_end",
                f"{video['uri']}: [{span.start_s:.3f}, {span.end_s:.3f}] s "
                f"in a video of {info.duration_s:.3f} s {problem}",
            )
            for span, problem in problems
        ]
        labels = video["labels"] if label is None else [label]
        segments += [Segment(split(interval, manifest.rule), labels) for interval in intervals]
    if segments:
        return segments
    if needs_interval(video, manifest.absent):
        shown = ", ".join(video["labels"])
        message = f"{video['uri']}: {shown}, but no annotated interval lies in the video"
        raise ItemError("no_interval", message)
    if lengths:
        clips = Balance(lengths, video["video_id"]).clips(info.duration_s, manifest.rule)
    else:
        clips = _whole(info, manifest)
    return [Segment(clips, video["labels"])]


def _clip_rows(
    video: Mapping[str, Any],
    info: MediaInfo,
    manifest: Manifest,
    segments: Sequence[Segment],
) -> list[Row]:
    """Rows of ``schemas.CLIPS``, without files."""
    clips = [
        (number, span, segment.labels)
        for number, segment in enumerate(segments)
        for span in segment.clips
    ]
    return [
        {
            "clip_id": schemas.stable_id(
                video["video_id"],
                f"{span.start_s:.3f}",
                f"{span.end_s:.3f}",
                manifest.purpose,
                manifest.rule.model_dump_json(),
                # One stretch may be annotated with several labels: a clip of each.
                *([] if labels in (None, video["labels"]) else labels),
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
            "labels": labels,
            "subtitle": subtitle_of(video["subtitles"] or (), span),
            "media_uri": None,
            "audio_uri": None,
            "width": info.width,
            "height": info.height,
            "fps": info.fps,
            "has_audio": info.audio_stream is not None,
            "damage": None,
            "bucket": bucket(span, info.width, info.height, manifest.media),
        }
        for index, (segment, span, labels) in enumerate(clips)
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
