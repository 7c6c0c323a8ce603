"""Work that takes its process down: the rule, and the real processes of a real Ray."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.cluster import connect
from ah_ray.errors import ConfigError, ItemError, StageError
from ah_ray.pipelines.attempts import Attempts, quarantine
from ah_ray.storage_errors import StorageError

KEYS = "abcdef"


def test_a_batch_goes_together_then_one_by_one_and_what_is_deadly_is_given_up():
    assert quarantine({}, 3, together=1) == []
    assert quarantine({"a": 0, "b": 0}, 3, together=1) == [(["a", "b"], 0)]
    assert quarantine({"a": 1, "b": 1}, 3, together=2) == [(["a", "b"], 0)]
    assert quarantine({"a": 2, "b": 3, "c": 0}, 3, together=1) == [
        (["a"], 0), (["b"], 3), (["c"], 0),
    ]  # fmt: skip
    assert quarantine({"a": 0, "b": 0}, 3) == [(["a"], 0), (["b"], 0)]


@given(st.sets(st.sampled_from(KEYS)), st.integers(1, 4), st.data())
def test_what_is_deadly_is_given_up_and_nothing_else_is(deadly, most, data):
    together = data.draw(st.integers(0, most - 1))
    tries, deaths = dict.fromkeys(KEYS, 0), 0

    def outcome() -> tuple[set[str], set[str]] | None:
        """What was done and what was given up; None where the process died."""
        done, given_up = set(), set()
        for keys, died in quarantine(tries, most, together):
            if died:
                given_up.update(keys)
                continue
            for key in keys:
                tries[key] += 1
            if deadly.intersection(keys):
                return None
            done.update(keys)
            for key in keys:
                tries[key] = 0
        return done, given_up

    while (became := outcome()) is None:
        deaths += 1
        assert deaths <= most * len(KEYS)
    assert became == (set(KEYS) - deadly, deadly)
    # All but those together were its own.
    assert deaths == (together + len(deadly) * (most - together) if deadly else 0)


@pytest.fixture(scope="module")
def attempts() -> Iterator[Attempts]:
    """One counter for all tests, each with keys of its own."""
    connect()
    yield Attempts()
    ray.shutdown()


def die(how: str) -> None:
    match how:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "quits":
            sys.exit("out of memory")
        case "hangs":
            time.sleep(1_000_000)
        case "fails":
            raise ValueError("too short")


@ray.remote(num_cpus=0.1, max_retries=3)
def tried(attempts: Attempts, key: str, how: str) -> int:
    """Try ``key`` until it was tried once before; how often it was then."""
    before = attempts.unfinished([key])[key]
    if not before:
        with attempts.trying([key], timeout_s=1):
            die(how)
    return before


@pytest.mark.parametrize("how", ["killed", "quits", "hangs"])
def test_a_try_that_ends_its_process_has_not_come_back(attempts: Attempts, how: str) -> None:
    assert ray.get(tried.remote(attempts, how, how)) == 1
    assert attempts.unfinished([how, "another"]) == {how: 1, "another": 0}


def test_a_try_that_only_fails_has_come_back(attempts: Attempts) -> None:
    with pytest.raises(ValueError, match="too short"):
        ray.get(tried.remote(attempts, "fails", "fails"))
    assert attempts.unfinished(["fails"]) == {"fails": 0}


@ray.remote(num_cpus=0.1, max_retries=0)
def tried_in_time(attempts: Attempts, keys: list[str]) -> list[dict[str, int]]:
    """What is unfinished during a try, and when its time is over."""
    with attempts.trying(keys, timeout_s=0.2):
        during = attempts.unfinished(keys)
    time.sleep(0.4)
    return [during, attempts.unfinished(keys)]


def test_a_try_that_came_back_is_over_and_so_is_its_time(attempts: Attempts) -> None:
    during, after = ray.get(tried_in_time.remote(attempts, ["in time", "beside"]))
    assert during == {"in time": 1, "beside": 1}
    assert after == {"in time": 0, "beside": 0}


def test_what_began_is_known_by_its_first_word(attempts: Attempts) -> None:
    with attempts.trying(["load actor 1"], timeout_s=60):
        pass
    assert attempts.began()
    assert attempts.began("load")
    assert not attempts.began("decode")
    assert not attempts.began("actor")


@pytest.mark.parametrize(
    ("error", "heard"),
    [
        (ConfigError("score.engine_args", "cannot be had", "ask for less"), ConfigError),
        (StorageError("s3://bucket/run", "is gone"), StorageError),
        (StageError("died 2 times"), StageError),
        (ItemError("missing", "not a row this time"), StageError),
        (ZeroDivisionError("division by zero"), StageError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_driver_hears_what_ended_the_stage(
    attempts: Attempts, error: Any, heard: type[Exception]
) -> None:
    mine = Attempts()

    @ray.remote(num_cpus=0.1)
    def work() -> None:
        with mine.telling():
            raise error

    with pytest.raises(heard) as caught, mine.listening():
        ray.get(work.remote())
    assert str(error) in str(caught.value)
    assert type(error) is heard or type(error).__name__ in str(caught.value)
    assert caught.value.__suppress_context__, "Ray's account of it is not shown"


def test_an_error_that_no_worker_told_is_rays_own(attempts: Attempts) -> None:
    @ray.remote(num_cpus=0.1)
    def work() -> None:
        raise ValueError("nobody knows")

    with pytest.raises(ray.exceptions.RayTaskError, match="nobody knows"), Attempts().listening():
        ray.get(work.remote())
