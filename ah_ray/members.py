"""A member of the ensemble as data: a folder with weights or an adapter, and its card.

The card is ``member.yaml``, which states everything that scoring must do as training did, and
``seen.parquet``, which lists every video that the member has learned from or was chosen by: too
many for YAML. ``member.yaml`` is written last, so a folder without it is not a member yet.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import yaml
from pydantic import Field, field_validator, model_validator

from ah_ray import lineage, schemas, storage, tables
from ah_ray.checkpoints import is_hub_id
from ah_ray.config import RESERVED, RunConfig
from ah_ray.contents import contents_of, remembered_hash
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.models.config import ModelConfig
from ah_ray.places import place
from ah_ray.tasks import Prompt, Task, load_task
from ah_ray.training.recipe import settings_of
from ah_ray.yaml_objects import Frozen, Name, build, parse_yaml

MEMBER_FILE = "member.yaml"
SEEN_FILE = "seen.parquet"  # ``schemas.SEEN``; a member that somebody wrote by hand has none
_CARD = (f"/{MEMBER_FILE}", f"/{SEEN_FILE}")


class MemberCard(Frozen):
    """The content of ``member.yaml``.

    Attributes:
        name: of the member; unique in its ensemble.
        weights: ``adapter`` on top of ``model.path``, a ``full`` checkpoint of its own, or
            ``prior``: no model but base rates (see ``engines.prior``).
        task: what it is asked and how it replies. It is stated in full, with the wording that the
            member was trained with, so that it is asked just that wherever it is scored; a card
            that somebody writes may name a task instead.
        prompt: which wording of the task.
        model: the base model it was tuned from. A path that begins with ``.`` or ``..`` starts in
            the member's folder, so that a run can be moved.
        media: what the model saw of a clip.
        segmentation: how its training videos were cut.
        trained: how it came about (recipe, counts, versions), for people.
    """

    name: Name
    weights: Literal["adapter", "full", "prior"]
    task: Task
    prompt: str
    model: ModelConfig
    media: MediaConfig
    segmentation: SegmentationConfig
    trained: dict[str, Any] = Field(default_factory=dict)

    @field_validator("task", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        try:
            return load_task(value) if isinstance(value, str) else value
        except ConfigError as error:
            raise ValueError(f"{error.problem} ({error.fix})") from None

    @model_validator(mode="after")
    def _has_its_prompt(self) -> MemberCard:
        if self.prompt not in self.task.prompts:
            raise ValueError(f"prompt {self.prompt!r} is none of {sorted(self.task.prompts)}")
        return self

    @property
    def recipe(self) -> dict[str, Any]:
        """How it was trained, by dotted keys, as far as that is stated; see ``settings_of``."""
        return settings_of(self.trained.get("recipe", {}))

    @property
    def wording(self) -> Prompt:
        """What it is asked."""
        return self.task.prompts[self.prompt]


@dataclass(frozen=True)
class Member:
    """A member and where its folder is."""

    uri: str
    card: MemberCard

    @property
    def name(self) -> str:
        """Its name."""
        return self.card.name

    @property
    def checkpoint(self) -> str:
        """The folder with what is loaded first: a model, or base rates."""
        return self.card.model.path if self.card.weights == "adapter" else self.uri


@dataclass(frozen=True)
class EngineGroup:
    """Members that one engine can serve: the same checkpoint, with or without adapters."""

    checkpoint: str
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """The names of its members."""
        return "+".join(member.name for member in self.members)


def is_complete(uri: str) -> bool:
    """Whether the folder ``uri`` is a finished member."""
    return storage.exists(storage.join(uri, MEMBER_FILE))


def write_card(card: MemberCard, folder: str = "", root: str | None = None) -> bytes:
    """The content of ``member.yaml``.

    Args:
        card: what to write.
        folder: where the member will be.
        root: what moves together with it: a model in there is named relative to ``folder``.
    """
    values = card.model_dump(mode="json")
    values["model"]["path"] = model_place(card, folder, root)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text.encode()


def model_place(card: MemberCard, folder: str, root: str | None) -> str:
    """How a member in ``folder`` names its model; see ``write_card``."""
    path = card.model.path
    return posixpath.relpath(path, folder) if root and path.startswith(f"{root}/") else path


def read_member(uri: str) -> Member:
    """Read the member in the folder ``uri``.

    Raises:
        ConfigError: its ``member.yaml`` is wrong.
    """
    path = storage.join(uri, MEMBER_FILE)
    card = build(MemberCard, parse_yaml(storage.read_bytes(path), path), path)
    folder = uri.rstrip("/").rsplit("/", 1)[-1]
    if card.name != folder:
        raise ConfigError(
            f"{path}: name", f"is {card.name}, but the folder is {folder}", "give both one name"
        )
    return Member(uri, _with_whole_path(card, uri))


def _with_whole_path(card: MemberCard, folder: str) -> MemberCard:
    """``card`` with the place of its model resolved."""
    stated = card.model.path
    if stated.partition("/")[0] not in (".", ".."):
        return card
    protocol, mark, start = folder.rpartition("://")
    whole = f"{protocol}{mark}{posixpath.normpath(posixpath.join(start, stated))}"
    return card.model_copy(update={"model": card.model.model_copy(update={"path": whole})})


def member_fingerprint(member: Member) -> str:
    """A fingerprint of all that a member's answers depend on: weights, question and inputs.

    The files of its folder and of its base model are known by what they hold, wherever they lie; a
    model of a hub by its id. The attention kernel changes the speed alone.

    Raises:
        ConfigError: the base model is not the one that its adapter was trained on.
        StorageError: a file cannot be read.
    """
    card = member.card
    base = model_fingerprint(card.model.path) if card.weights == "adapter" else None
    trained_on = card.trained.get("base")
    if base is not None and trained_on not in (None, base):
        raise ConfigError(
            card.model.path,
            f"has changed since the adapter {member.uri} was trained on it",
            "bring the model back, or delete the member and train it again",
        )
    return lineage.fingerprint(
        model_fingerprint(member.uri),
        base,
        card.weights,
        card.task.model_dump(include={"name", "positive", "negative", "answer"}),
        card.wording.model_dump(),
        card.model.model_dump(exclude={"path", "attention"}),
        card.media.model_dump(),
        card.trained,  # another training is another member, however few of its weights it changed
    )


def model_fingerprint(path: str) -> str:
    """A fingerprint of the files of a model or adapter (``content_hash``), or of a hub's id.

    Raises:
        StorageError: a file cannot be read.
    """
    if is_hub_id(path):
        return lineage.fingerprint(path)
    files = [file for file in storage.list_files(path) if not file.endswith(_CARD)]
    contents = contents_of(files, remembered_hash)
    for content in contents.values():
        if isinstance(content, OSError):
            raise content
    folder = storage.absolute(path)
    return lineage.fingerprint(sorted((f.removeprefix(folder), contents[f]) for f in files))


def read_seen(member: Member) -> pa.Table | None:
    """What a member has seen (``schemas.SEEN``); None when it does not state that."""
    path = storage.join(member.uri, SEEN_FILE)
    if not storage.exists(path):
        return None
    return tables.read_table(path, schemas.SEEN)


def _members_in(uri: str) -> list[str]:
    """The names of the finished members in the folder ``uri``."""
    below = {
        file.rsplit("/", 2)[-2]
        for file in storage.list_files(uri)
        if file.endswith("/" + MEMBER_FILE)
    }
    return sorted(name for name in below if is_complete(storage.join(uri, name)))


def ensemble_folder(uri: str) -> str:
    """The folder of the members that ``uri`` means: itself, or ``members`` in a run directory.

    Raises:
        ConfigError: it is no place; see ``place``.
    """
    folder = place(uri, "--ensemble")
    inside = storage.join(folder, "members")
    return inside if storage.exists(inside) else folder


def read_ensemble(uri: str, names: Sequence[str] | None = None) -> list[Member]:
    """The members below ``uri``, sorted by name.

    Args:
        uri: a folder with one folder per member.
        names: the members that must be there; by default all that are.

    Raises:
        ConfigError: there is none, a named one is missing or has a name that reports use, or they
            do not go together.
    """
    uri = storage.absolute(uri)
    complete = _members_in(uri)
    missing = sorted(set(names or ()) - set(complete))
    if missing or not complete:
        what = f"holds no finished member {', '.join(missing)}".rstrip()
        fix = "train it with `ah-ray train`, or name another folder"
        if is_complete(uri):
            folder, _, name = uri.rstrip("/").rpartition("/")
            what, fix = "is one member", f"name its folder, {folder or '.'}, and `--members {name}`"
        elif complete:
            fix = f"one of {', '.join(complete)}; or {fix}"
        raise ConfigError(uri, what, fix)
    chosen = sorted(set(names or complete))
    if taken := sorted(RESERVED & set(chosen)):
        raise ConfigError(
            f"{uri}/{taken[0]}",
            f"a member cannot be called {taken[0]}: reports use that name",
            f"rename the folder, and `name` in its {MEMBER_FILE}",
        )
    members = [read_member(storage.join(uri, name)) for name in chosen]
    first = members[0]
    for other in members[1:]:
        theirs = _shared_by_voters(other.card)
        for key, value in _shared_by_voters(first.card).items():
            if theirs[key] != value:
                raise ConfigError(
                    f"{other.uri}/{MEMBER_FILE}: {key}",
                    f"is {theirs[key]}, but member {first.name} has {value}; they cannot vote "
                    "together",
                    "score them in separate runs",
                )
    return members


def _shared_by_voters(card: MemberCard) -> dict[str, Any]:
    """What members that vote together must have in common."""
    return _keys("task", card.task.model_dump(exclude={"prompts"})) | _keys(
        "segmentation", card.segmentation.model_dump()
    )


def _keys(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{section}.{key}": value for key, value in values.items()}


def require_settings(member: Member, config: RunConfig) -> None:
    """Fail when a member was trained with other settings than a run config states.

    The attention kernel may differ: it changes the speed, not what is computed.

    Args:
        member: one of the members that ``config`` names.
        config: the run config that it is to be used with.

    Raises:
        ConfigError: naming the setting and both values.
    """
    card, name = member.card, member.name
    stated = card.model_copy(
        update={
            "task": load_task(config.task),
            "prompt": config.members[name].prompt,
            "model": config.model.model_copy(update={"attention": card.model.attention}),
            "media": config.media,
            "segmentation": config.segmentation,
            "trained": {"recipe": config.recipe(name).model_dump(mode="json")},
        }
    )
    ours = _settings(stated)
    for key, trained in _settings(card).items():
        # A card of an earlier version may have what there is no more.
        if key in ours and ours[key] != trained:
            raise ConfigError(
                key,
                f"is {ours[key]!r} in the run config, but {name} was trained with {trained!r} "
                f"({member.uri}/{MEMBER_FILE})",
                "restore the setting, or give a new --run and train again",
            )


def _settings(card: MemberCard) -> dict[str, Any]:
    """What a member was trained with, by the keys of a run config."""
    asked = card.task.model_dump(include={"name", "positive", "negative", "answer"})
    return {
        f"members.{card.name}.prompt": card.prompt,
        **_keys("task", asked),
        **_keys(f"task.prompts.{card.prompt}", card.wording.model_dump()),
        **_keys("model", card.model.model_dump()),
        **_keys("media", card.media.model_dump()),
        **_keys("segmentation", card.segmentation.model_dump()),
        # Of a member that was trained elsewhere it may not be known.
        **_keys(f"members.{card.name}: recipe", card.recipe),
    }


def engine_groups(members: Sequence[Member]) -> list[EngineGroup]:
    """Group members so that each checkpoint is loaded once and its clips decoded once."""
    groups: dict[tuple[str, str, str], list[Member]] = defaultdict(list)
    for member in sorted(members, key=lambda member: member.name):
        # How the checkpoint is loaded and what is decoded must be the same too.
        card = member.card
        key = (member.checkpoint, card.model.model_dump_json(), card.media.model_dump_json())
        groups[key].append(member)
    return [EngineGroup(key[0], tuple(group)) for key, group in groups.items()]
