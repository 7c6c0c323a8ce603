"""What the connection to Ray says, and to whom."""

import os
import subprocess
import sys

SCRIPT = """
from ah_ray.cluster import connect
import ray
from ray._common.usage.usage_lib import usage_stats_enabled
from ray._private.worker import print_to_stdstream

connect()
print("reports to Ray's makers:", usage_stats_enabled())
for line in (
    "WARNING: 8 PYTHON worker processes have been started on node: 1 with address: 2, which is 4x",
    "a node has died",
):  # as a raylet publishes them to drivers
    print_to_stdstream({"lines": [line], "pid": "raylet", "is_err": False}, ignore_prefix=False)
ray.shutdown()
"""


def said() -> str:
    kept = {name: value for name, value in os.environ.items() if name != "RAY_USAGE_STATS_ENABLED"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=kept, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_in_a_pipe_ray_says_what_matters_and_tells_its_makers_nothing() -> None:
    # Ray's C++ part says first how little it will say; connections are made before there is a bar.
    lines = [line for line in said().splitlines() if "RAY_BACKEND_LOG_LEVEL" not in line]
    assert lines[0] == "reports to Ray's makers: False"
    assert len(lines) == 2
    assert "a node has died" in lines[1]
    assert "worker processes" not in lines[1]
