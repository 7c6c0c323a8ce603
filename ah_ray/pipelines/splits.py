"""The splits that a config names must be there: a misspelled one would be work on nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

import pyarrow.compute as pc

from ah_ray.config import RunConfig
from ah_ray.errors import ConfigError
from ah_ray.pipelines.run_directory import RunDirectory

# Without validation participants the last checkpoints become the members: that is no error, unless
# the archive has a split of nearly that name.
_OPTIONAL = "train.validation_splits"
_SHOWN = 10


def named_splits(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """The splits that a run config states, by key; what it leaves to the defaults is a wish."""
    stated = {
        "train.splits": (config.train, "splits"),
        "train.validation_splits": (config.train, "validation_splits"),
        "score.splits": (config.score, "splits"),
    }
    return {
        key: getattr(section, field)
        for key, (section, field) in stated.items()
        if field in section.model_fields_set
    }


def require_splits(known: Iterable[str | None], named: Mapping[str, Sequence[str]]) -> None:
    """Fail unless the archive has every split that is named.

    An archive without any split is scored whole, whatever is named.

    Args:
        known: the splits of the videos; None for a video without one.
        named: what each key of the config names.

    Raises:
        ConfigError: with the nearest split of the archive.
    """
    splits = sorted({split for split in known if split is not None})
    if not splits:
        return
    folded = {split.casefold(): split for split in splits}
    absent: dict[str, list[str]] = {}
    near: set[str] = set()
    for key, names in named.items():
        for name in names:
            matches = difflib.get_close_matches(name.casefold(), folded, n=1)
            if name not in splits and (matches or key != _OPTIONAL):
                absent.setdefault(key, []).append(name)
                near.update(folded[match] for match in matches)
    if not absent:
        return
    advice = f"did you mean {' and '.join(sorted(near))}?" if near else "[] goes without."
    shown = ", ".join(splits[:_SHOWN]) + (", ..." if len(splits) > _SHOWN else "")
    raise ConfigError(
        ", ".join(absent),
        "; ".join(f"the archive has no split {', '.join(names)}" for names in absent.values()),
        f"{advice} The archive has {shown}",
    )


def require_named_splits(run: RunDirectory, config: RunConfig) -> None:
    """Fail unless the videos of ``run`` have the splits that ``config`` states.

    Raises:
        ConfigError: as ``require_splits``, or the catalog stage has not run.
    """
    require_splits(pc.unique(run.videos()["split"]).to_pylist(), named_splits(config))
