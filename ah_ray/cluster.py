"""The connection to Ray; made only when there is work for it."""

from __future__ import annotations

import logging
import os
import signal
import threading

import ray
import ray.data


def connect() -> None:
    """Join the cluster that ``RAY_ADDRESS`` names (a job has it), or start Ray on this machine."""
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
        ray.init(
            address,
            include_dashboard=dashboard,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
        # Who is told to end, by a batch system for instance, ends as on Ctrl-C; Ray would abort.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # StageProgress counts items, not blocks
    context.print_on_execution_start = False
