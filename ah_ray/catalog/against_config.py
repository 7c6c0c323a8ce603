"""Does an archive have what a run config asks of it? Pure functions over rows of the catalog."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ah_ray.engines.config import ScoreConfig
from ah_ray.findings import note, shown
from ah_ray.training.config import TrainConfig

Rows = list[dict[str, str]]


def against_config(
    videos: Sequence[Mapping[str, Any]], train: TrainConfig, score: ScoreConfig
) -> Rows:
    """Findings about splits that are not there or not used, and about those of one class.

    Args:
        videos: rows of ``schemas.VIDEOS``.
        train: which splits are trained on, and which choose the checkpoint.
        score: which splits are scored.
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
    return findings + _training(videos, train.splits) + _scored(videos, score.splits)


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


def _training(videos: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> Rows:
    """Training cuts positives to their intervals, so that those without are none."""
    rows = [video for video in videos if video["split"] in splits]
    positives = sum(video["label"] == 1 for video in rows)
    usable = sum(video["label"] == 1 and bool(video["intervals"]) for video in rows)
    negatives = sum(video["label"] == 0 for video in rows)
    if not rows or (usable and negatives):
        return []
    message = (
        f"the {len(rows)} videos of {', '.join(splits)} are {negatives} negatives and {positives} "
        f"positives, {usable} of them with intervals to train on: both are needed"
    )
    return [note("train.splits", "one_class_training", message)]


def _scored(videos: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> Rows:
    labels = [video["label"] for video in videos if video["split"] in splits]
    stated = {label for label in labels if label is not None}
    if not labels or len(stated) == 2:
        return []
    what = f"all have the label {min(stated)}" if stated else "have no label"
    message = f"the {len(labels)} videos of {', '.join(splits)} {what}"
    return [note("score.splits", "one_class_scored", message)]
