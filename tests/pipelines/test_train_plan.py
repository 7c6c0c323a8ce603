"""What a training is called and what is said of it; nothing is trained here."""

import shutil
from pathlib import Path

import pytest

from ah_ray import schemas
from ah_ray.config import RunConfig, load_config
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.training_plan import Material, Plan, plan_member, print_outlook
from ah_ray.toy.model import write_tiny_checkpoint
from ah_ray.training.outlook import parameters_text

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def planned(
    uri: Path, *overrides: str, clips: int = 90, name: str = "v1"
) -> tuple[Plan, RunConfig]:
    config = load_config("jobs/demo.yaml", str(uri), overrides)
    rows = [
        dict.fromkeys(schemas.CLIPS.names)
        | {
            "clip_id": str(n),
            "video_id": str(n),
            "labels": [("No", "Yes")[n % 2]],
            "participant_id": "p",
        }
        | {"start_s": 0.0, "end_s": 2.0, "source_uri": f"{uri}/archive/{n}.mp4"}
        | {"media_uri": f"{uri}/media/{n}.mp4", "audio_uri": f"{uri}/media/{n}.wav"}
        for n in range(clips)
    ]
    material = Material(rows, rows[:3], schemas.SEEN.empty_table())
    return plan_member(RunDirectory.at(str(uri)), config, "v1", material), config


def test_a_training_is_called_the_same_wherever_its_run_lies(base: Path, tmp_path: Path) -> None:
    for name in ("here", "there", "else where"):
        shutil.copytree(base, tmp_path / name / "base")
    first, second, third = (planned(tmp_path / n)[0] for n in ("here", "there", "else where"))
    names = {Path(plan.job.store).name for plan in (first, second, third)}
    assert len(names) == 1
    assert first.rows == second.rows
    assert first.validation_rows == second.validation_rows
    assert str(tmp_path).encode() not in first.rows
    other, _ = planned(tmp_path / "here", "recipes.lora.seed=1")
    assert Path(other.job.store).name not in names


def test_steps_are_told_and_few_are_warned_of(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(base, tmp_path / "base")
    print_outlook(*planned(tmp_path))
    said = " ".join(capsys.readouterr().out.split())
    assert said == (
        "v1: 90 rows, 4 clips per optimizer step (1 passes of 1 x 4), 1 epochs: 23 optimizer steps"
    )
    print_outlook(*planned(tmp_path, clips=40))
    said = " ".join(capsys.readouterr().out.split())
    assert "10 optimizer steps warning v1 makes fewer than 20 optimizer steps" in said


def test_parameters_are_counted_without_the_weights(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    plan, _ = planned(tmp_path)
    text = parameters_text(plan.job)
    assert text.startswith("10,240 (lora), of ")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"")
    assert "not known" in parameters_text(plan.job)
