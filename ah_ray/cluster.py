"""The connection to Ray; made only when there is work for it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ah_ray.errors import ConfigError, terminate
from ah_ray.progress import console


def connect() -> None:
    """Join the cluster that ``RAY_ADDRESS`` names (a job has it), or start Ray on this machine.

    Raises:
        ConfigError: there is no cluster at that address.
    """
    if not ray.is_initialized():
        # Workers report through tables and StageProgress; their own logs stay in Ray's log folder,
        # and so does what Ray's C++ part says about each actor pool.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # Videos of patients: Ray reports nothing to its makers. (Ray 2.60 does not anyway where it
        # is started by `ray.init`; a cluster says so itself, before `ray start`.)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Without an address Ray would join whatever cluster was last started on this machine.
        address = os.environ.get("RAY_ADDRESS", "local")
        # The dashboard takes seconds to start: whoever wants it starts Ray with it. Besides, Ray
        # Train asks the dashboard of the machine's newest Ray whether its trainings are alive, and
        # ends those that this one does not know (PlacementGroupCleaner).
        dashboard = False if address == "local" else None
        try:
            ray.init(
                address,
                include_dashboard=dashboard,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, ValueError) as error:
            if address == "local":
                raise
            raise ConfigError(
                f"RAY_ADDRESS={address}",
                str(error).partition(" To fix this")[0].splitlines()[0],
                "unset it to start Ray here, set HEAD:6379 on a node of the cluster, or submit "
                "jobs/*.py with `ray job submit --address http://HEAD:8265`",
            ) from error
        # Who is told to end, by a batch system for instance, ends as on Ctrl-C; Ray would abort.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # StageProgress counts items, not blocks
    context.print_on_execution_start = False


@contextmanager
def turn(name: str) -> Iterator[None]:
    """Do what only one at a time may do in a cluster, and wait until nobody else does it.

    Args:
        name: what is done, for people.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    said = -_TURN_SAID_EVERY_S
    while True:
        try:  # Ray gives a name once, and again when its holder, or the holder's job, is gone.
            holder = _Holder.options(  # type: ignore[attr-defined]
                name=f"{name} now", namespace="ah_ray", scheduling_strategy=here
            ).remote()
            break
        except ValueError:
            if time.monotonic() - said >= _TURN_SAID_EVERY_S:
                console.print(f"  waits for its turn: another job of this cluster is {name}")
                said = time.monotonic()
            time.sleep(1)
    try:
        yield
    finally:
        if ray.is_initialized():
            ray.kill(holder)


_TURN_SAID_EVERY_S = 60.0


@ray.remote(num_cpus=0, max_restarts=-1)
class _Holder:
    """Somebody's turn, for as long as it lives."""
