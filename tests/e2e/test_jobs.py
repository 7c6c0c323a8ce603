"""The same commands as jobs on a Ray cluster that was started beforehand."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.helpers import ROOT, result_rows


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A head node with token authentication, as the README starts it."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        # Of its own, or other runs on this machine would take it for theirs; short for sockets.
        self.temporary = tempfile.mkdtemp(prefix="ray", dir="/tmp")
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_TMPDIR": self.temporary,
        }
        self.run("ray", "get-auth-token", "--generate")
        command = ["ray", "start", "--head", "--block", f"--port={free_port()}", "--num-cpus=2"]
        # Who takes the jobs has a port too, the same one in every Ray of a machine.
        command.append(f"--dashboard-agent-listen-port={free_port()}")
        self.head = subprocess.Popen(
            [*command, f"--dashboard-port={self.port}"],
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout[-5000:]
        return done

    def submit(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        address = f"http://127.0.0.1:{self.port}"
        submit = ["ray", "job", "submit", "--address", address, "--working-dir", "."]
        return self.run(*submit, "--", *command, check=check)

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 120
        while (done := self.submit("true", check=False)).returncode:
            assert time.monotonic() < deadline, f"the cluster takes no job: {done.stdout}"
            time.sleep(1)

    def stop(self) -> None:
        # Not `ray stop`, which stops every cluster of the machine.
        for process in [*psutil.Process(self.head.pid).children(recursive=True), self.head]:
            process.kill()
        self.head.wait(timeout=60)
        shutil.rmtree(self.temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("home"))
    try:
        cluster.wait_until_up()
        yield cluster
    finally:
        cluster.stop()


def test_demo_as_a_job_scores_again_what_is_missing(cluster: Cluster, copy_of_demo: Path) -> None:
    undisturbed = result_rows(copy_of_demo)
    shutil.rmtree(copy_of_demo / "predictions" / "member=v1")
    shutil.rmtree(copy_of_demo / "verdicts")
    done = cluster.submit("python", "jobs/demo.py", "--run", str(copy_of_demo))
    assert "ensemble" in done.stdout
    assert result_rows(copy_of_demo) == undisturbed


def test_stages_as_jobs(cluster: Cluster, copy_of_demo: Path) -> None:
    (copy_of_demo / "metrics.json").unlink()
    chain = " && ".join(
        f"python jobs/{stage}.py --config jobs/demo.yaml --run {copy_of_demo}"
        for stage in ("catalog", "prepare", "train", "score", "reduce", "evaluate", "run")
    )
    cluster.submit("bash", "-c", chain)
    assert (copy_of_demo / "metrics.json").exists()


def test_a_wrong_setting_fails_the_job_with_its_message(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.submit(
        "python", "jobs/run.py", "--config", "jobs/none.yaml", "--run", str(tmp_path), check=False
    )
    assert done.returncode != 0
    assert "jobs/none.yaml: there is no such file" in done.stdout
