"""The archive follows from its spec, has BAH's format, and neither cue alone tells the label."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import av
import pytest
import yaml

from ah_ray.toy.archive import (
    ANNOTATION_FILE,
    METADATA_FILE,
    SPLIT_FOLDER,
    ArchiveSpec,
    VideoPlan,
    plan_archive,
    write_archive,
)

SMALL = ArchiveSpec(
    train_participants=2,
    val_participants=1,
    test_participants=1,
    questions=2,
    min_seconds=8,
    max_seconds=10,
)


class TupleLoader(yaml.CSafeLoader):
    """A safe loader that also knows the one tag that the annotations use."""


TupleLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple",
    lambda loader, node: tuple(loader.construct_sequence(node)),
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy") / "archive"
    seen: list[tuple[int, int]] = []
    write_archive(root, SMALL, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 8) for done in range(1, 9)]
    assert SMALL.videos == 8
    return root


@pytest.fixture(scope="module")
def annotations(archive: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((archive / ANNOTATION_FILE).read_text(), TupleLoader)
    return loaded


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_equal_specs_give_equal_archives(archive: Path, tmp_path: Path) -> None:
    write_archive(tmp_path / "again", SMALL, workers=1)
    assert digests(tmp_path / "again") == digests(archive)
    assert plan_archive(SMALL) != plan_archive(ArchiveSpec(**{**vars(SMALL), "seed": 1}))


def test_an_existing_root_is_left_alone(tmp_path: Path) -> None:
    write_archive(tmp_path, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_archive(tmp_path / "archive", SMALL, workers=2, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_annotations_have_the_published_fields(archive: Path, annotations: dict[str, Any]) -> None:
    text = (archive / ANNOTATION_FILE).read_text()
    assert "!!python/tuple" in text
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.load(text, yaml.CSafeLoader)
    for key, entry in annotations.items():
        assert set(entry) == {
            "global_ah",
            "time_detailed_ah",
            "fr_detailed_ah",
            "frame_annotation",
            "all_cues",
            "certainty_ah",
            "annotator_id",
            "transcript",
        }
        assert bool(entry["time_detailed_ah"]) == bool(entry["global_ah"])
        assert all(isinstance(clock, str) for pair in entry["time_detailed_ah"] for clock in pair)
        assert all(isinstance(c["timestamp"], tuple) for c in entry["transcript"]["chunks"])
        with av.open(str(archive / key)) as container:
            frames = sum(1 for _ in container.decode(video=0))
            assert container.streams.audio[0].codec_context.name == "aac"
        assert len(entry["frame_annotation"]) == frames
        flagged = sum(flag for _, flag in entry["frame_annotation"])
        assert (flagged > 0) == bool(entry["global_ah"])


def test_split_files_join_to_the_annotations(archive: Path, annotations: dict[str, Any]) -> None:
    participants = []
    labels = {}
    for split in ("train", "val", "test"):
        lines = (archive / SPLIT_FOLDER / f"{split}.txt").read_text().splitlines()
        parts = [line.split(",", 2) for line in lines]
        assert all(" " in path and "," in transcript for path, _, transcript in parts)
        labels |= {path.replace(" ", "_"): int(label) for path, label, _ in parts}
        participants.append({path.split("/")[1] for path, _, _ in parts})
    assert labels == {key: entry["global_ah"] for key, entry in annotations.items()}
    assert sum(map(len, participants)) == len(set().union(*participants)) == 4
    assert yaml.safe_load((archive / SPLIT_FOLDER / "class_id.yaml").read_text()) == {
        "With A-H": 1,
        "No A-H": 0,
    }
    people = yaml.safe_load((archive / METADATA_FILE).read_text())
    assert {str(person) for person in people} == set().union(*participants)
    assert {person["Use in challenges"] for person in people.values()} <= {"Yes", "No"}


@pytest.fixture(scope="module")
def plans() -> list[VideoPlan]:
    return plan_archive(ArchiveSpec(train_participants=600, val_participants=0))


def test_intervals_hold_a_whole_clip_and_do_not_touch(plans: list[VideoPlan]) -> None:
    for plan in plans:
        assert 1 <= len(plan.turns) <= 3
        assert plan.intervals == (plan.turns if plan.positive else ())
        edge = 0.0
        for turn in plan.turns:
            assert turn.start_s >= edge + 0.999
            assert 4.999 <= turn.end_s - turn.start_s <= 8.001
            assert (turn.face != turn.tone) == plan.positive
            edge = turn.end_s
        assert edge <= plan.duration_s
    counts = Counter(len(plan.turns) for plan in plans if plan.positive)
    assert min(counts.values()) > 100


def test_nothing_but_the_conflict_tells_the_label(plans: list[VideoPlan]) -> None:
    """A cue is glad in half of the videos and flips in half of the turns, whatever the label."""
    rates = []
    for positive in (True, False):
        chosen = [plan for plan in plans if plan.positive == positive]
        rates.append(sum(plan.glad for plan in chosen) / len(chosen))
        seconds_ = [plan.duration_s for plan in chosen]
        assert 17 < sum(seconds_) / len(seconds_) < 20
        assert 1.8 < sum(len(plan.turns) for plan in chosen) / len(chosen) < 2.2
        for glad in (True, False):
            turns = [turn for plan in chosen if plan.glad == glad for turn in plan.turns]
            rates.append(sum(turn.face for turn in turns) / len(turns))
            rates.append(sum(turn.tone for turn in turns) / len(turns))
        codecs = Counter(plan.form.codec for plan in chosen)
        assert abs(codecs["h264"] / len(chosen) - 0.5) < 0.05
    assert rates == pytest.approx([0.5] * 10, abs=0.05)
    for split in ("train", "test"):
        labels = [plan.positive for plan in plans if plan.split == split]
        assert sum(labels) * 2 == len(labels)


def test_impossible_specs_are_refused() -> None:
    with pytest.raises(ValueError, match="questions"):
        ArchiveSpec(questions=8)
    with pytest.raises(ValueError, match="seconds"):
        ArchiveSpec(min_seconds=5)
