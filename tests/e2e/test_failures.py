"""Processes that die while a job runs: nothing is lost, nothing is tried for ever."""

import json
import operator
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import imageio_ffmpeg
import psutil
import pyarrow.compute as pc
import pytest
import yaml

from ah_ray import schemas, storage
from tests.e2e.helpers import ROOT, ah_ray, kill_when, result_rows, rows

SCORER = "ray::MapWorker(MapBatches(Scorer))"


def test_a_killed_engine_comes_back_and_nothing_is_lost(
    copy_of_demo: Path, same_inputs: list[str]
) -> None:
    undisturbed = result_rows(copy_of_demo)
    predictions = copy_of_demo / "predictions" / "member=v3"
    shutil.rmtree(predictions)
    killed = []

    def kill_once() -> None:
        while not any(predictions.glob("part-*")):
            time.sleep(0.02)
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [""])[0].startswith(SCORER):
                process.kill()
                killed.append(process.pid)

    killer = threading.Thread(target=kill_once, daemon=True)
    killer.start()
    arguments = ["--config", "jobs/demo.yaml", "--run", str(copy_of_demo), *same_inputs]
    ah_ray("score", *arguments)
    killer.join()
    assert killed
    again = result_rows(copy_of_demo)
    # Clips of the batch that was under way were taken one by one: their last bits may differ.
    by_clip = operator.itemgetter("clip_id", "member")
    for before, after in zip(
        sorted(undisturbed["predictions"], key=by_clip),
        sorted(again["predictions"], key=by_clip),
        strict=True,
    ):
        assert {**before, "p_yes": 0, "attempts": 0} == {**after, "p_yes": 0, "attempts": 0}
        assert abs(before["p_yes"] - after["p_yes"]) < 1e-4


def test_a_clip_that_kills_its_engine_is_given_up_and_the_others_are_scored(
    demo: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    good = sorted((demo / "archive" / "Videos").rglob("*.mp4"))[:2]
    for number, video in enumerate(good):
        shutil.copy(video, videos / f"good{number}.mp4")
    os.system(
        f"{imageio_ffmpeg.get_ffmpeg_exe()} -v error -i {good[0]} -t 2 -an -c copy "
        f"{videos / 'deadly.mp4'}"
    )
    shutil.copytree(demo / "members" / "v3", tmp_path / "members" / "v3")
    run = tmp_path / "run"
    ah_ray(
        "score", "--videos", str(videos), "--ensemble", str(tmp_path / "members"),
        "--run", str(run), "--set", "score.engine=tests.e2e.deadly_engine:DeadlyEngine",
        "--set", "score.max_attempts=2",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    clips = rows(run / "clips" / "segmentation=scoring", schemas.CLIPS)
    deadly = {clip["clip_id"] for clip in clips if not clip["has_audio"]}
    assert len(deadly) == 1
    predictions = storage.read_table(str(run / "predictions"), schemas.PREDICTIONS, "member")
    assert len(predictions) == len(clips)
    for prediction in predictions.to_pylist():
        if prediction["clip_id"] in deadly:
            assert prediction["status"] == "error"
            assert prediction["error_kind"] == "engine_died"
            assert prediction["attempts"] == 2
        else:
            assert prediction["status"] == "ok"
    verdicts = storage.read_table(str(run / "verdicts"), schemas.VERDICTS)
    undecided = verdicts.filter(pc.equal(verdicts["status"], "undecided"))
    assert [Path(uri).name for uri in undecided["uri"].to_pylist()] == ["deadly.mp4"]


def test_killed_while_training_goes_on_from_the_last_checkpoint(
    copy_of_demo: Path, same_inputs: list[str]
) -> None:
    shutil.rmtree(copy_of_demo / "members" / "v1")
    shutil.rmtree(copy_of_demo / "train", ignore_errors=True)
    arguments = ["train", "--config", "jobs/demo.yaml", "--run", str(copy_of_demo), *same_inputs]
    arguments += ["--set", "recipes.lora.epochs=0.3", "--set", "train.validation_splits=[]"]
    arguments += ["--set", "recipes.lora.save_every_steps=10"]
    command = [sys.executable, "-m", "ah_ray.cli", *arguments]
    markers = copy_of_demo / "train"
    kill_when(
        command,
        lambda: any(markers.glob("v1/*/checkpoints/checkpoint-*/complete.json")),
        with_workers=False,
    )
    assert not (copy_of_demo / "members" / "v1").exists()
    deadline = time.monotonic() + 60
    while processes_of(copy_of_demo):
        assert time.monotonic() < deadline, "a part of swift outlives the job that started it"
        time.sleep(0.5)
    done = ah_ray(*arguments)
    assert "1 members to do, 2 were trained before" in done.stdout
    assert "v1: goes on from step " in done.stdout
    member = copy_of_demo / "members" / "v1"
    card = yaml.safe_load((member / "member.yaml").read_text())
    assert card["trained"]["rows"] == card["trained"]["clips"]
    assert card["trained"]["checkpoint"]["epoch"] == pytest.approx(0.3, abs=0.01)
    # The adapter is on the language model alone.
    config = json.loads((member / "adapter_config.json").read_text())
    assert all("model.layers" in name for name in config["target_modules"])
    assert not list(markers.glob("v1/*/checkpoints"))


def processes_of(run: Path) -> list[int]:
    """The processes of a training: they have their output folder among their arguments."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if any(part.startswith(f"{run}/train") for part in process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
