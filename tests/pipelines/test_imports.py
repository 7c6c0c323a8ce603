"""To read tables takes neither ffmpeg nor Ray nor torch."""

import subprocess
import sys

import pytest

HEAVY = ("av", "ray", "torch")


@pytest.mark.parametrize("stage", ["evaluate", "ledger", "reduce", "results", "seen", "status"])
def test_a_stage_that_only_reads_tables_loads_nothing_heavy(stage):
    script = (
        f"import sys, ah_ray.pipelines.{stage}\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "[]"
