"""Prepare: videos in, clip manifest out.

    read videos -> drop stale, drop done -> probe, segment, cut -> write manifest and findings

Each video is one unit of work: its clips and findings are written together, so that a video
either is in the manifest whole or will be done by the next run. What was made from a video that the
archive has changed since (its file, its label, its split) is stale (``lineage``) and done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from ah_ray import lineage, schemas, storage, tables
from ah_ray.cluster import connect
from ah_ray.config import RunConfig
from ah_ray.contents import require_content
from ah_ray.errors import ConfigError, ItemError
from ah_ray.findings import LEFT_OUT, note
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.media.cut import cut
from ah_ray.media.frames import bucket
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import Balance, Span, clamp, scoring_spans, split, training_spans
from ah_ray.pipelines.attempts import Attempts, quarantine
from ah_ray.pipelines.ledger import in_scope, in_splits, prepared_videos
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.preflight import prepare_wish, require, telling_waits
from ah_ray.progress import StageProgress, console

Row = dict[str, Any]

# Faults of the moment: the next run tries these videos again.
PASSING = frozenset({"missing", "storage_error", "changed"})
# A video that a worker did not survive so often is left out; all but the first time it was alone.
_MAX_TRIES = 3

Counts = dict[str, list[Any]]  # a row of numbers, and of ``kinds``: words, a blank after each


@dataclass(frozen=True)
class Manifest:
    """What a manifest is made of.

    Attributes:
        segmentation: ``training`` (cut by the annotation) or ``scoring`` (blind to it, virtual).
        splits: which splits; for scoring, videos without a split are always included.
        rule: how stretches become clips.
        media: what the model will see of them.
        settings: whether clips get files, what becomes of videos without sound, resources.
        limits: what a source may cost.
    """

    segmentation: str
    splits: Sequence[str]
    rule: SegmentationConfig
    media: MediaConfig
    settings: PrepareConfig
    limits: LimitsConfig

    @classmethod
    def of(cls, config: RunConfig, segmentation: str, splits: Sequence[str]) -> Manifest:
        """A manifest of a run."""
        how = (config.segmentation, config.media, config.prepare, config.limits)
        return cls(segmentation, splits, *how)

    def facts(self, lengths: Sequence[float]) -> dict[str, Any]:
        """What a run notes of its manifest: the rule that decides about clips, and the limits."""
        rule = {
            "segmentation": self.rule.model_dump(),
            "media": self.media.model_dump(),
            **self.settings.model_dump(include={"clips", "no_audio"}),
            "lengths": lineage.fingerprint(lengths),
        }
        return {"rule": rule, "limits": self.limits.model_dump(), "splits": list(self.splits)}

    @property
    def writes_files(self) -> bool:
        """Whether clips are cut into files of their own."""
        return self.segmentation == TRAINING and self.settings.clips == "files"


def prepare(run: RunDirectory, manifest: Manifest, limit: int | None = None) -> None:
    """Write the clips of the videos that are not in the manifest yet.

    Args:
        run: the run directory; its videos table is read.
        manifest: what to write.
        limit: take only the first so many videos, for a trial.

    Raises:
        ConfigError: the run was made with other settings, there is nothing to balance negatives
            by, or the cluster can never grant the resources.
        StorageError: the manifest cannot be written; the next run goes on where this one stopped.
    """
    lengths = positive_lengths(run.videos(), manifest)
    claim(run, manifest, lengths)
    run.remember({"limit": limit})
    stale = drop_stale(run, manifest.segmentation)
    videos = in_scope(run, manifest.splits, unlabelled=manifest.segmentation == SCORING)
    done = pa.array(prepared_videos(run, manifest.segmentation), pa.string())
    todo = videos.filter(pc.invert(pc.is_in(videos["video_id"], done)))
    before = len(videos) - len(todo)
    wish = prepare_wish(manifest.settings)
    if len(todo):  # Ray's first words come before there is a bar
        connect()
        require(wish)
    name, told = f"prepare {manifest.segmentation}", run.path("findings")
    with StageProgress(name, len(todo), "videos", before, told) as progress:
        if stale:
            console.print(f"  {stale} videos have changed since: what was made of them is dropped")
        if not len(todo):
            return
        attempts = Attempts()
        parts = (
            ray.data.from_arrow(todo)
            .repartition(target_num_rows_per_block=_part_size(len(todo), manifest.writes_files))
            .map_batches(
                guarded(run, manifest, lengths, attempts),
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=manifest.settings.cpus_per_video,
            )
        )
        with telling_waits([(wish.part, attempts.began)]), attempts.listening():
            for part in parts.iter_batches(batch_size=None):
                kinds = " ".join(part["kinds"]).split()
                progress.advance(int(part["videos"].sum()), int(part["errors"].sum()), kinds)


def claim(run: RunDirectory, manifest: Manifest, lengths: Sequence[float]) -> None:
    """Bind a run to the settings of a manifest, and note by what rule its rows hold.

    Raises:
        ConfigError: the run was made with other settings.
    """
    settings = manifest.settings.model_dump(include={"clips", "no_audio"})
    claimed = {"segmentation": manifest.rule.model_dump(), "media": manifest.media.model_dump()}
    run.claim(claimed | {"prepare": settings})
    noted = {manifest.segmentation: manifest.facts(lengths)}
    run.remember({"manifests": run.settings().get("manifests", {}) | noted})


def _part_size(videos: int, writes_files: bool) -> int:
    """How many videos are done and written together.

    Few, so that a crash costs little and all CPUs have work, but not so few that a large archive
    becomes a heap of tiny tables.
    """
    return 8 if writes_files else min(max(videos // 64, 8), 256)


def positive_lengths(videos: pa.Table, manifest: Manifest) -> tuple[float, ...]:
    """How long the clips of annotated positives are, sorted; empty unless negatives need it.

    Raises:
        ConfigError: no positive has an interval.
    """
    if manifest.segmentation == SCORING or manifest.rule.negatives == "whole":
        return ()
    videos = in_splits(videos, manifest.splits, unlabelled=False)
    positives = videos.filter(pc.equal(videos["label"], 1))["intervals"].to_pylist()
    spans = [Span(i["start_s"], i["end_s"]) for intervals in positives for i in intervals]
    lengths = sorted(clip.duration_s for span in spans for clip in split(span, manifest.rule))
    if not lengths:
        raise ConfigError(
            "segmentation.negatives",
            "balanced, but no positive video of the training splits has an interval",
            "annotate intervals, or set it to whole",
        )
    return tuple(lengths)


def drop_stale(run: RunDirectory, segmentation: str) -> int:
    """Drop the clips, their files and the findings that hold no more, and the passing faults.

    Returns:
        The number of videos that had any and are still in the catalog.
    """
    limits = run.settings()["manifests"][segmentation]["limits"]
    current = run.made_from(segmentation) or {}
    clips = set(current.values())
    left_out = {lineage.left_out_made_from(made, limits) for made in clips}
    stale = tables.drop_rows(
        run.clips_path(segmentation), schemas.CLIPS, lambda table: lineage.holds(table, clips)
    )
    changed = set(stale["video_id"].to_pylist())
    if segmentation == TRAINING:
        for video_id in changed:
            storage.remove(run.path("media", video_id))
    path = run.findings_path(f"prepare_{segmentation}")
    dropped = tables.drop_rows(
        path,
        schemas.FINDINGS,
        lambda table: pc.and_(
            lineage.holds(table, clips | left_out),
            pc.invert(pc.is_in(table["kind"], pa.array(sorted(PASSING)))),
        ),
    ).to_pylist()
    changed |= {row["item_id"] for row in dropped if row["kind"] in LEFT_OUT - PASSING}
    return len(changed & current.keys())


def guarded(
    run: RunDirectory, manifest: Manifest, lengths: Sequence[float], attempts: Attempts
) -> Callable[[pa.Table], Counts]:
    """``make_prepare_videos`` for batches with videos that may take their worker down.

    Ray starts such a batch again, and would do so for ever. From the second time on its videos go
    one by one (``quarantine``), each written when it is done, and a deadly one is left out.
    """
    prepare_videos = make_prepare_videos(run, manifest, lengths)
    write = make_write(run, manifest, lengths)
    # Time limits end what is slow; this one ends what does not even notice that.
    hang_s = 2 * manifest.limits.timeout_s

    def prepare_batch(batch: pa.Table) -> Counts:
        ids = batch["video_id"].to_pylist()
        counts: Counts = {"videos": [len(ids)], "errors": [0], "kinds": [""]}
        tries = attempts.unfinished(ids)
        begun = {video_id: tried for video_id, tried in tries.items() if tried}
        # The others of a batch that was begun before came back alone, and are written.
        for some, died in quarantine(begun or tries, _MAX_TRIES, together=1):
            videos = batch.take([ids.index(video_id) for video_id in some])
            if died:
                message = f"{videos['uri'][0]}: the worker's process died {died} times on it"
                found = write(videos, [Outcome([], [note(some[0], "worker_died", message)])])
            else:
                with attempts.trying(some, hang_s * len(some)):
                    found = prepare_videos(videos)
            counts |= {name: [counts[name][0] + found[name][0]] for name in ("errors", "kinds")}
        return counts

    def told(batch: pa.Table) -> Counts:
        with attempts.telling():
            return prepare_batch(batch)

    return told


class Outcome(NamedTuple):
    """What became of a video: its clips, and what is odd about it."""

    clips: list[Row]
    findings: list[Row]


def make_prepare_videos(
    run: RunDirectory, manifest: Manifest, lengths: Sequence[float]
) -> Callable[[pa.Table], Counts]:
    """A function that prepares a batch of videos and writes it as one part of the manifest.

    Columns in: those of ``schemas.VIDEOS``. Columns out: ``videos`` and ``errors``, counts, and the
    errors' ``kinds``. The function raises ``StorageError`` when the part cannot be written.
    """
    write = make_write(run, manifest, lengths)

    def outcome(video: Row) -> Outcome:
        clips: list[Row] = []
        findings: list[Row] = []
        try:
            clips = _prepare_video(run, manifest, lengths, video, findings)
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

    return lambda batch: write(batch, [outcome(video) for video in batch.to_pylist()])


def make_write(
    run: RunDirectory, manifest: Manifest, lengths: Sequence[float]
) -> Callable[[pa.Table, Sequence[Outcome]], Counts]:
    """A function that writes what became of a batch of videos, and counts it."""
    facts = manifest.facts(lengths)

    def write(batch: pa.Table, outcomes: Sequence[Outcome]) -> Counts:
        videos = run.stored(batch).to_pylist()
        made = lineage.clips_made_from(videos, manifest.segmentation == TRAINING, facts["rule"])
        clips: list[Row] = []
        findings: list[Row] = []
        for video, found in zip(videos, outcomes, strict=True):
            used = made[video["video_id"]]
            unused = lineage.left_out_made_from(used, facts["limits"])
            clips += [clip | {"made_from": used} for clip in found.clips]
            findings += [
                row | {"made_from": unused if row["kind"] in LEFT_OUT else used}
                for row in found.findings
            ]
        part = f"part-{schemas.stable_id(*sorted(made))}.parquet"
        written = (  # findings first: a video counts as done by its clips or by being left out
            (findings, schemas.FINDINGS, run.findings_path(f"prepare_{manifest.segmentation}")),
            (clips, schemas.CLIPS, run.clips_path(manifest.segmentation)),
        )
        for rows, schema, folder in written:
            if rows:
                table = run.stored(pa.Table.from_pylist(rows, schema=schema))
                tables.write_table(table, storage.join(folder, part))
        kinds = [row["kind"] for row in findings if row["severity"] == "error"]
        words = "".join(f"{kind} " for kind in kinds)
        return {"videos": [len(batch)], "errors": [len(kinds)], "kinds": [words]}

    return write


def _prepare_video(
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
