"""One command at a time on a run directory, on a disk and in an object store."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.run_lock import LOCK_FILE, _process_space, holding
from tests.s3 import new_bucket, s3_server


@pytest.fixture(scope="module")
def bucket():
    with s3_server():
        yield new_bucket()


@pytest.fixture(params=["disk", "s3"])
def run(request, tmp_path):
    if request.param == "disk":
        return RunDirectory.at(str(tmp_path / "run"))
    return RunDirectory.at(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


def left_behind(run, **changes):
    """A lock of somebody who does not renew it."""
    holder = {"id": "x", "command": "ah-ray train", "machine": "node7", "process": 4, "since": "t"}
    storage.write_bytes(run.path(LOCK_FILE), json.dumps(holder | changes).encode())


def test_the_second_is_told_who_has_it(run):
    with (
        holding(run, "ah-ray score"),
        pytest.raises(ConfigError, match=rf"`ah-ray score` on .*process {os.getpid()}\)"),
        holding(run, "ah-ray prepare"),
    ):
        pytest.fail("both have it")
    assert not storage.exists(run.path(LOCK_FILE))
    with holding(run, "ah-ray prepare"):
        assert b"prepare" in storage.read_bytes(run.path(LOCK_FILE))


def test_it_is_given_back_by_who_fails(run):
    with pytest.raises(RuntimeError), holding(run, "ah-ray score"):
        raise RuntimeError
    assert not storage.exists(run.path(LOCK_FILE))


def test_of_many_at_once_one_gets_it(run):
    inside, most, refused = [], [], []

    def work() -> None:
        try:
            with holding(run, "ah-ray score"):
                inside.append(1)
                most.append(len(inside))
                deadline = time.monotonic() + 60
                while len(refused) < 7 and time.monotonic() < deadline:
                    time.sleep(0.05)
                inside.pop()
        except ConfigError as error:
            refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(refused)) == ([1], 7)


def test_of_many_who_find_a_dead_lock_one_gets_it(run):
    """The slower ones must not remove the lock of the fastest in place of the dead one."""
    for trial in range(3):
        left_behind(run, id=f"dead{trial}", space=_process_space(), started="never")
        test_of_many_at_once_one_gets_it(run)
        assert storage.list_files(run.uri) == []


@pytest.mark.parametrize("content", [b"", b"null", b"[1"])
def test_a_lock_that_cannot_be_read_is_nobodys(run, content):
    storage.write_bytes(run.path(LOCK_FILE), content)
    with holding(run, "ah-ray score", dead_s=1.0):
        assert b"score" in storage.read_bytes(run.path(LOCK_FILE))


def test_who_was_killed_here_leaves_no_lock_that_counts(run):
    code = (
        "import os, signal, sys\n"
        "from ah_ray.pipelines.run_directory import RunDirectory\n"
        "from ah_ray.pipelines.run_lock import holding\n"
        "with holding(RunDirectory.at(sys.argv[1]), 'ah-ray train'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, run.uri])
    assert killed.returncode == -signal.SIGKILL
    assert storage.exists(run.path(LOCK_FILE))
    start = time.monotonic()
    with holding(run, "ah-ray score", dead_s=3600):
        assert time.monotonic() - start < 60


def test_who_was_killed_elsewhere_is_waited_for_and_then_followed(run, capsys):
    left_behind(run)
    with holding(run, "ah-ray score", dead_s=2.0):
        assert b"score" in storage.read_bytes(run.path(LOCK_FILE))
    assert "node7" in capsys.readouterr().out


def test_who_is_at_work_elsewhere_is_named(run):
    left_behind(run)
    beat = threading.Timer(1.5, left_behind, (run,), {"beats": 1})
    beat.start()
    with (
        pytest.raises(ConfigError, match="`ah-ray train` on node7"),
        holding(run, "ah-ray score", dead_s=600),
    ):
        pytest.fail("two have it")
    beat.join()


def test_a_holder_renews_its_lock(run):
    with holding(run, "ah-ray score", beat_s=0.2):
        first = storage.read_bytes(run.path(LOCK_FILE))
        deadline = time.monotonic() + 60
        while storage.read_bytes(run.path(LOCK_FILE)) == first:
            assert time.monotonic() < deadline
            time.sleep(0.1)
