"""EmoSet's lists of pictures as conversations to train on.

``train.json``, ``val.json`` and ``test.json`` of a copy each are a list of an emotion, a name, the
picture and its annotation: ``["amusement", "amusement_12865", "image/amusement/….jpg",
"annotation/amusement/….json"]``. What is asked is the task ``emoset_emotions``; the annotations
(scene, objects, faces, actions) are not looked at.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from ah_ray.catalog.json_lists import entries
from ah_ray.errors import ConfigError
from ah_ray.schemas import Row
from ah_ray.tasks import load_task, swift_row
from ah_ray.tasks.answers import Reading

_TASK, _PROMPT = "emoset_emotions", "short"


def emoset_rows(content: bytes, file: str) -> list[Row]:
    """The conversations of one of the lists, in MS-Swift's format; pictures relative to its folder.

    Raises:
        ConfigError: it is no such list; naming the first entry that is wrong.
    """
    fix = "name train.json of EmoSet, or a file of rows that ends in .jsonl"
    pictures = entries(content, file, fix)
    question = load_task(_TASK).question(_PROMPT, file)
    rows = []
    for number, entry in enumerate(pictures, 1):
        where = f"{file}, entry {number}"
        if not (isinstance(entry, list) and len(entry) >= 3 and all(map(_is_text, entry[:3]))):
            problem = "is not of the form [emotion, name, picture, annotation]"
            raise ConfigError(where, problem, "bring back the list as it was published")
        labels = question.answer.meant(entry[0])
        if labels is None:
            fix = question.answer.advice(entry[0])
            raise ConfigError(where, f"has the emotion {entry[0]!r}", fix)
        path = PurePosixPath(entry[2])
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(where, f"{entry[2]!r} leads out of its folder", "name one inside")
        reply = question.answer.write(Reading(labels))
        rows.append(swift_row(question.prompt, reply, None, None, [str(path)]))
    return rows


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
