"""Does an archive have what a run config asks of it? Pure functions over rows of the catalog."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ah_ray.catalog.listing import is_picture
from ah_ray.catalog.rows import needs_interval
from ah_ray.engines.config import ScoreConfig
from ah_ray.findings import note, shown
from ah_ray.tasks.answers import Answer
from ah_ray.tasks.lists import listed
from ah_ray.training.config import TrainConfig

Rows = list[dict[str, str]]


def against_config(
    videos: Sequence[Mapping[str, Any]], train: TrainConfig, score: ScoreConfig, answer: Answer
) -> Rows:
    """Findings about splits that are not there or not used, and about those of one class.

    Args:
        videos: rows of ``schemas.VIDEOS``.
        train: which splits are trained on, and which choose the checkpoint.
        score: which splits are scored.
        answer: what can be answered.
    """
    there = sorted({video["split"] for video in videos} - {None})
    asked = {
        "train.splits": train.splits,
        "train.validation_splits": train.validation_splits,
        "score.splits": score.splits,
    }
    used = {split for splits in asked.values() for split in splits}
    findings: Rows = []
    for key, splits in asked.items():
        for split in splits:
            if split not in there:
                findings.append(_missing(key, split, there, used))
    findings += [
        note(split, "split_unused", f"no key of the config names the split {shown(split)}")
        for split in there
        if split not in used
    ]
    return findings + _training(videos, train.splits, answer) + _scored(videos, score.splits)


def _missing(key: str, split: str, there: Sequence[str], used: set[str]) -> dict[str, str]:
    """A split that no video is in."""
    message = f"{key} names {shown(split)}, and no video is in it"
    # Of a split that somebody else asks for it is not the misspelled name.
    free = {name.casefold(): name for name in there if name not in used}
    near = difflib.get_close_matches(split.casefold(), list(free), 1)
    if near:
        message += f": did you mean {shown(free[near[0]])}?"
    else:
        message += f"; the archive has {', '.join(map(shown, there)) or 'no split'}"
    lost = near or key != "train.validation_splits"
    return note(key, "split_missing" if lost else "validation_missing", message)


def _training(videos: Sequence[Mapping[str, Any]], splits: Sequence[str], answer: Answer) -> Rows:
    """Is there more than one thing to learn to say? See ``rows.needs_interval``."""
    rows = [video for video in videos if video["split"] in splits]
    usable = [
        v
        for v in rows
        if v["labels"] is not None
        and (v["intervals"] or is_picture(v["uri"]) or not needs_interval(v, answer.absent))
    ]
    if not rows or len({tuple(video["labels"]) for video in usable}) > 1:
        return []
    labels = Counter(listed(video["labels"]) for video in rows if video["labels"] is not None)
    stated = ", ".join(f"{count} {label}" for label, count in sorted(labels.items())) or "no label"
    message = (
        f"the {len(rows)} videos of {', '.join(splits)} are {stated}; {len(usable)} of them can be "
        "trained on, and at least two labels are needed there"
    )
    return [note("train.splits", "one_class_training", message)]


def _scored(videos: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> Rows:
    labels = [video["labels"] for video in videos if video["split"] in splits]
    stated = {listed(some) for some in labels if some is not None}
    if not labels or len(stated) > 1:
        return []
    what = f"all have the label {min(stated)}" if stated else "have no label"
    message = f"the {len(labels)} videos of {', '.join(splits)} {what}"
    return [note("score.splits", "one_class_scored", message)]
