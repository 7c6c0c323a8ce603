"""A member in stages: what is planned, and what is refused before anything starts."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from ah_ray import schemas
from ah_ray.config import RunConfig, load_config
from ah_ray.contents import content_hash
from ah_ray.errors import ConfigError
from ah_ray.evaluation.leaks import LeakError
from ah_ray.members import Member
from ah_ray.models.hybrid_conversion import convert
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.seen import changed_files
from ah_ray.pipelines.train_stages import require_trainable
from ah_ray.pipelines.training_plan import Material, Plan, plan_member
from ah_ray.toy.vision import write_tiny_vision
from ah_ray.training.outlook import parameters_text

ROOT = Path(__file__).parents[2]
SAID = [
    {"role": "user", "content": "<video>What is this?"},
    {"role": "assistant", "content": "one red ball"},
]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_vision(folder / "looks", ["happy", "unhappy"])
    convert(folder / "looks", folder / "hybrid")
    return folder


@pytest.fixture
def run(tmp_path: Path, bases: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run with the base models, a file of rows and one video that is evaluated."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "bases").symlink_to(bases)
    (tmp_path / "archive").mkdir()
    for name in ("thing", "judged"):
        (tmp_path / "archive" / f"{name}.mp4").write_text(name)
    write_rows(tmp_path, "thing")
    run = RunDirectory.at(str(tmp_path))
    uri = str(tmp_path / "archive" / "judged.mp4")
    video = dict.fromkeys(schemas.VIDEOS.names) | {
        "video_id": "j", "uri": uri, "content": content_hash(uri), "split": "test",
        "labels": ["happy"], "participant_id": "p",
    }  # fmt: skip
    run.write_videos(pa.Table.from_pylist([video], schema=schemas.VIDEOS))
    return run


def write_rows(folder: Path, video: str) -> None:
    row = {"messages": SAID, "videos": [f"{video}.mp4#t=0.000000,1.000000"]}
    (folder / "archive" / "things.jsonl").write_text(json.dumps(row) + "\n")


def load(run: RunDirectory, *overrides: str) -> RunConfig:
    return load_config("jobs/hybrid_demo.yaml", run.uri, overrides)


def planned(run: RunDirectory, *overrides: str) -> Plan:
    rows = [
        dict.fromkeys(schemas.CLIPS.names)
        | {"clip_id": str(n), "video_id": str(n), "labels": [("happy", "unhappy")[n % 2]],
           "participant_id": f"p{n}", "start_s": 0.0, "end_s": 1.0,
           "source_uri": f"{run.uri}/archive/{n}.mp4"}
        for n in range(4)
    ]  # fmt: skip
    material = Material(rows, None, schemas.SEEN.empty_table())
    return plan_member(run, load(run, *overrides), "hybrid", material)


def test_each_stage_begins_with_what_the_one_before_leaves(run: RunDirectory) -> None:
    plan = planned(run)
    every = [*plan.before, plan]
    assert [one.stage.name for one in every if one.stage] == ["general", "emotion", "gate"]
    assert [Path(one.job.model.path).name for one in every] == ["hybrid", "general", "emotion"]
    assert every[1].job.model.path == every[0].result == run.path("stages", "hybrid", "general")
    assert [one.job.parts for one in every] == [("general",), ("emotion",), ("gate", "language")]
    assert [one.rows.count(b"\n") for one in every] == [1, 4, 5]
    assert [one.job.epoch_steps for one in every] == [1, 1, 1]
    assert b'"{run}/archive/thing.mp4#t=0.000000,1.000000"' in every[0].rows
    # Only where rows ask what the member is asked, that is compared with scoring.
    assert [one.job.card is None for one in every] == [True, False, False]
    assert plan.card.model.path.endswith("/bases/hybrid")
    assert plan.card.weights == "full"
    assert len({one.job.store for one in every}) == 3


def test_a_change_of_a_stage_is_a_change_of_those_after_it(run: RunDirectory) -> None:
    def stores(*overrides: str) -> list[str]:
        plan = planned(run, *overrides)
        return [one.job.store for one in (*plan.before, plan)]

    def stated(epochs: int) -> str:
        values = yaml.safe_load((ROOT / "jobs" / "hybrid_demo.yaml").read_text())
        stages = values["recipes"]["staged"]["stages"]
        stages[1]["epochs"] = epochs
        return f"recipes.staged.stages={json.dumps(stages)}"

    before, after = stores(stated(3)), stores(stated(4))
    assert before == stores()
    assert before[0] == after[0]
    assert not set(before[1:]) & set(after[1:])


def test_what_rows_show_will_have_been_seen_and_is_not_evaluated(run: RunDirectory) -> None:
    (seen,) = planned(run).seen.to_pylist()
    assert seen["content"] == content_hash(f"{run.uri}/archive/thing.mp4")
    write_rows(Path(run.uri), "judged")
    with pytest.raises(LeakError, match=r"things\.jsonl"):
        planned(run)


def test_parameters_are_those_of_the_parts(run: RunDirectory, bases: Path) -> None:
    plan = planned(run)
    told = [parameters_text(one.job, plan.card.model.path) for one in (*plan.before, plan)]
    general, emotion, last = (int(text.split()[0].replace(",", "")) for text in told)
    assert general == emotion
    assert last > general


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("[{name: a, trains: [genral]}]", r"stages\.0\.trains.*no part 'genral'.*general"),
        ("[{name: a, trains: []}]", "trains names nothing"),
        ("[{name: a, trains: [gate], data: [x.jsonl]}]", "no stage learns what hybrid is asked"),
        ("[{name: a, trains: [gate], lora: {}}]", "trains does not name language"),
        ("[{name: a, trains: [gate], rate: 1}]", r"stages\.0\.rate.*learning_rate"),
    ],
)
def test_a_bad_stage_is_named(run: RunDirectory, stages: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        load(run, f"recipes.staged.stages={stages}")


def test_parts_are_those_of_the_members_architecture(run: RunDirectory) -> None:
    with pytest.raises(ConfigError, match=r"(?s)qwen2_5_vl has no part 'general'.*aligner"):
        load(run, "members.hybrid.model=looks")
    load(run, "members.hybrid.model=looks", "recipes.staged.stages=[{name: a, trains: [aligner]}]")


def test_a_stage_that_trains_nothing_of_the_checkpoint_is_named(run: RunDirectory) -> None:
    config = load(run)
    require_trainable(config, "hybrid")
    folder = Path(run.uri) / "other"
    write_tiny_vision(folder, ["happy"])
    config = load(run, f"model.path={folder}")
    with pytest.raises(ConfigError, match=r"(?s)stages\.0\.trains.*nothing of general"):
        require_trainable(config, "hybrid")


def test_rows_that_change_after_a_training_are_told(run: RunDirectory) -> None:
    member = Member(run.path("members", "hybrid"), planned(run).card)
    assert changed_files(run, member) == []
    file = Path(run.uri) / "archive" / "things.jsonl"
    was = file.read_text()
    file.write_text(was.replace("red", "blue"))
    assert changed_files(run, member) == [str(file)]
    file.write_text(was)
    assert changed_files(run, member) == []
    (file.parent / "thing.mp4").write_text("another")
    assert changed_files(run, member) == [str(file)]
    file.unlink()
    assert changed_files(run, member) == [], "of what is gone nothing is known"
