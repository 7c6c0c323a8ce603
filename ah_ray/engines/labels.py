"""The engine of labels: says what an archive says of a video, for captioners that are told it.

They read it as they would another member. It is no member of an ensemble: what is evaluated is
never asked with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from ah_ray import schemas, storage, tables
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item, Reply
from ah_ray.ensemble import EngineGroup
from ah_ray.members import MEMBER_FILE, Member, MemberCard, read_member, write_card
from ah_ray.tasks.answers import LabelSet, Reading

_FILE = "labels.parquet"
_SCHEMA = pa.schema([("video_id", pa.string()), ("labels", schemas.LABELS)])


class LabelsEngine:
    """Writes the labels of each clip's video; nothing, which is no answer, where none are known."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        self.labels = {member.name: _labels_of(member) for member in group.members}

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        """The labels as a reply; see ``Engine``."""
        replies = []
        for member in members:
            write, known = member.card.question.answer.write, self.labels[member.name]
            written = {video: write(Reading(labels)) for video, labels in known.items()}
            replies.append([Reply(written.get(item.video_id, "")) for item in items])
        return replies


def write_labels(
    uri: str, card: MemberCard, labels: Mapping[str, LabelSet], root: str | None = None
) -> Member:
    """Write a member that knows labels; they are its whole content.

    Args:
        uri: its folder.
        card: its settings.
        labels: of videos, by video_id.
        root: what moves together with it (see ``write_card``).
    """
    rows = [{"video_id": video, "labels": sorted(labels[video])} for video in sorted(labels)]
    tables.write_rows(rows, _SCHEMA, storage.join(uri, _FILE))
    storage.write_bytes(storage.join(uri, MEMBER_FILE), write_card(card, uri, root))
    return read_member(uri)


def _labels_of(member: Member) -> dict[str, LabelSet]:
    rows = tables.read_table(storage.join(member.uri, _FILE), _SCHEMA).to_pylist()
    return {row["video_id"]: frozenset(row["labels"]) for row in rows}
