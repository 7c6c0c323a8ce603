"""A member of the ensemble as data: a folder with weights or an adapter, and its card.

The card is ``member.yaml``, which states everything that scoring must do as training did, and
``seen.parquet``, which lists every video that the member has learned from or was chosen by: too
many for YAML. ``member.yaml`` is written last, so a folder without it is not a member yet.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import yaml
from pydantic import Field, model_validator

from ah_ray import lineage, schemas, storage, tables
from ah_ray.checkpoints import is_hub_id
from ah_ray.config import MAX_NEW_TOKENS, Decoding, RunConfig
from ah_ray.contents import contents_of, remembered_hash
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.models.architecture import architecture_of_type, require_media
from ah_ray.models.config import ModelConfig
from ah_ray.tasks import SUBTITLE, Question, Task, load_task
from ah_ray.training.recipe import settings_of
from ah_ray.yaml_objects import Count, Frozen, Name, build, parse_yaml

MEMBER_FILE = "member.yaml"
SEEN_FILE = "seen.parquet"  # ``schemas.SEEN``; a member that somebody wrote by hand has none
STAGE_FILE = "stage.json"  # in what a stage of a training has left: which training it is of
_CARD = (f"/{MEMBER_FILE}", f"/{SEEN_FILE}", f"/{STAGE_FILE}")
_ON_BASE = ("adapter", "base")  # weights that are, or begin with, those of the base model
_EARLIER = {"model_type", "template", "thinker_only"}  # keys of ``model`` that there are no more


class MemberCard(Frozen):
    """The content of ``member.yaml``.

    Attributes:
        name: of the member; unique in its ensemble.
        weights: ``adapter`` on top of ``model.path``, a ``full`` checkpoint of its own, the
            ``base`` model as it is, or no model but base rates (``prior``, ``engines.prior``) or
            what an archive says of its videos (``labels``, ``engines.labels``).
        question: what it is asked and how it replies, in full, so that it is asked just that
            wherever it is scored. A card that somebody writes may name a ``task`` and its
            ``prompt`` instead.
        decoding: ``answer`` begins the reply for the model and asks for its option alone, one
            forward pass per clip; ``generate`` lets it write the whole reply (the paper's way).
            An answer without options, or with an explanation, is always written.
        max_new_tokens: longest reply, where it is written.
        reads: the members of its ensemble whose texts are in its question.
        model: the base model it was tuned from. A path that begins with ``.`` or ``..`` starts in
            the member's folder, so that a run can be moved.
        media: what the model saw of a clip.
        segmentation: how its training videos were cut.
        trained: how it came about (recipe, counts, versions), for people.
    """

    name: Name
    weights: Literal["adapter", "full", "base", "prior", "labels"]
    question: Question
    decoding: Decoding = "answer"
    max_new_tokens: Count = MAX_NEW_TOKENS
    reads: tuple[Name, ...] = ()
    model: ModelConfig
    media: MediaConfig
    segmentation: SegmentationConfig
    trained: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _named_task(cls, values: Any) -> Any:
        """A card that names a task, or has one of the first format, as one with a question."""
        if not isinstance(values, dict) or "task" not in values or "question" in values:
            return values
        values = dict(values)
        task, prompt = values.pop("task"), values.pop("prompt", None)
        try:
            whole = load_task(task) if isinstance(task, str) else _of_first_format(task)
            return values | {"question": whole.question(str(prompt), "prompt")}
        except ConfigError as error:
            raise ValueError(f"{error.problem} ({error.fix})") from None

    @property
    def recipe(self) -> dict[str, Any]:
        """How it was trained, by dotted keys, as far as that is stated; see ``settings_of``."""
        return settings_of(self.trained.get("recipe", {}))

    @property
    def texts(self) -> tuple[str, ...]:
        """What stands in its prompt of each clip anew: by members that it reads, or a subtitle."""
        return (*self.reads, *([SUBTITLE] if self.question.prompt.has(SUBTITLE) else []))

    @property
    def weighs(self) -> bool:
        """Whether its options are weighed, not written."""
        answer = self.question.answer
        return self.decoding == "answer" and bool(answer.options) and not answer.explains


def _of_first_format(task: Any) -> Task:
    """A task as cards had it when every question had two answers."""
    if isinstance(task, dict) and {"positive", "negative", "answer"} <= task.keys():
        options = [task["positive"], task["negative"]]
        answer = {"kind": "choice", "options": options, "reply": task["answer"]}
        answer |= {"absent": task["negative"]}
        task = {"name": task.get("name"), "answer": answer, "prompts": task.get("prompts")}
    return build(Task, task, "task")


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
        return self.card.model.path if self.card.weights in _ON_BASE else self.uri


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
    values = _in_todays_words(parse_yaml(storage.read_bytes(path), path), path)
    card = build(MemberCard, values, path)
    require_media(card.model, card.media, path)
    folder = uri.rstrip("/").rsplit("/", 1)[-1]
    if card.name != folder:
        raise ConfigError(
            f"{path}: name", f"is {card.name}, but the folder is {folder}", "give both one name"
        )
    return Member(uri, _with_whole_path(card, uri))


def _in_todays_words(values: dict[str, Any], path: str) -> dict[str, Any]:
    """What a card says, also one of an earlier version.

    It named the architecture as MS-Swift does.

    Raises:
        ConfigError: there is no such architecture here.
    """
    model = values.get("model")
    if not isinstance(model, dict) or not _EARLIER & model.keys():
        return values
    model_type = str(model.get("model_type", "qwen3_omni_moe"))
    architecture = model.get("architecture", architecture_of_type(model_type))
    if architecture is None:
        raise ConfigError(
            f"{path}: model.model_type",
            f"is {model_type}, of which there is no architecture",
            "write model.architecture: module:attribute of your own in its place",
        )
    kept = {key: value for key, value in model.items() if key not in _EARLIER}
    return values | {"model": kept | {"architecture": architecture}}


def _with_whole_path(card: MemberCard, folder: str) -> MemberCard:
    """``card`` with the place of its model resolved."""
    stated = card.model.path
    if stated.partition("/")[0] not in (".", ".."):
        return card
    protocol, mark, start = folder.rpartition("://")
    whole = f"{protocol}{mark}{posixpath.normpath(posixpath.join(start, stated))}"
    return card.model_copy(update={"model": card.model.model_copy(update={"path": whole})})


def member_fingerprint(member: Member, readers: Sequence[str] = ()) -> str:
    """A fingerprint of all that a member's answers depend on: weights, question and inputs.

    The files of its folder and of its base model are known by what they hold, wherever they lie; a
    model of a hub by its id. The attention kernel changes the speed alone.

    Args:
        member: it.
        readers: the members that it is looked at for.

    Raises:
        ConfigError: the base model is not the one that its adapter was trained on, or a member that
            it reads is not there, or it reads itself, if only through others.
        StorageError: a file cannot be read.
    """
    card, readers = member.card, [*readers, member.name]
    if member.name in readers[:-1]:
        circle = " reads ".join(readers)
        raise ConfigError(member.uri, f"member {circle}", "let one of them read nothing")
    base = model_fingerprint(card.model.path) if card.weights in _ON_BASE else None
    trained_on = card.trained.get("base")
    if base is not None and trained_on not in (None, base):
        raise ConfigError(
            card.model.path,
            f"has changed since the member {member.uri} was made of it",
            "bring the model back, or delete the member and train it again",
        )
    read = [member_fingerprint(one, readers) for one in members_read(member)]
    fingerprint = lineage.fingerprint(
        model_fingerprint(member.uri),
        base,
        card.weights,
        card.question.model_dump(),
        [card.decoding, card.max_new_tokens],
        read,
        card.model.model_dump(exclude={"path", "attention"}),
        card.media.model_dump(),
        card.trained,  # another training is another member, however few of its weights it changed
    )
    if SUBTITLE in card.texts or any(map(lineage.reads_subtitle, read)):
        return lineage.with_subtitle(fingerprint)
    return fingerprint


def members_read(member: Member) -> list[Member]:
    """The members whose texts a member reads: their folders are beside its own.

    Raises:
        ConfigError: one of them is not there.
    """
    folder = member.uri.rstrip("/").rpartition("/")[0]
    found = []
    for name in member.card.reads:
        uri = storage.join(folder, name)
        if not is_complete(uri):
            fix = "bring it back, or score without this one"
            raise ConfigError(f"{member.uri}: reads", f"there is no member {name}", fix)
        found.append(read_member(uri))
    return found


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


def card_of(config: RunConfig, name: str) -> MemberCard:
    """The card of a member as a run config states it; what comes out of its training is not in it.

    Raises:
        ConfigError: a setting of the member is wrong.
    """
    settings = config.members[name]
    recipe = None if settings.recipe is None else config.recipe(name)
    return MemberCard(
        name=name,
        weights=recipe.weights if recipe else "base",
        question=config.question(name),
        decoding=settings.decoding,
        max_new_tokens=settings.max_new_tokens,
        reads=settings.reads,
        model=config.model_of(name),
        media=config.media_of(name),
        segmentation=config.segmentation,
        trained={"recipe": recipe.model_dump(mode="json")} if recipe else {},
    )


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
    stated = card_of(config, name)
    attention = {"attention": card.model.attention}
    stated = stated.model_copy(update={"model": stated.model.model_copy(update=attention)})
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
    of_member = f"members.{card.name}"
    return {
        f"{of_member}: weights": card.weights,
        f"{of_member}.decoding": card.decoding,
        f"{of_member}.max_new_tokens": card.max_new_tokens,
        f"{of_member}.reads": card.reads,
        "task.name": card.question.name,
        **_keys("task.answer", card.question.answer.model_dump()),
        **_keys(f"{of_member}: prompt", card.question.prompt.model_dump()),
        **_keys("model", card.model.model_dump()),
        **_keys("media", {"square": None, **card.media.model_dump()}),
        **_keys("segmentation", card.segmentation.model_dump()),
        # Of a member that was trained elsewhere it may not be known.
        **_keys(f"{of_member}: recipe", card.recipe),
    }


def _keys(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{section}.{key}": value for key, value in values.items()}


def asked(member: Member, settings: ScoreConfig) -> Member:
    """A member as it is asked: what ``score`` says of decoding wins over its card."""
    instead = {"decoding": settings.decoding, "max_new_tokens": settings.max_new_tokens}
    stated = {key: value for key, value in instead.items() if value is not None}
    return Member(member.uri, member.card.model_copy(update=stated))
