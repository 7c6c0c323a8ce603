"""Which words count as one: each by itself, groups of synonyms, or an emotion wheel.

A *view* gives words their classes; what it gives none is left out. Most groupings are one view, a
file of wheels is one for each wheel and level.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from ah_ray.errors import ConfigError
from ah_ray.names import find
from ah_ray.words.wheel import LEVELS, Wheels
from ah_ray.yaml_objects import Frozen, build, parse_yaml

#: From a video's id and words in lower case to the class of each that has one.
View = Callable[[str, Collection[str]], Mapping[str, str]]
#: From a video's id and its words, sorted, to groups of those that mean the same.
Grouper = Callable[[str, Sequence[str]], Sequence[Sequence[str]]]

WORDS, GROUPS, WHEEL = "words", "groups", "wheel"

_SMALL_WHEEL = Path(__file__).parent / "wheel.yaml"
_SUFFIXES = (".json", ".yaml", ".yml")


class Grouping(NamedTuple):
    """What makes words the same.

    Attributes:
        kind: ``words``, ``groups`` or ``wheel``; scores are named by it.
        name: of the file, or as it was named.
        hash: of the file, or of the module of a function; None where there is neither.
        views: by level and wheel; both are empty where there are none.
        of_videos: whether there are groups that hold for single videos.
    """

    kind: str
    name: str
    hash: str | None
    views: Mapping[tuple[str, str], View]
    of_videos: bool = False


class GroupsFile(Frozen):
    """A file of groups, such as what a text model said of the words of each video.

    Attributes:
        groups: that hold for every video.
        videos: those of one video, by its id; of a word in several groups the last one counts.
        complete: whether every word was asked about (``ah-ray groups``), so that one in no group
            is newer than the file.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    videos: dict[str, tuple[tuple[str, ...], ...]] = Field(default_factory=dict)
    complete: bool = False

    def of(self, video_id: str, words: Sequence[str]) -> Sequence[Sequence[str]]:
        """The groups of a video: a ``Grouper``."""
        return (*self.groups, *self.videos.get(video_id, ()))

    def view(self, where: str) -> View:
        """The classes that its groups give; ``where`` names the file.

        The view raises a ``ConfigError`` when the file is older than a word.
        """
        view = _by(self.of)

        def complete(video_id: str, words: Collection[str]) -> Mapping[str, str]:
            asked = {word.lower() for group in self.of(video_id, ()) for word in group}
            if absent := sorted(set(words) - asked):
                problem = f"says nothing of {', '.join(absent)} in video {video_id}"
                raise ConfigError(where, problem, "run `ah-ray groups` again")
            return view(video_id, words)

        return complete if self.complete else view


def find_grouping(name: str, where: str) -> Grouping:
    """What ``name`` stands for.

    Args:
        name: ``none``; ``wheel``, a small one of ours; a JSON or YAML file of groups (that file
            may be the list of them alone) or of wheels; or ``module:function``, a ``Grouper`` of
            your own.
        where: the key that holds the name.

    Raises:
        ConfigError: there is no such thing, or the file is wrong.
    """
    if name == "none":
        return Grouping(WORDS, name, None, {("", ""): _themselves})
    if name != "wheel" and not name.endswith(_SUFFIXES):
        grouper = find(name, {"none": None, "wheel": None, "FILE.json": None}, where)
        source = inspect.getsource(sys.modules[grouper.__module__])
        return Grouping(GROUPS, name, hash_of(source.encode()), {("", ""): _by(grouper)})
    path = _SMALL_WHEEL if name == "wheel" else Path(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(where, problem, "name a file of groups or of wheels") from None
    return _read(content, path)


def hash_of(content: bytes) -> str:
    """By which a score names the file that it is by: 16 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


@lru_cache(maxsize=8)  # every member and combination is measured by the same
def _read(content: bytes, path: Path) -> Grouping:
    """What a file holds."""
    where, known = str(path), hash_of(content)
    values = _json(content, where) if path.suffix == ".json" else parse_yaml(content, where)
    if "wheels" in values:
        wheels = build(Wheels, values, where)
        views = {
            (level, name): _by_table(wheels.classes[name][level])
            for level in LEVELS
            for name in wheels.wheels
        }
        return Grouping(WHEEL, path.name, known, views)
    groups = build(GroupsFile, values, where)
    views = {("", ""): groups.view(where)}
    return Grouping(GROUPS, path.name, known, views, bool(groups.videos))


def _json(content: bytes, where: str) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(where, f"is no JSON: {error}", "correct the syntax") from None
    if isinstance(values, list):
        return {"groups": values}
    if not isinstance(values, dict):
        problem = "holds neither groups nor wheels"
        raise ConfigError(where, problem, 'write a list of groups, or {"videos": {ID: groups}}')
    return values


def _themselves(video_id: str, words: Collection[str]) -> Mapping[str, str]:
    return {word: word for word in words}


def _by(grouper: Grouper) -> View:
    """Each word as the first of its group; one in no group as itself."""

    def view(video_id: str, words: Collection[str]) -> Mapping[str, str]:
        groups = grouper(video_id, sorted(words))
        leaders = {word.lower(): group[0].lower() for group in groups for word in group}
        return {word: leaders.get(word, word) for word in words}

    return view


def _by_table(classes: Mapping[str, str]) -> View:
    def view(video_id: str, words: Collection[str]) -> Mapping[str, str]:
        return {word: classes[word] for word in words if word in classes}

    return view
