"""How members are asked, which of their answers hold, and which batches lack any."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import lineage, schemas, storage, tables
from ah_ray.engines.config import ScoreConfig
from ah_ray.ensemble import EngineGroup
from ah_ray.errors import ConfigError
from ah_ray.members import member_fingerprint
from ah_ray.pipelines.batches import lacking
from ah_ray.pipelines.run_directory import RunDirectory, answers_made_from


def asked_how(settings: ScoreConfig) -> dict[str, Any]:
    """Of the settings those that decide what is answered (``lineage.asked_how``)."""
    return lineage.asked_how(
        settings.engine, settings.engine_args, settings.decoding, settings.max_new_tokens
    )


def require_same_asking(run: RunDirectory, settings: ScoreConfig) -> None:
    """Fail when a run has predictions of another engine or another way of decoding.

    Making them again may cost days, so that is not done because of one option.

    Raises:
        ConfigError: naming what differs.
    """
    how = asked_how(settings)
    before = run.settings().get("asked", how)
    for key in sorted(how.keys() | before.keys()):
        if how.get(key) != before.get(key) and storage.list_files(run.path("predictions")):
            raise ConfigError(
                f"score.{key}",
                f"is {_told(how.get(key))}, but the predictions of {run.uri} were made when it was "
                f"{_told(before.get(key))}",
                f"restore the setting, give a new --run, or delete {run.path('predictions')}",
            )


def _told(setting: Any) -> str:
    return "left to the members" if setting is None else repr(setting)


def drop_stale(run: RunDirectory, member: str, made_from: tuple[str, Any], clips: pa.Table) -> int:
    """Drop a member's predictions that are not made from what is there now; how many those were.

    Args:
        run: the run directory.
        member: its name.
        made_from: its fingerprint, and how it is asked.
        clips: the manifest of scoring clips.
    """
    now = answers_made_from(*made_from, clips)
    path = run.predictions_path(member)
    holds = partial(lineage.holds, made_from=now)
    return len(tables.drop_rows(path, schemas.PREDICTIONS, holds, ["made_from"]))


def missing_batches(
    run: RunDirectory,
    group: EngineGroup,
    plan: pa.Table,
    settings: ScoreConfig,
    clips: pa.Table,
) -> pa.Table:
    """The batches in which a member of ``group`` lacks an answer that holds.

    Args:
        run: the run directory.
        group: the members.
        plan: all batches.
        settings: how they are asked; with ``retry_errors``, an error row is no answer.
        clips: the manifest of scoring clips.
    """
    members = {member.name: member_fingerprint(member) for member in group.members}
    known = ("clip_id", "status", "made_from")
    answers = run.answers(members, clips, asked_how(settings), columns=known)
    if settings.retry_errors:
        answers = answers.filter(pc.not_equal(answers["status"], "error"))
    return lacking(
        plan,
        (answers.filter(pc.equal(answers["member"], name))["clip_id"] for name in members),
    )
