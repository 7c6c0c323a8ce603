"""Rows of one's own to train on: conversations about pictures and videos, one a line.

A line is in MS-Swift's format (``messages`` with ``videos`` and ``images``), or in that of
published collections: ``{"id": …, "video": …, "conversations": [{"role": "user", …}, …]}``. A file
that ends in ``.json`` is one of EmoSet's lists of pictures (``emoset``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ah_ray import storage
from ah_ray.contents import contents_of
from ah_ray.errors import ConfigError
from ah_ray.evaluation.seen import TRAINING
from ah_ray.lineage import fingerprint
from ah_ray.media.fragment import split_fragment
from ah_ray.schemas import Row, stable_id
from ah_ray.training.emoset import emoset_rows

ROW_FILES = "row_files"  # in what a member's card says of its training: each with its fingerprint

_KINDS = {"video": "videos", "image": "images", "audio": "audios"}
_ROLES = {"system", "user", "assistant"}


class RowFile(NamedTuple):
    """What is in a file.

    Attributes:
        rows: in MS-Swift's format; media by their whole URIs.
        seen: every medium as ``schemas.SEEN`` has the videos of a member.
        made_from: a fingerprint of its text and of the media in it.
    """

    rows: list[Row]
    seen: list[Row]
    made_from: str


def read_rows(file: str, where: str) -> RowFile:
    """Read a file of rows; relative media begin in its folder.

    Raises:
        ConfigError: there is no such file, or a line is wrong; ``where`` names it in the config.
    """
    if not storage.exists(file):
        raise ConfigError(
            where, f"there is no {file}", "name a file of rows, one JSON object a line"
        )
    written = storage.read_bytes(file)
    lines = written.decode(errors="replace").splitlines()
    if file.endswith(".json"):
        rows = [
            _row(row, file, f"entry {n}") for n, row in enumerate(emoset_rows(written, file), 1)
        ]
    else:
        named = ((f"line {number}", line) for number, line in enumerate(lines, 1) if line.strip())
        rows = [_row(_parsed(line, f"{file}, {name}"), file, name) for name, line in named]
    if not rows:
        raise ConfigError(where, f"{file} has no rows", "write some, or leave it out")
    media = {
        split_fragment(uri)[0] for row in rows for kind in _KINDS.values() for uri in row[kind]
    }
    contents = contents_of(media)
    for uri, content in sorted(contents.items()):
        if isinstance(content, OSError):
            raise ConfigError(file, f"{uri} cannot be read: {content}", "bring it back")
    none = dict.fromkeys(("participant_id", "labels", "made_from"))
    seen = [
        none | {"video_id": stable_id(uri), "content": content, "role": TRAINING}
        for uri, content in sorted(contents.items())
    ]
    return RowFile(rows, seen, fingerprint(lines, [row["content"] for row in seen]))


def _parsed(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ConfigError(where, f"is no JSON: {error}", "correct the line") from error


def _row(values: Any, file: str, name: str) -> Row:
    where = f"{file}, {name}"
    if not isinstance(values, Mapping):
        raise ConfigError(where, "is no JSON object", "write one a line")
    turns = values.get("messages", values.get("conversations"))
    if not _is_conversation(turns):
        fix = "give messages: [{role: user, content: …}, {role: assistant, content: …}]"
        raise ConfigError(where, "has no conversation that ends with a reply", fix)
    messages = [{"role": turn["role"], "content": turn["content"]} for turn in turns]
    row: Row = {"messages": messages}
    folder = file.rpartition("/")[0]
    for kind, key in _KINDS.items():
        named = values.get(key, values.get(kind, []))
        named = [named] if isinstance(named, str) else named
        tags = sum(one["content"].count(f"<{kind}>") for one in messages)
        if not isinstance(named, list) or len(named) != tags:
            problem = f"has {tags} times <{kind}> in its messages, and not as many under {key}"
            raise ConfigError(where, problem, f"write <{kind}> where each of them stands")
        row[key] = [uri if "://" in uri or uri.startswith("/") else storage.join(folder, uri)
                    for uri in map(str, named)]  # fmt: skip
    return row


def _is_conversation(turns: Any) -> bool:
    return (
        isinstance(turns, list)
        and bool(turns)
        and all(
            isinstance(turn, Mapping)
            and turn.get("role") in _ROLES
            and isinstance(turn.get("content"), str)
            for turn in turns
        )
        and turns[-1]["role"] == "assistant"
    )
