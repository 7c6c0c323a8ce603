"""The prior engine: answers from the base rates of the training videos, without any media.

A baseline that every model must beat, and the engine that costs nothing, so that what a pass
costs beside its engine can be measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ah_ray import storage, tables
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Answer, Clip, likelier_answer
from ah_ray.errors import ConfigError
from ah_ray.members import MEMBER_FILE, EngineGroup, Member, MemberCard, read_member, write_card

OVERALL = "overall"
_FILE = "prior.parquet"
_SCHEMA = pa.schema([("video_id", pa.string()), ("p_yes", pa.float64())])


class PriorEngine:
    """Looks up the base rate of each clip's video."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        self.task = group.members[0].card.task
        self.chances = {member.name: chances_of(member) for member in group.members}

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        """The likelier answer and its chance; see ``Engine``."""
        return [
            [likelier_answer(self.task, self.chances[member.name][clip.video_id]) for clip in clips]
            for member in members
        ]


def base_rates(
    videos: Iterable[Mapping[str, Any]], splits: Sequence[str], attribute: str
) -> dict[str, float]:
    """How likely each video is positive by what the training videos show.

    Args:
        videos: rows of ``schemas.VIDEOS``.
        splits: the training splits; labels of other videos are not looked at.
        attribute: videos with the same value of it are counted together, and with them one more
            video that is positive at the overall rate, so that few videos say little; for
            ``overall``, or a video without the attribute, the overall rate itself.

    Returns:
        P(positive) by video_id, for every video; 0.5 when there is no labelled training video.
    """
    videos = list(videos)
    trained = [row for row in videos if row["split"] in splits and row["label"] is not None]
    overall = sum(row["label"] for row in trained) / len(trained) if trained else 0.5
    labels: dict[str | None, list[int]] = defaultdict(list)
    for row in trained:
        labels[dict(row["attributes"] or ()).get(attribute)].append(row["label"])
    labels.pop(None, None)
    rates = {value: (sum(found) + overall) / (len(found) + 1) for value, found in labels.items()}
    return {
        row["video_id"]: rates.get(dict(row["attributes"] or ()).get(attribute), overall)
        for row in videos
    }


def write_prior(
    uri: str, card: MemberCard, chances: Mapping[str, float], root: str | None = None
) -> Member:
    """Write a member without a model; what it knows of each video is its whole content.

    Args:
        uri: its folder.
        card: its settings.
        chances: P(positive) by video_id.
        root: what moves together with it (see ``write_card``).
    """
    rows = [{"video_id": video, "p_yes": chance} for video, chance in sorted(chances.items())]
    tables.write_rows(rows, _SCHEMA, storage.join(uri, _FILE))
    storage.write_bytes(storage.join(uri, MEMBER_FILE), write_card(card, uri, root))
    return read_member(uri)


def chances_of(member: Member) -> dict[str, float]:
    """P(positive) by video_id, as ``write_prior`` has written it."""
    columns = pq.read_table(storage.localize(_path(member))).to_pydict().values()
    return dict(zip(*columns, strict=True))


def require_current_prior(member: Member, chances: Mapping[str, float]) -> None:
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
