"""An ensemble: members that are scored together, who of them votes, and who shares an engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ah_ray import storage
from ah_ray.config import problem_of_name
from ah_ray.errors import ConfigError
from ah_ray.members import MEMBER_FILE, Member, MemberCard, is_complete, read_member
from ah_ray.places import place
from ah_ray.yaml_objects import differences


@dataclass(frozen=True)
class EngineGroup:
    """Members that one engine can serve: the same checkpoint, with or without adapters."""

    checkpoint: str
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """The names of its members."""
        return "+".join(member.name for member in self.members)


def members_in(uri: str) -> list[str]:
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
    """The members below ``uri``, sorted by name; those that vote answer one question.

    Args:
        uri: a folder with one folder per member.
        names: the members that must be there; by default all that are.

    Raises:
        ConfigError: there is none, a named one is missing or has a name that reports use, or they
            do not go together.
    """
    uri = storage.absolute(uri)
    complete = members_in(uri)
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
    found = [read_member(storage.join(uri, name)) for name in chosen]
    for one in found:
        # Who tells captioners the labels is called so on purpose.
        if one.card.weights != "labels" and (problem := problem_of_name(one.name)):
            fix = f"rename the folder, and `name` in its {MEMBER_FILE}"
            raise ConfigError(one.uri, problem, fix)
    members = in_order(found, uri)
    _require_alike(members, "segmentation", lambda card: card.segmentation.model_dump())
    _require_alike(
        voting(members),
        "question",
        lambda card: card.question.model_dump(include={"name", "answer"}),
    )
    return sorted(members, key=lambda member: member.name)


def in_order(members: Sequence[Member], where: str) -> list[Member]:
    """The members so that each comes after those that it reads; else by name.

    Raises:
        ConfigError: one reads a member that is not among them, or itself, if only through others.
    """
    depth = _depths(members, where)
    return sorted(members, key=lambda member: (depth[member.name], member.name))


def _depths(members: Sequence[Member], where: str) -> dict[str, int]:
    """How many members stand one behind the other before each."""
    by_name = {member.name: member for member in members}
    for member in members:
        if absent := sorted(set(member.card.reads) - by_name.keys()):
            problem = f"member {member.name} reads {', '.join(absent)}, which is not among them"
            raise ConfigError(where, problem, "score both, or none of them")
    reads = {name: sorted(by_name[name].card.reads) for name in sorted(by_name)}
    depth: dict[str, int] = {}
    try:
        for name in TopologicalSorter(reads).static_order():
            depth[name] = max((depth[read] + 1 for read in reads[name]), default=0)
    except CycleError as error:
        circle = " reads ".join(reversed(error.args[1]))
        raise ConfigError(where, f"member {circle}", "let one of them read nothing") from None
    return depth


def voting(members: Sequence[Member]) -> list[Member]:
    """The members that vote: whose answers are labels, and whom no other member reads."""
    read = {name for member in members for name in member.card.reads}
    return [m for m in members if m.card.question.answer.votes and m.name not in read]


def writing(members: Sequence[Member]) -> list[Member]:
    """The members that write text which no other that writes text reads: captioners."""
    write = [member for member in members if not member.card.question.answer.votes]
    read = {name for member in write for name in member.card.reads}
    return [member for member in write if member.name not in read]


def require_voters(members: Sequence[Member]) -> list[Member]:
    """The members that vote, of which there must be some; see ``voting``.

    Raises:
        ConfigError: there are none.
    """
    if not (voters := voting(members)):
        names = ", ".join(member.name for member in members)
        problem = "nobody votes: all write text, or are read by others"
        raise ConfigError(f"members {names}", problem, "add a member that answers with labels")
    return voters


def _require_alike(
    members: Sequence[Member], section: str, values: Callable[[MemberCard], dict[str, Any]]
) -> None:
    """Fail unless members that judge together have some settings in common.

    Raises:
        ConfigError: naming the setting, and both values.
    """
    for other in members[1:]:
        first = members[0]
        for key, ours, theirs in differences(values(first.card), values(other.card), section):
            raise ConfigError(
                f"{other.uri}/{MEMBER_FILE}: {key}",
                f"is {theirs}, but member {first.name} has {ours}; they cannot vote together",
                "score them in separate runs",
            )


def engine_groups(members: Sequence[Member]) -> list[EngineGroup]:
    """Group members so that each checkpoint is loaded once and its clips decoded once.

    A group comes after those whose members its own read.
    """
    groups: dict[tuple[Any, ...], list[Member]] = defaultdict(list)
    depth = _depths(members, "members")
    for member in in_order(members, "members"):
        # How the checkpoint is loaded and what is decoded must be the same too.
        card = member.card
        how = (card.model.model_dump_json(), card.media.model_dump_json())
        groups[depth[member.name], member.checkpoint, *how].append(member)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], item[1][0].name))
    return [EngineGroup(key[1], tuple(group)) for key, group in ordered]
