import json
from pathlib import Path

import fsspec
import pytest

from ah_ray import storage
from ah_ray.tasks import Prompt, swift_row
from ah_ray.training.launch import localize_rows

PROMPT = Prompt(system="größer", user="?")


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
    localize_rows("memory:///launch/rows.jsonl", tmp_path / "rows.jsonl")
    local = read(tmp_path / "rows.jsonl")
    assert [row["messages"] for row in local] == [row["messages"] for row in rows]
    for row, remote in zip(local, rows, strict=True):
        for key in ("videos", "audios"):
            (path,), (uri,) = row[key], remote[key]
            assert uri == "memory://" + Path(path).read_text()


def test_local_media_stay_where_they_are(tmp_path):
    for name in ("a.mp4", "a.wav"):
        (tmp_path / name).touch()
    row = swift_row(PROMPT, "r", str(tmp_path / "a.mp4"), str(tmp_path / "a.wav"))
    storage.write_bytes(str(tmp_path / "rows.jsonl"), as_lines([row]))
    localize_rows(str(tmp_path / "rows.jsonl"), tmp_path / "local.jsonl")
    assert read(tmp_path / "local.jsonl") == [row]


def test_a_missing_clip_stops_the_training(tmp_path):
    row = swift_row(PROMPT, "r", str(tmp_path / "none.mp4"), str(tmp_path / "none.wav"))
    storage.write_bytes(str(tmp_path / "rows.jsonl"), as_lines([row]))
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        localize_rows(str(tmp_path / "rows.jsonl"), tmp_path / "local.jsonl")


def test_a_line_separator_inside_a_text_does_not_end_its_row(tmp_path):
    for name in ("a.mp4", "a.wav"):
        (tmp_path / name).touch()
    prompt = Prompt(system="one\u2028two\u0085three", user="?")
    row = swift_row(prompt, "r", str(tmp_path / "a.mp4"), str(tmp_path / "a.wav"))
    storage.write_bytes(str(tmp_path / "rows.jsonl"), as_lines([row]))
    localize_rows(str(tmp_path / "rows.jsonl"), tmp_path / "local.jsonl")
    assert [json.loads(line) for line in (tmp_path / "local.jsonl").open()] == [row]
