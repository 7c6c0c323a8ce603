"""Runs one command and leaves none of its processes behind.

    python supervisor.py COMMAND...

``swift`` starts torchrun, torchrun starts ranks in sessions of their own, ranks start loaders:
killing a process or a process group reaches only some of them. This process adopts every orphan
below it, and when its command ends, or whoever holds the other end of its standard input is gone
(even by SIGKILL), it kills all that is left.

A worker of Ray that ends kills its children itself, without asking, but not theirs. So it has a
child that only waits, and the supervisor is below that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import threading

import psutil  # type: ignore[import-untyped]

_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.2


def main() -> None:
    """Run the command of the arguments; exit as it does."""
    if supervisor := os.fork():
        os._exit(_as_shells_tell(os.waitstatus_to_exitcode(os.waitpid(supervisor, 0)[1])))
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    gone = threading.Event()

    def listen() -> None:
        sys.stdin.buffer.read()
        gone.set()

    threading.Thread(target=listen, daemon=True).start()
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    while child.poll() is None and not gone.wait(_POLL_S):
        pass
    _kill_all()
    # Not sys.exit: the listening thread still reads.
    os._exit(_as_shells_tell(child.wait()))


def _as_shells_tell(code: int) -> int:
    """An exit code of Python's, where a signal's number is negative, in the range of exit codes."""
    return code if code >= 0 else 128 - code


def _kill_all() -> None:
    """Kill children until no more become ours."""
    while children := psutil.Process().children():
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        for child in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, 0)


if __name__ == "__main__":
    main()
