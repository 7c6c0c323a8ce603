"""A member of the ensemble as data: a folder with weights or an adapter, and ``member.yaml``.

``member.yaml`` states everything that scoring must do as training did. It is written last, so a
folder without it is not a member yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from ah_ray import storage
from ah_ray.config import MediaConfig, ModelConfig, Name, RunConfig, SegmentationConfig
from ah_ray.errors import ConfigError
from ah_ray.places import place
from ah_ray.tasks import Prompt, Task, load_task
from ah_ray.yaml_objects import Frozen, build, parse_yaml

MEMBER_FILE = "member.yaml"


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
        model: the base model it was tuned from.
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


def write_card(card: MemberCard) -> bytes:
    """The content of ``member.yaml``."""
    text: str = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text.encode()


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
    return Member(uri, card)


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
        ConfigError: there is none, a named one is missing, or they do not go together.
    """
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
    members = [read_member(storage.join(uri, name)) for name in sorted(set(names or complete))]
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
        **_keys(f"members.{card.name}: recipe", card.trained.get("recipe", {})),
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
