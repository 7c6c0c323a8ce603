import json
import multiprocessing
import os
import signal
import time

import psutil
import pytest

from ah_ray.training import process
from ah_ray.training.process import STEP, SwiftError, last_lines, run_swift

# The child process: a small program stands in for MS-Swift


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Runs ``program`` as `swift sft`; ``output`` is its output folder."""
    monkeypatch.setattr(process, "_wait", lambda process: time.sleep(0.02))
    package = tmp_path / "fake" / "swift" / "cli"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()

    def run(program: str, on_progress=lambda record: None, **extra: str):
        lines = ["import json, os, sys, time", "from pathlib import Path", f"STEP = {STEP!r}"]
        lines.append(program)
        (package / "main.py").write_text("\n".join(lines))
        output = tmp_path / "output"
        variables = {"PYTHONPATH": str(tmp_path / "fake"), **extra}
        output.mkdir(exist_ok=True)
        command = ["swift", "sft", "--output_dir", str(output)]
        run_swift(command, variables, output / "log", output / "logging.jsonl", on_progress)

    run.output = tmp_path / "output"
    return run


OUT = "out = Path(sys.argv[-1])\n"
# A process in a session of its own, as torchrun starts its ranks, with one below it.
LOADER = "import time; time.sleep(600)"
RANK = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', '{LOADER}'])"
TORCHRUN = OUT + (
    "import subprocess\n"
    f"subprocess.Popen([sys.executable, '-c', {RANK!r} + '; time.sleep(600)', str(out)],"
    " start_new_session=True)\n"
)


def processes_of(output) -> list[psutil.Process]:
    """Those whose command line names the folder, and all below them."""
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(output) in (process.info["cmdline"] or []) and process.pid != os.getpid()
    ]
    return [*found, *(below for process in found for below in process.children(recursive=True))]


def wait_for(condition, timeout_s=60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_record_with_a_step_is_reported_in_order(child):
    program = OUT + (
        "with open(out / 'logging.jsonl', 'w') as file:\n"
        "    for n in range(20):\n"
        "        file.write(json.dumps({STEP: f'{n}/20'} if n % 5 else {'model': n}) + '\\n')\n"
        "        file.flush(); time.sleep(0.01)\n"
    )
    records: list = []
    child(program, records.append)
    assert records == [{STEP: f"{n}/20"} for n in range(20) if n % 5]


def test_records_of_an_earlier_try_are_not_reported_again(child):
    program = OUT + (
        "with open(out / 'logging.jsonl', 'a') as file:\n"
        "    file.write(json.dumps({STEP: os.getpid()}) + '\\n')\n"
    )
    first: list = []
    second: list = []
    child(program, first.append)
    child(program, second.append)
    assert len(first) == len(second) == 1
    assert first != second


def test_a_record_that_is_half_written_waits_for_its_other_half(child):
    program = OUT + (
        "with open(out / 'logging.jsonl', 'w') as file:\n"
        "    file.write('{\"loss\": 1.5, '); file.flush(); time.sleep(0.5)\n"
        "    file.write('\"global_step/max_steps\": 1}\\n'); file.flush()\n"
    )
    records: list = []
    child(program, records.append)
    assert records == [{"loss": 1.5, STEP: 1}]


def test_megatron_is_a_program_of_its_own_that_calls_steps_otherwise(child, tmp_path):
    package = tmp_path / "fake" / "swift" / "cli" / "_megatron"
    package.mkdir()
    (package / "__init__.py").touch()
    output = tmp_path / "output"
    output.mkdir()
    (package / "main.py").write_text(
        "import json, sys\n"
        f"records = [{{'loss': 1.5, 'iteration': '3/9'}}, {{'args': sys.argv[1:]}}]\n"
        f"with open({str(output / 'logging.jsonl')!r}, 'a') as file:\n"
        "    file.writelines(json.dumps(one) + '\\n' for one in records)\n"
    )
    told: list = []
    run_swift(
        ["megatron", "sft"], {"PYTHONPATH": str(tmp_path / "fake")}, output / "log",
        output / "logging.jsonl", told.append,
    )  # fmt: skip
    assert told == [{"loss": 1.5, STEP: "3/9"}]
    assert '"args": ["sft"]' in (output / "logging.jsonl").read_text()


def test_a_failure_shows_the_last_lines(child):
    program = (
        "for n in range(70): print('line', n)\n"
        "print(' 10%|#   | 1/10 [00:01<00:09, 1.00it/s]', end='\\r')\n"
        "raise SystemExit('bad argument: --lr')\n"
    )
    with pytest.raises(SwiftError, match="exited with 1") as caught:
        child(program)
    text = str(caught.value)
    assert text.endswith("bad argument: --lr")
    assert "line 69" in text
    assert "line 5\n" not in text
    assert "it/s" not in text


def test_a_killed_child_is_a_failure(child):
    with pytest.raises(SwiftError, match="exited with 137"):
        child("print('working', flush=True); os.kill(os.getpid(), 9)")


def test_every_process_ends_when_the_watcher_fails(child):
    program = (
        TORCHRUN
        + "(out / 'logging.jsonl').write_text(json.dumps({STEP: 1}) + '\\n'); time.sleep(600)"
    )
    alive: list = []

    def fail(record):
        wait_for(lambda: len(processes_of(child.output)) >= 5)
        alive.extend(processes_of(child.output))
        raise KeyError("the driver is gone")

    with pytest.raises(KeyError):
        child(program, fail)
    assert len(alive) >= 5  # who waits, supervisor, swift, rank, loader
    assert not any(process.is_running() for process in alive)


def test_nothing_that_swift_started_outlives_it(child):
    program = TORCHRUN + "time.sleep(0.5); sys.exit(3)"
    with pytest.raises(SwiftError, match="exited with 3"):
        child(program)
    assert not processes_of(child.output)


@pytest.mark.parametrize("with_its_children", [False, True], ids=["alone", "as Ray ends it"])
def test_every_process_ends_when_the_worker_is_killed(child, with_its_children):
    worker = multiprocessing.get_context("fork").Process(
        target=child, args=(TORCHRUN + "time.sleep(600)",)
    )
    worker.start()
    wait_for(lambda: len(processes_of(child.output)) >= 5)
    alive = processes_of(child.output)
    if with_its_children:
        for process in psutil.Process(worker.pid).children():
            process.kill()
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    wait_for(lambda: not any(process.is_running() for process in alive))


def test_the_child_does_not_inherit_rays_ranks(child, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("KEPT", "yes")
    program = OUT + "(out / 'env').write_text(json.dumps(dict(os.environ)))"
    child(program, MASTER_PORT="2")
    seen = json.loads((child.output / "env").read_text())
    assert "LOCAL_RANK" not in seen
    assert (seen["MASTER_PORT"], seen["KEPT"]) == ("2", "yes")


def test_the_end_of_a_log(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"a\nb\n  5%| 1/2 [00:01, 2.0it/s]\r 10%| 2/2 [00:02, 2.0it/s]\nc \xff\n")
    assert last_lines(log, 2).startswith("b\nc ")
