"""A prepared run of three videos, and members, whose parts tests of what is stale change."""

import pyarrow as pa

from ah_ray import lineage, schemas, storage, tables
from ah_ray.config import RunConfig
from ah_ray.findings import note
from ah_ray.media.config import LimitsConfig, MediaConfig, PrepareConfig, SegmentationConfig
from ah_ray.members import MEMBER_FILE, MemberCard, member_fingerprint, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.manifest import Manifest, Outcome, make_write
from ah_ray.pipelines.run_directory import SCORING, TRAINING, RunDirectory

VIDEOS = [
    {"video_id": "a", "uri": "archive/a.mp4", "content": "ca", "participant_id": "1",
     "split": "train", "labels": ["Yes"],
     "intervals": [{"start_s": 1.0, "end_s": 4.0, "label": None}]},
    {"video_id": "b", "uri": "archive/b.mp4", "content": "cb", "participant_id": "2",
     "split": "train", "labels": ["No"], "intervals": []},
    {"video_id": "c", "uri": "/elsewhere/c.mp4", "content": None, "participant_id": "3",
     "split": "test", "labels": ["No"], "intervals": []},
]  # fmt: skip
MANY = ("train", "test")


def manifest(segmentation: str, limits: LimitsConfig | None = None) -> Manifest:
    rule, media = SegmentationConfig(), MediaConfig()
    limits = limits or LimitsConfig()
    return Manifest(segmentation, MANY, rule, media, PrepareConfig(clips="virtual"), limits)


def prepared_run(tmp_path) -> RunDirectory:
    """A prepared run: one clip of each video, but for c, which training has left out."""
    run = RunDirectory.at(str(tmp_path / "run"))
    write_videos(run, VIDEOS)
    for segmentation in (TRAINING, SCORING):
        what = manifest(segmentation)
        noted = run.settings().get("manifests", {}) | {segmentation: what.facts(())}
        run.remember({"manifests": noted})
        outcomes = []
        for video in run.videos().to_pylist():
            if segmentation == TRAINING and video["video_id"] == "c":
                outcomes.append(Outcome([], [note("c", "unreadable", "m")]))
                continue
            facts = ("video_id", "participant_id", "split", "content")
            clip = {name: video[name] for name in facts} | {
                "clip_id": f"{video['video_id']} {segmentation}", "source_uri": video["uri"],
                "start_s": 0.0, "labels": video["labels"] if segmentation == TRAINING else None,
            }  # fmt: skip
            outcomes.append(Outcome([clip], [note(video["video_id"], "interval_past_end", "m")]))
        make_write(run, what, ())(run.videos(), outcomes)
    return run


def write_videos(run: RunDirectory, videos) -> None:
    run.write_videos(run.resolved(pa.Table.from_pylist(videos, schema=schemas.VIDEOS)))


def changed(video_id: str, **facts):
    return [row | facts if row["video_id"] == video_id else row for row in VIDEOS]


def config_of(members: dict, base) -> RunConfig:
    """A run with the settings of the manifest above."""
    values = {"catalog": {"entry": "e", "root": "r"}, "task": "cue_conflict",
              "model": {"path": str(base)}, "members": members,
              "train": {"splits": MANY}, "score": {"splits": ["test"]}}  # fmt: skip
    return RunConfig.model_validate(values)


def make_member(folder, data: bytes = b"w1", name="v1", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(data)
    values = {"name": name, "weights": "full", "task": "cue_conflict", "prompt": "short",
              "model": ModelConfig(path="base"), "media": MediaConfig(),
              "segmentation": SegmentationConfig()}  # fmt: skip
    (folder / MEMBER_FILE).write_bytes(write_card(MemberCard(**values | changes)))
    return read_member(str(folder))


def answer_all(run, *members) -> None:
    """Score: each of the members, which vote together, says Yes to every clip."""
    folder = members[0].uri.rpartition("/")[0]
    run.remember({"asked": {}, "ensemble": folder, "voters": [m.name for m in members]})
    clips = run.clips(SCORING)
    for member in members:
        made_from = member_fingerprint(member), {}
        rows = [
            {"clip_id": clip["clip_id"], "video_id": clip["video_id"], "status": "ok",
             "labels": ["Yes"], "made_from": lineage.answer_made_from(*made_from, clip)}
            for clip in clips.to_pylist()
        ]  # fmt: skip
        part = storage.join(run.predictions_path(member.name), "part-0.parquet")
        tables.write_rows(rows, schemas.PREDICTIONS, part)
