"""The connection to Ray; made only when there is work for it."""

from __future__ import annotations

import logging
import os
import signal
import threading

import ray
import ray.data

from ah_ray.errors import ConfigError, terminate


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
