import json
from pathlib import Path

import fsspec
import pytest
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from ah_ray import storage
from ah_ray.media.config import MediaConfig
from ah_ray.media.fragment import with_image, with_times
from ah_ray.media.segment import Span
from ah_ray.models.config import ModelConfig
from ah_ray.tasks import Prompt, swift_row
from ah_ray.training.checkpoints import Checkpoint, mark_complete
from ah_ray.training.config import TrainConfig
from ah_ray.training.launch import (
    failure_message,
    localize_rows,
    node_paths,
    node_scratch,
    progress_lines,
    watched,
)
from ah_ray.training.process import STEP, SwiftError
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.swift import SwiftJob

PROMPT = Prompt(system="größer", user="?")


def unread():
    raise AssertionError("nobody needs a tokenizer")


def as_lines(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def read(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_remote_media_become_local_and_rows_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setenv("AH_RAY_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    rows = []
    for n in range(40):
        names = [f"/launch/{n}.mp4", f"/launch/{n}.wav"]
        for name in names:
            memory.pipe(name, name.encode())
        rows.append(swift_row(PROMPT, f"reply {n}", *(f"memory://{name}" for name in names)))
    rows += rows[:5]  # a clip may come twice
    storage.write_bytes("memory:///launch/rows.jsonl", as_lines(rows))
    localize_rows("memory:///launch/rows.jsonl", tmp_path / "rows.jsonl", "/run", unread)
    local = read(tmp_path / "rows.jsonl")
    assert [row["messages"] for row in local] == [row["messages"] for row in rows]
    for row, remote in zip(local, rows, strict=True):
        for key in ("videos", "audios"):
            (path,), (uri,) = row[key], remote[key]
            assert uri == "memory://" + Path(path).read_text()


def test_media_of_the_run_are_found_wherever_it_lies(tmp_path):
    for number, name in enumerate(("before", "moved")):
        run = tmp_path / name
        (run / "media").mkdir(parents=True)
        for file in ("a.mp4", "a.wav"):
            (run / "media" / file).touch()
        rows = [
            swift_row(PROMPT, "r", "{run}/media/a.mp4", "{run}/media/a.wav"),
            swift_row(PROMPT, "r", *[with_times("{run}/media/a.mp4", Span(1, 2))] * 2),
            swift_row(PROMPT, "r", None, None, [with_image("{run}/media/a.mp4", 1, "c")]),
        ]
        storage.write_bytes(str(run / "rows.jsonl"), as_lines(rows))
        target = tmp_path / f"{number}.jsonl"
        localize_rows(str(run / "rows.jsonl"), target, str(run), unread)
        files, virtual, image = read(target)
        assert (files["videos"], files["audios"]) == (
            [f"{run}/media/a.mp4"], [f"{run}/media/a.wav"],
        )  # fmt: skip
        assert virtual["videos"] == [with_times(f"{run}/media/a.mp4", Span(1, 2))]
        assert image["images"] == [with_image(f"{run}/media/a.mp4", 1, "c")]


def test_what_is_said_is_put_in_with_the_tokenizer_of_the_model(tmp_path):
    class Tokenizer:
        def get_added_vocab(self):
            return {"[eos]": 1}

    spoken = Prompt(system="s", user="They say: {subtitle}!")
    row = swift_row(spoken, "r", None, None) | {"subtitle": "so[eos]"}
    storage.write_bytes(str(tmp_path / "rows.jsonl"), as_lines([row] * 2))
    localize_rows(str(tmp_path / "rows.jsonl"), tmp_path / "local.jsonl", "/run", Tokenizer)
    for local in read(tmp_path / "local.jsonl"):
        assert local["messages"][1]["content"] == "They say: so!"


def test_local_media_stay_where_they_are(tmp_path):
    for name in ("a.mp4", "a.wav"):
        (tmp_path / name).touch()
    row = swift_row(PROMPT, "r", str(tmp_path / "a.mp4"), str(tmp_path / "a.wav"))
    storage.write_bytes(str(tmp_path / "rows.jsonl"), as_lines([row]))
    localize_rows(str(tmp_path / "rows.jsonl"), tmp_path / "local.jsonl", "/run", unread)
    assert read(tmp_path / "local.jsonl") == [row]


def test_a_missing_clip_stops_the_training(tmp_path):
    row = swift_row(PROMPT, "r", str(tmp_path / "none.mp4"), str(tmp_path / "none.wav"))
    storage.write_bytes(str(tmp_path / "rows.jsonl"), as_lines([row]))
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        localize_rows(str(tmp_path / "rows.jsonl"), tmp_path / "local.jsonl", "/run", unread)


def test_a_line_separator_inside_a_text_does_not_end_its_row(tmp_path):
    for name in ("a.mp4", "a.wav"):
        (tmp_path / name).touch()
    prompt = Prompt(system="one\u2028two\u0085three", user="?")
    row = swift_row(prompt, "r", str(tmp_path / "a.mp4"), str(tmp_path / "a.wav"))
    storage.write_bytes(str(tmp_path / "rows.jsonl"), as_lines([row]))
    localize_rows(str(tmp_path / "rows.jsonl"), tmp_path / "local.jsonl", "/run", unread)
    assert [json.loads(line) for line in (tmp_path / "local.jsonl").open()] == [row]


# What people read


def job(store: str) -> SwiftJob:
    recipe = RecipeConfig(full={}, learning_rate=1)
    return SwiftJob("v1", ModelConfig(path="base"), recipe, MediaConfig(), "rows", store)


def test_a_failure_is_told_in_the_childs_words(tmp_path):
    training = job(str(tmp_path))
    mark_complete(Checkpoint(f"{training.checkpoints}/checkpoint-40", 40, 1.0, None, None))
    stack = "Traceback (most recent call last): ray/train/thread_runner.py"
    cause = UserExceptionWithTraceback(SwiftError("swift exited with 1:\nno such clip"), stack)
    # Both nodes say the same; a node that is gone has no words of its own.
    error = WorkerGroupError(stack, {0: cause, 1: cause, 2: RuntimeError("the node is gone")})
    assert failure_message(training, TrainConfig(max_failures=2), error) == (
        "training of v1 failed 3 times; newest complete checkpoint: step 40; the same command "
        "goes on from there\nswift exited with 1:\nno such clip\nthe node is gone\n"
        f"all that it wrote: {tmp_path}/logs"
    )


def test_progress_says_what_is_known():
    assert progress_lines({"notes": ["goes on from step 5"]}) == ["goes on from step 5"]
    record = {STEP: "6/9", "loss": 0.25, "learning_rate": 1e-3, "remaining_time": "3s"}
    (line,) = progress_lines({"notes": [], "training": record})
    assert line == "step 6/9, loss 0.2500, lr 1.00e-03, 3s left"
    first, second = progress_lines(
        {
            "notes": [],
            "training": record | {"tokens_per_s": 1234.5},
            "validation": {STEP: "5/9", "eval_loss": 0.5},
        }
    )
    assert "1234 tokens/s" in first
    assert second == "validation loss 0.5000 at step 5/9"
    (line,) = progress_lines({"notes": [], "training": record | {"reward": 0.75}})  # grpo
    assert "loss 0.2500, reward 0.750, lr" in line


def test_what_a_training_wrote_last_is_told_however_short_it_is(tmp_path, capsys):
    training = job(str(tmp_path))
    with watched(training, nodes=1, resources={"CPU": 1}):
        record = {STEP: "9/9", "loss": 0.5, "learning_rate": 0.0, "remaining_time": "0s"}
        progress = {"notes": ["goes on from step 8"], "training": record}
        storage.write_bytes(training.progress, json.dumps(progress).encode())
    assert capsys.readouterr().out == (
        "  v1: goes on from step 8\n  v1: step 9/9, loss 0.5000, lr 0.00e+00, 0s left\n"
    )


# Where a node has its files


def test_a_run_on_a_disk_has_its_checkpoints_in_place(tmp_path):
    training = job(str(tmp_path / "store"))
    newest = Checkpoint(f"{training.checkpoints}/checkpoint-5", 5, 1.0, None, None)
    paths = node_paths(training, Path("/scratch"), "/model", newest)
    assert paths.output == training.checkpoints
    assert paths.resume == newest.uri
    assert paths.rows == "/scratch/rows.jsonl"


def test_a_run_in_an_object_store_has_them_on_the_nodes():
    training = job("s3://bucket/run")
    newest = Checkpoint(f"{training.checkpoints}/checkpoint-5", 5, 1.0, None, None)
    paths = node_paths(training, Path("/scratch"), "/model", newest)
    assert paths.output == "/scratch/output"
    assert paths.resume == "/scratch/checkpoint-5"
    assert node_paths(training, Path("/scratch"), "/model", None).resume is None


def test_nodes_of_one_machine_do_not_share_their_folders():
    settings = TrainConfig(scratch="/disk")
    folders = {
        node_scratch(job(store), settings, rank)
        for store in ("s3://a/1", "s3://a/2")
        for rank in (0, 1)
    }
    assert len(folders) == 4
    assert {folder.parent for folder in folders} == {Path("/disk")}
