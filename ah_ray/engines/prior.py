"""The prior engine: answers from the base rates of the training videos, without any media.

A baseline that every model must beat, and the engine that costs nothing, so that what a pass
costs beside its engine can be measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ah_ray import storage, tables
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item, Reply
from ah_ray.ensemble import EngineGroup
from ah_ray.errors import ConfigError
from ah_ray.members import MEMBER_FILE, Member, MemberCard, read_member, write_card

OVERALL = "overall"
_FILE = "prior.parquet"
_SCHEMA = pa.schema([("video_id", pa.string()), ("label", pa.string()), ("chance", pa.float64())])

# How likely each option is.
Chances = Mapping[str, float]


class PriorEngine:
    """Looks up the base rate of each clip's video."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        self.chances = {member.name: chances_of(member) for member in group.members}

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        """The chances of the options; see ``Engine``."""
        return [
            [Reply(None, self.chances[member.name][item.video_id]) for item in items]
            for member in members
        ]


def base_rates(
    videos: Iterable[Mapping[str, Any]],
    splits: Sequence[str],
    attribute: str,
    options: Sequence[str],
) -> dict[str, Chances]:
    """How likely each option is for each video by what the training videos show.

    Args:
        videos: rows of ``schemas.VIDEOS``.
        splits: the training splits; labels of other videos are not looked at.
        attribute: videos with the same value of it are counted together, and with them one more
            video that has the options at their overall rates, so that few videos say little; for
            ``overall``, or a video without the attribute, the overall rates themselves.
        options: of the answer.

    Returns:
        P(option) by video_id, for every video; equal ones when there is no labelled training video.
    """
    videos = list(videos)
    known: dict[str | None, list[str]] = defaultdict(list)

    def group(row: Mapping[str, Any]) -> str | None:
        return dict(row["attributes"] or ()).get(attribute)

    for row in videos:
        if row["split"] in splits and row["labels"]:
            known[group(row)] += row["labels"]
    every = [label for labels in known.values() for label in labels]
    count = len(every)
    overall = {o: every.count(o) / count if count else 1 / len(options) for o in options}
    known.pop(None, None)
    rates = {
        value: {o: (labels.count(o) + overall[o]) / (len(labels) + 1) for o in options}
        for value, labels in known.items()
    }
    return {row["video_id"]: rates.get(group(row), overall) for row in videos}


def write_prior(
    uri: str, card: MemberCard, chances: Mapping[str, Chances], root: str | None = None
) -> Member:
    """Write a member without a model; what it knows of each video is its whole content.

    Args:
        uri: its folder.
        card: its settings.
        chances: P(option) by video_id.
        root: what moves together with it (see ``write_card``).
    """
    rows = [
        {"video_id": video, "label": label, "chance": chance}
        for video, of_video in sorted(chances.items())
        for label, chance in of_video.items()
    ]
    tables.write_rows(rows, _SCHEMA, storage.join(uri, _FILE))
    storage.write_bytes(storage.join(uri, MEMBER_FILE), write_card(card, uri, root))
    return read_member(uri)


def chances_of(member: Member) -> dict[str, Chances]:
    """P(option) by video_id, as ``write_prior`` has written it."""
    chances: dict[str, dict[str, float]] = defaultdict(dict)
    for row in tables.read_table(_path(member), _SCHEMA).to_pylist():
        chances[row["video_id"]][row["label"]] = row["chance"]
    return dict(chances)


def require_current_prior(member: Member, chances: Mapping[str, Chances]) -> None:
    """Fail when a prior was made from other labels, or of another attribute, than there are now.

    Args:
        member: it.
        chances: what it would say now of the videos that count (``base_rates``).

    Raises:
        ConfigError: it would say something else.
    """
    if not chances.items() <= chances_of(member).items():
        raise ConfigError(
            member.uri,
            f"is not what score.prior and the training videos are now: it is the rate of "
            f"{member.card.trained.get('rate_of')}, from the labels when the run was scored",
            "run `ah-ray score` again",
        )


def _path(member: Member) -> str:
    return storage.join(member.uri, _FILE)
