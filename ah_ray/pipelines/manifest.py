"""Manifests: what they are made of, what in them holds no more, how a part of one is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import lineage, schemas, storage, tables
from ah_ray.config import RunConfig
from ah_ray.errors import ConfigError
from ah_ray.findings import LEFT_OUT
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.media.segment import Span, split
from ah_ray.pipelines.ledger import in_splits
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory
from ah_ray.schemas import Row
from ah_ray.tasks import load_task

# Faults of the moment: the next run tries these videos again.
PASSING = frozenset({"missing", "storage_error", "changed"})

Counts = dict[str, list[Any]]  # a row of numbers, and of ``kinds``: words, a blank after each


@dataclass(frozen=True)
class Manifest:
    """What a manifest is made of.

    Attributes:
        purpose: ``training`` (cut by the annotation) or ``scoring`` (blind to it, virtual).
        splits: which splits; for scoring, videos without a split are always included.
        rule: how stretches become clips.
        media: what the model will see of them.
        settings: whether clips get files, what becomes of videos without sound, resources.
        limits: what a source may cost.
        absent: the option that says that what is looked for is absent, if there is one.
    """

    purpose: str
    splits: Sequence[str]
    rule: SegmentationConfig
    media: MediaConfig
    settings: PrepareConfig
    limits: LimitsConfig
    absent: str | None = None

    @classmethod
    def of(cls, config: RunConfig, purpose: str, splits: Sequence[str]) -> Manifest:
        """A manifest of a run."""
        how = (config.segmentation, config.media, config.prepare, config.limits)
        return cls(purpose, splits, *how, load_task(config.task).answer.absent)

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
        return self.purpose == TRAINING and self.settings.clips == "files"


def needed(config: RunConfig) -> dict[str, Sequence[str]]:
    """The manifests that a run needs, and of which splits: where nobody is trained on them, one."""
    splits = {TRAINING: config.train.splits, SCORING: config.score.splits}
    return {
        purpose: splits[purpose]
        for purpose in splits
        if config.tuned_on_labels or purpose == SCORING
    }


def claim(run: RunDirectory, manifest: Manifest, lengths: Sequence[float]) -> None:
    """Bind a run to the settings of a manifest, and note by what rule its rows hold.

    Raises:
        ConfigError: the run was made with other settings.
    """
    settings = manifest.settings.model_dump(include={"clips", "no_audio"})
    claimed = {"segmentation": manifest.rule.model_dump(), "media": manifest.media.model_dump()}
    run.claim(claimed | {"prepare": settings})
    noted = {manifest.purpose: manifest.facts(lengths)}
    run.remember({"manifests": run.settings().get("manifests", {}) | noted})


def annotated_lengths(videos: pa.Table, manifest: Manifest) -> tuple[float, ...]:
    """How long the clips of annotated intervals are, sorted; empty unless other videos need it.

    Raises:
        ConfigError: no labelled video has an interval.
    """
    if manifest.purpose == SCORING or manifest.rule.negatives == "whole":
        return ()
    videos = in_splits(videos, manifest.splits, unlabelled=False)
    annotated = videos.filter(pc.is_valid(videos["labels"]))["intervals"].to_pylist()
    spans = [Span(i["start_s"], i["end_s"]) for intervals in annotated for i in intervals]
    lengths = sorted(clip.duration_s for span in spans for clip in split(span, manifest.rule))
    if not lengths:
        raise ConfigError(
            "segmentation.negatives",
            "balanced, but no labelled video of the training splits has an interval",
            "annotate intervals, or set it to whole",
        )
    return tuple(lengths)


def drop_stale(run: RunDirectory, purpose: str) -> int:
    """Drop the clips, their files and the findings that hold no more, and the passing faults.

    Returns:
        The number of videos that had any and are still in the catalog.
    """
    limits = run.settings()["manifests"][purpose]["limits"]
    current = run.made_from(purpose) or {}
    clips = set(current.values())
    left_out = {lineage.left_out_made_from(made, limits) for made in clips}
    stale = tables.drop_rows(
        run.clips_path(purpose),
        schemas.CLIPS,
        lambda table: lineage.holds(table, clips),
        ["made_from"],
    )
    changed = set(stale["video_id"].to_pylist())
    if purpose == TRAINING:
        for video_id in changed:
            storage.remove(run.path("media", video_id))
    path = run.findings_path(f"prepare_{purpose}")
    dropped = tables.drop_rows(
        path,
        schemas.FINDINGS,
        lambda table: pc.and_(
            lineage.holds(table, clips | left_out),
            pc.invert(pc.is_in(table["kind"], pa.array(sorted(PASSING)))),
        ),
        ["made_from", "kind"],
    ).to_pylist()
    changed |= {row["item_id"] for row in dropped if row["kind"] in LEFT_OUT - PASSING}
    return len(changed & current.keys())


class Outcome(NamedTuple):
    """What became of a video: its clips, and what is odd about it."""

    clips: list[Row]
    findings: list[Row]


def make_write(
    run: RunDirectory, manifest: Manifest, lengths: Sequence[float]
) -> Callable[[pa.Table, Sequence[Outcome]], Counts]:
    """A function that writes what became of a batch of videos, and counts it."""
    facts = manifest.facts(lengths)

    def write(batch: pa.Table, outcomes: Sequence[Outcome]) -> Counts:
        videos = run.stored(batch).to_pylist()
        made = lineage.clips_made_from(videos, manifest.purpose == TRAINING, facts["rule"])
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
            (findings, schemas.FINDINGS, run.findings_path(f"prepare_{manifest.purpose}")),
            (clips, schemas.CLIPS, run.clips_path(manifest.purpose)),
        )
        for rows, schema, folder in written:
            if rows:
                table = run.stored(pa.Table.from_pylist(rows, schema=schema))
                tables.write_table(table, storage.join(folder, part))
        kinds = [row["kind"] for row in findings if row["severity"] == "error"]
        words = "".join(f"{kind} " for kind in kinds)
        return {"videos": [len(batch)], "errors": [len(kinds)], "kinds": [words]}

    return write
