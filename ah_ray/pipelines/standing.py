"""Who has voted in a run and is still there, and which of their answers still hold.

What only shows a run (status, report, export) does so without its config, as far as it goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, storage, tables
from ah_ray.errors import ConfigError
from ah_ray.members import Member, is_complete, member_fingerprint, read_member
from ah_ray.pipelines.run_directory import RunDirectory


def standing(run: RunDirectory, name: str) -> Member | None:
    """A member that can be asked: it is there, on the base that its adapter was trained on."""
    if "ensemble" not in (noted := run.settings()):
        return None
    uri = storage.join(run.outside(noted["ensemble"]), name)
    if not is_complete(uri):
        return None
    member = read_member(uri)
    try:
        member_fingerprint(member)
    except ConfigError:
        return None
    return member


class Standing:
    """The answers that a run shows: those that hold.

    Of a member that is not there any more to compare with it shows all.

    Args:
        run: the run directory.
        names: of members.
        columns: of ``schemas.PREDICTIONS`` that are read; ``made_from`` is one of them.
    """

    def __init__(self, run: RunDirectory, names: Sequence[str], columns: Sequence[str]) -> None:
        self._run, self._columns = run, columns
        self._known: dict[str, str | None] = {}
        for name in names:
            member = standing(run, name)
            self._known[name] = None if member is None else member_fingerprint(member)

    def answers(self, clips: pa.Table, videos: pa.Array) -> dict[str, pa.Table]:
        """By member, in order of their names as they were given.

        Args:
            clips: of a manifest, among them all of these videos.
            videos: whose answers are read, by id.
        """
        where = pc.field("video_id").isin(videos)
        mine = clips.filter(pc.is_in(clips["video_id"], videos))
        found = {}
        for name, known in self._known.items():
            if known is None:
                schema = schemas.columns(schemas.PREDICTIONS, self._columns)
                path = self._run.predictions_path(name)
                found[name] = tables.read_table(path, schema, where=where)
            else:
                table = self._run.answers({name: known}, mine, where=where, columns=self._columns)
                found[name] = table.drop_columns(["member"])
        return found
