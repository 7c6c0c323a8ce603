"""``captions.jsonl``: the captions that members are trained on, one a line."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.evaluation import seen as has_seen
from ah_ray.lineage import fingerprint
from ah_ray.schemas import Row
from ah_ray.yaml_objects import Frozen, build

# In a run: ``schemas.CAPTIONS``, this file, and how many there are of each kind.
TABLE, ROWS_FILE, COUNTS_FILE = "captions", "captions.jsonl", "captions.json"

_Words = Annotated[str, Field(min_length=1)]


class CaptionLine(Frozen):
    """One line of the file: a caption, and the clip that it is of.

    Attributes:
        clip_id: of the clip.
        video_id: of its video, with all else that members state of what they have seen.
        participant_id: who is in it; null when the archive does not say.
        split: of the video.
        source_uri: of the video; a relative one begins in the folder of the file.
        content: hash of the video's file; null when it is not known.
        start_s: where the clip begins in it, in seconds.
        end_s: where it ends.
        subtitle: what is said in the clip, for a prompt that asks for it; null when unknown.
        labels: of the video, which a member learns that explains them; null when unknown.
        captioner: who wrote the caption.
        caption: what a member learns to reply.
        made_from: what the captioner's answer was made from (``lineage``).
    """

    clip_id: _Words
    video_id: _Words
    participant_id: str | None = None
    split: str | None = None
    source_uri: _Words
    content: str | None = None
    start_s: Annotated[float, Field(ge=0)]
    end_s: Annotated[float, Field(gt=0)]
    subtitle: str | None = None
    labels: tuple[str, ...] | None = None
    captioner: str = ""
    caption: _Words
    made_from: str | None = None


class Source(NamedTuple):
    """The captions of a member.

    Attributes:
        uri: the run of ``ah-ray augment`` that has them, or a file.
        held_back: the splits whose captions choose its checkpoint.
    """

    uri: str
    held_back: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """With the captions."""
        return self.uri if self.uri.endswith(".jsonl") else storage.join(self.uri, ROWS_FILE)

    def read(self, where: str) -> tuple[list[Row], list[Row]]:
        """The captions that are trained on, and those that are held back.

        As virtual clips (``schemas.CLIPS``) with a ``caption`` and its ``captioner``.

        Args:
            where: the key of the config that names them.

        Raises:
            ConfigError: there are none, or a line is wrong.
        """
        if not storage.exists(self.file):
            raise ConfigError(where, f"there is no {self.file}", "run `ah-ray augment` first")
        lines = storage.read_bytes(self.file).decode(errors="replace").splitlines()
        rows = [_clip(line, self.file, number) for number, line in enumerate(lines, 1)]
        training = [row for row in rows if row["split"] not in self.held_back]
        if not training:
            raise ConfigError(where, f"{self.file} has no caption to train on", "keep some")
        return training, [row for row in rows if row["split"] in self.held_back]


def _clip(line: str, file: str, number: int) -> Row:
    where = f"{file}, line {number}"
    try:
        values: Any = json.loads(line)
    except ValueError as error:
        raise ConfigError(where, f"is no JSON: {error}", "run `ah-ray augment` again") from error
    row = build(CaptionLine, values, where).model_dump()
    uri = row["source_uri"]
    if "://" not in uri and not uri.startswith("/"):
        try:
            row["source_uri"] = storage.join(file.rpartition("/")[0], uri)
        except ValueError as error:
            raise ConfigError(f"{where}: source_uri", str(error), "give it whole") from error
    labels = None if row["labels"] is None else sorted(row["labels"])
    return row | {"labels": labels, "media_uri": None, "audio_uri": None}


def seen_captions(training: Iterable[Row], held_back: Iterable[Row]) -> list[Row]:
    """What a member will have seen (rows of ``schemas.SEEN``).

    Each video is made from the captions of it.
    """
    roles = ((training, has_seen.TRAINING), (held_back, has_seen.VALIDATION))
    return [row for rows, role in roles for row in has_seen.seen_rows(_by_video(rows), role)]


def _by_video(rows: Iterable[Row]) -> list[Row]:
    of_video: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        of_video[row["video_id"]].append(row)
    keys = ("clip_id", "start_s", "end_s", "captioner", "caption")

    def facts(row: Row) -> list[Any]:
        return [
            *(row[key] for key in keys),
            *(row[key] for key in ("subtitle", "labels") if row[key]),
        ]

    return [
        rows[0] | {"made_from": fingerprint(sorted(map(facts, rows)))} for rows in of_video.values()
    ]
