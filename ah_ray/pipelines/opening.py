"""The run directory that a person names: checked before anything is read or written."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.places import place

_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by `ray job submit` for what it starts, and only there


def open_run(uri: str) -> RunDirectory:
    """The run directory that ``--run`` names; nothing is written.

    Raises:
        ConfigError: it names nothing, cannot be reached, would be thrown away, or is of a version
            that writes other tables.
    """
    run, where = RunDirectory.at(place(uri, "--run")), f"--run {uri}"
    path = storage.local_path(run.uri)
    if path is not None and _in_a_job_s_copy(path):
        raise ConfigError(
            where,
            f"lies in {Path.cwd()}, this job's copy of its working directory, which Ray throws "
            "away",
            "give the absolute path of a folder that all nodes reach, or a URI such as s3://b/run",
        )
    if path is not None and path.exists() and not path.is_dir():
        raise ConfigError(where, "is a file", "name a folder")
    run.settings()  # refuses what it cannot read
    return run


def _in_a_job_s_copy(path: Path) -> bool:
    """Whether ``path`` lies in the copy of ``--working-dir`` that a job of Ray starts in."""
    job = json.loads(os.environ.get(_JOB, "{}"))
    if not (job.get("runtime_env") or {}).get("working_dir"):
        return False
    return Path(os.path.normpath(path)).is_relative_to(Path.cwd())
