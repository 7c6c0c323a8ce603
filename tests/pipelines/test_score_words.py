"""Sets of words, and members that read a member, where engines and drivers are killed."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from ah_ray.cluster import connect
from ah_ray.members import Member
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.score import score
from tests.e2e.helpers import kill_when
from tests.pipelines.scoring import predictions, settings, without, write_manifest

MINE = ("attempts", "made_from")  # by another engine


def new_run(folder: Path, videos: list[Path]) -> RunDirectory:
    run = RunDirectory.at(str(folder))
    write_manifest(run, videos, [])
    return run


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    connect()
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(
    local_ray: None, words: list[Member], videos: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[dict[str, Any]]:  # fmt: skip
    run = new_run(tmp_path_factory.mktemp("undisturbed"), videos)
    score(run, words, settings())
    rows = predictions(run)
    assert len(rows) == 3 * 3 * len(videos)
    assert {row["status"] for row in rows} == {"ok"}
    by_key = {(row["member"], row["clip_id"]): row for row in rows}
    for (name, clip), row in by_key.items():
        if name == "reading":
            read = by_key["describer", clip]["text"]
            assert row["labels"] == ["light 0", read], "its own word, and the one it read"
    return rows


def test_engines_that_are_killed_in_every_pass_come_back_with_their_batch(
    words: list[Member],
    videos: list[Path],
    undisturbed: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path / "run", videos)
    begun, over = tmp_path / "begun", threading.Event()
    killed: list[int] = []

    def lines() -> int:
        return len(begun.read_text().splitlines()) if begun.exists() else 0

    def passes() -> int:
        return len({row["member"] for row in predictions(run)})  # that have written something

    def wait_until(ready: Callable[[], Any]) -> None:
        while not ready() and not over.is_set():
            time.sleep(0.02)

    def kill_each_once() -> None:
        for number in range(len(words)):
            before = lines()
            wait_until(lambda: lines() > before and scorer_processes())  # noqa: B023
            for pid in scorer_processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).kill()
                    killed.append(pid)
            wait_until(lambda: passes() > number)  # noqa: B023

    killer = threading.Thread(target=kill_each_once, daemon=True)
    killer.start()
    score(run, words, settings("SlowEngine", max_attempts=3, engine_args={"begun": str(begun)}))
    over.set()
    killer.join(timeout=10)
    assert len(killed) >= len(words)
    assert without(predictions(run), *MINE) == without(undisturbed, *MINE)


def scorer_processes() -> list[int]:
    """Those in which an engine answers."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ray::MapWorker(MapBatches(Scorer)" in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


JOB = """
import sys
from ah_ray.members import read_member
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.score import score
from tests.pipelines.scoring import settings

run, begun, *members = sys.argv[1:]
score(
    RunDirectory.at(run),
    [read_member(uri) for uri in members],
    settings("SlowEngine", engine_args={"begun": begun}),
)
"""


def test_a_driver_that_is_killed_in_each_pass_of_a_chain_goes_on(
    words: list[Member], videos: list[Path], undisturbed: list[dict[str, Any]], tmp_path: Path
) -> None:
    run = new_run(tmp_path / "run", videos)
    begun = tmp_path / "begun"
    job = [sys.executable, "-c", JOB, run.uri, str(begun), *(member.uri for member in words)]
    for name in ("describer", "reading"):
        parts = Path(run.predictions_path(name))
        kill_when(job, lambda: any(parts.glob("part-*")), how=signal.SIGKILL)  # noqa: B023
    kept = {path: path.read_bytes() for path in Path(run.path("predictions")).rglob("part-*")}
    score(run, words, settings("SlowEngine", engine_args={"begun": str(begun)}))
    assert without(predictions(run), *MINE) == without(undisturbed, *MINE)
    assert all(path.read_bytes() == content for path, content in kept.items())
    again = len(begun.read_text().splitlines()) - len(undisturbed)
    assert again <= 2 * 2 * 4, "more than the batches under way"
