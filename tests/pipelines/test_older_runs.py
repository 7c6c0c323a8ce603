"""A run of an older format is refused, but its members, with cards of that time, still judge."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from ah_ray import lineage, schemas, storage, tables
from ah_ray.ensemble import ensemble_folder, read_ensemble
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import SEEN_FILE, read_seen
from ah_ray.pipelines.opening import open_run
from ah_ray.pipelines.reduce import noted_judgement
from ah_ray.pipelines.run_directory import FORMAT, RunDirectory
from ah_ray.pipelines.stages import _archive_judgement
from ah_ray.tasks import load_task
from ah_ray.tasks.judgement import Judgement, Rules
from ah_ray.tasks.policies import ReduceConfig

TASK = load_task("cue_conflict")
CARD: dict[str, Any] = {
    "name": "v1",
    "weights": "full",
    "task": {
        "name": "cue_conflict",
        "positive": "Yes",
        "negative": "No",
        "answer": "<answer>{answer}</answer>",
        "clips_to_video": "max",
        "members_to_verdict": "majority",
        "prompts": {"short": TASK.prompts["short"].model_dump()},
    },
    "prompt": "short",
    "model": {"path": "../../base"},
    "media": {"fps": 1},
    "segmentation": {"clip_s": 5},
}


@pytest.fixture
def older(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.at(str(tmp_path / "older"))
    storage.write_bytes(run.path("run.yaml"), yaml.safe_dump({"archive": "archive"}).encode())
    storage.write_bytes(run.path("members", "v1", "member.yaml"), yaml.safe_dump(CARD).encode())
    seen = {"video_id": ["a"], "participant_id": ["p"], "content": ["c"], "label": [1],
            "role": ["training"], "made_from": ["x"]}  # fmt: skip
    tables.write_table(pa.table(seen), run.path("members", "v1", SEEN_FILE))
    return run


def test_as_a_run_it_is_refused(older: RunDirectory) -> None:
    assert not older.is_readable()
    with pytest.raises(ConfigError, match=f"is 1, and .* format {FORMAT}"):
        open_run(older.uri)


def test_its_members_judge_and_say_what_they_have_seen(older: RunDirectory) -> None:
    folder = ensemble_folder(older.uri)
    (member,) = members = read_ensemble(folder)
    assert member.card.question == TASK.question("short", "prompt")
    assert _archive_judgement(folder, members, ReduceConfig(tie="No")) == Judgement.usual(
        TASK.answer, ReduceConfig(tie="No")
    )
    seen = read_seen(member)
    assert seen is not None
    assert seen.select(["participant_id", "content"]).to_pylist() == [
        {"participant_id": "p", "content": "c"}
    ]


def test_a_run_of_now_judges_as_it_did(older: RunDirectory) -> None:
    storage.remove(older.path("run.yaml"))
    judgement = Judgement(answer=TASK.answer, rules=Rules(clips="most", members="all"))
    older.remember({"judgement": judgement.model_dump(mode="json")})
    assert older.is_readable()
    assert noted_judgement(older) == judgement
    folder = ensemble_folder(older.uri)
    assert _archive_judgement(folder, read_ensemble(folder), ReduceConfig()) == judgement


def test_a_run_from_before_there_were_subtitles_and_images_holds(tmp_path: Path) -> None:
    run = RunDirectory.at(str(tmp_path))
    rule = {
        "segmentation": SegmentationConfig().model_dump(),
        "media": MediaConfig().model_dump(),
        **{"clips": "files", "no_audio": "silence", "lengths": lineage.fingerprint(())},
    }
    run.remember({"manifests": {"scoring": {"rule": rule, "limits": {}}}})
    facts = {"video_id": "a", "content": "ca", "participant_id": "1", "split": "train"}
    video = facts | {"uri": "archive/a.mp4", "labels": ["Yes"], "intervals": [], "attributes": []}
    older = pa.schema([field for field in schemas.VIDEOS if field.name != "subtitles"])
    tables.write_rows([video], older, run.path("videos", "part-0.parquet"))
    clip = facts | {"clip_id": "c", "start_s": 0.0, "made_from": "e32592d41e95e0d1"}
    older = pa.schema([field for field in schemas.CLIPS if field.name != "subtitle"])
    tables.write_rows([clip], older, storage.join(run.clips_path("scoring"), "part-0.parquet"))
    (found,) = run.clips("scoring").to_pylist()
    assert (found["clip_id"], found["subtitle"]) == ("c", None)
