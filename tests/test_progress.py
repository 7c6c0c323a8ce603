"""What a stage shows of its progress, and what a monitor can read of it."""

import re
import time
import urllib.request

import pytest
import ray

from ah_ray.cluster import connect
from ah_ray.progress import StageProgress


@pytest.fixture
def metrics_address():
    connect()
    return f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"


def test_progress_is_served_to_prometheus_and_quiet_elsewhere(metrics_address, capsys) -> None:
    with StageProgress("score m", 10, "clips") as progress:
        progress.advance(3, errors=1)
        progress.advance(1)
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline, "Ray does not show the metrics"
            text = urllib.request.urlopen(metrics_address).read().decode()
            found = dict(
                re.findall(r'ray_ah_ray_clips_(\w+)\{[^}]*stage="score m"[^}]*\} (\S+)', text)
            )
            if found.get("done") == "4.0":
                break
            time.sleep(0.5)
    assert (found["total"], found["errors"]) == ("10.0", "1.0")
    assert float(found["left_s"]) >= 0
    # One line when it begins, one when it ends: a log is no terminal.
    assert capsys.readouterr().out.splitlines()[0] == "score m: 10 clips to do"
