"""What a stage shows of its progress, and what a monitor can read of it."""

import io
import re
import time
import urllib.request

import pytest
import ray
from rich.console import Console

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


def test_errors_end_with_their_reasons_and_the_table(capsys) -> None:
    kinds = ["decode_failed"] * 3 + ["engine_died"] * 2 + ["unparseable", "engine_failed"]
    with StageProgress("score m", 20, "clips", table="/run/predictions") as progress:
        progress.advance(18, errors=6, kinds=kinds[:6])
        progress.advance(2, errors=1, kinds=kinds[6:])
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"  20 clips in [\d.]+ s \([\d.]+/s\), 7 with errors: ", line)
    assert "3 decode_failed, 2 engine_died, 1 unparseable, …; see /run/predictions" in line


def test_the_bar_has_a_rate(monkeypatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(
        "ah_ray.progress.console", Console(file=out, force_terminal=True, width=100)
    )
    with StageProgress("score m", 10, "clips") as progress:
        time.sleep(0.05)
        progress.advance(5)
        time.sleep(0.2)
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out.getvalue())
    shown = re.findall(r"5/10 +clips +([\d.]+)/s", plain)
    assert shown
    assert 0 < float(shown[-1]) <= 100
