"""Planned batches reach Ray Data one by one, in their order, and not all at once."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from ah_ray.cluster import connect
from ah_ray.pipelines import feed as feeding
from ah_ray.pipelines.feed import feed

PLAN = pa.table({"number": range(100)})


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    connect()
    yield
    ray.shutdown()


@pytest.fixture
def begun(local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each slice of ten that was begun to be taken apart."""
    monkeypatch.setattr(feeding, "SLICE", 10)
    monkeypatch.setattr(feeding, "AHEAD", 5)
    file = tmp_path / "begun"
    monkeypatch.setattr(feeding, "one_by_one", noting(file))
    return file


def slowly(batch: pa.Table) -> pa.Table:
    time.sleep(batch["seconds"][0].as_py())
    return batch


def noting(file: Path, deadly: int | None = None) -> Callable[[pa.Table], Iterator[pa.Table]]:
    """``one_by_one`` that notes its slices; the first time it dies at a batch."""

    def one_by_one(plan: pa.Table) -> Iterator[pa.Table]:
        first = str(plan["number"][0])
        with file.open("a") as lines:
            lines.write(f"{first}\n")
        for row, number in enumerate(plan["number"].to_pylist()):
            if number == deadly and file.read_text().split().count(first) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield plan.slice(row, 1)

    return one_by_one


def numbers(parts: ray.data.Dataset) -> Iterator[list[int]]:
    """What is in each block."""
    return (part["number"].tolist() for part in parts.iter_batches(batch_size=None))


def test_every_block_is_a_batch_in_the_order_of_the_plan(begun: Path) -> None:
    assert list(numbers(feed(PLAN))) == [[number] for number in range(100)]
    assert begun.read_text().split() == [str(first) for first in range(0, 100, 10)]


def test_what_is_not_needed_yet_is_not_made(begun: Path) -> None:
    plan = PLAN.append_column("seconds", pa.array([0.05] * len(PLAN)))
    parts = feed(plan).map_batches(slowly, batch_size=1, batch_format="pyarrow", num_cpus=1)
    ahead = []
    for done, _ in enumerate(numbers(parts), 1):
        ahead.append(10 * len(begun.read_text().split()) - done)
    assert done == 100
    # Two slices of ten and what is under way; where nothing holds them back, 80 and more.
    assert max(ahead) < 40


def test_a_slice_whose_process_was_killed_is_taken_apart_again(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "one_by_one", noting(begun, deadly=15))
    assert list(numbers(feed(PLAN))) == [[number] for number in range(100)]
    assert begun.read_text().split().count("10") == 2


def test_a_slice_is_there_at_once(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"

    def one_by_one(plan: pa.Table) -> Iterator[pa.Table]:
        for row in range(len(plan)):
            with made.open("a") as lines:
                lines.write(".")
            yield plan.slice(row, 1)

    monkeypatch.setattr(feeding, "one_by_one", one_by_one)
    plan = pa.table({"number": range(900), "seconds": [4.0] * 900})
    parts = feed(plan).map_batches(slowly, batch_size=1, batch_format="pyarrow", num_cpus=1)
    next(numbers(parts))
    # By then; taking one block at each of Ray Data's ten looks a second it would be 40.
    assert made.stat().st_size > 200
