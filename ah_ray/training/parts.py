"""The named parts of an architecture: what of it is trained, and what a training has moved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ah_ray.errors import ConfigError
from ah_ray.models.architecture import Architecture

LANGUAGE = "language"


def known_parts(architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """How the names of the weights of each part begin in a checkpoint; finer parts first."""
    parts = architecture.parts
    whole = {"aligner": parts.aligner, LANGUAGE: parts.language, "vision": parts.towers}
    return {name: begins for name, begins in {**parts.named, **whole}.items() if begins}


def require_parts(architecture: Architecture, name: str, parts: Iterable[str], where: str) -> None:
    """Fail when an architecture has no such part.

    Args:
        architecture: the one of the model.
        name: of the architecture.
        parts: that are to be trained.
        where: what names them in the config.

    Raises:
        ConfigError: naming those that there are.
    """
    known = known_parts(architecture)
    if unknown := [part for part in parts if part not in known]:
        fix = f"some of {', '.join(known)}" if known else "train it without parts"
        raise ConfigError(where, f"{name} has no part {unknown[0]!r}", fix)


def pattern(architecture: Architecture, parts: Sequence[str], in_memory: bool = False) -> str:
    """A regular expression that finds the names of the weights of some parts.

    Args:
        architecture: says how they begin.
        parts: of ``known_parts``.
        in_memory: as a loaded model calls them; else as a checkpoint does.
    """
    known = known_parts(architecture)

    def named(begins: Iterable[str]) -> str:
        names = (architecture.name_in_memory(one) if in_memory else one for one in begins)
        return "|".join(re.escape(name) for name in names)

    def of(part: str) -> str:
        # The projections may lie inside of a tower.
        aligner = architecture.parts.aligner
        but = f"(?!{named(aligner)})" if part == "vision" and aligner else ""
        return f"{but}({named(known[part])})"

    return f"^({'|'.join(map(of, parts))})"


def modules(architecture: Architecture, parts: Iterable[str]) -> list[str]:
    """The modules of some parts, as a loaded model calls them."""
    known = known_parts(architecture)
    return [architecture.name_in_memory(one).rstrip(".") for part in parts for one in known[part]]


def part_of(architecture: Architecture, name: str) -> str | None:
    """The finest part that a weight of a checkpoint belongs to."""
    return next(
        (p for p, begins in known_parts(architecture).items() if name.startswith(begins)), None
    )


def moved(before: Path, after: Path, architecture: Architecture) -> dict[str, dict[str, Any]]:
    """What a training has changed, by part: how many of its weights, and by how much at most.

    Args:
        before: a local checkpoint.
        after: another one of the same weights.
        architecture: of both.

    Raises:
        ValueError: they do not have the same weights.
    """
    theirs, ours = _places(before, architecture), _places(after, architecture)
    if missing := theirs.keys() ^ ours.keys():
        raise ValueError(f"{before} and {after} do not both have {min(missing)}")
    found: dict[str, dict[str, Any]] = {}
    for name, place in sorted(theirs.items()):
        of_part = found.setdefault(
            part_of(architecture, place[1]) or "other", {"weights": 0, "moved": 0, "most": 0.0}
        )
        one, other = _read(*place), _read(*ours[name])
        of_part["weights"] += 1
        if not one.equal(other):
            of_part["moved"] += 1
            most = (one.float() - other.float()).abs().max().item()
            of_part["most"] = max(of_part["most"], round(most, 9))
    return found


def _places(folder: Path, architecture: Architecture) -> Mapping[str, tuple[Path, str]]:
    """The file of each weight and its name there, by its name in memory."""
    from safetensors import safe_open

    places = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118  # it is no mapping
                if not name.startswith(architecture.parts.unused):
                    places[architecture.name_in_memory(name)] = (file, name)
    return places


def _read(file: Path, name: str) -> Any:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return opened.get_tensor(name)
