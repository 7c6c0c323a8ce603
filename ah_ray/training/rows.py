"""The data set of a member: one conversation per training clip. Pure functions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ah_ray import schemas
from ah_ray.config import RecipeConfig
from ah_ray.tasks import Prompt, Task, swift_row

Row = dict[str, Any]


def usable_clips(clips: Sequence[Row], files: Collection[str]) -> tuple[list[Row], list[Row]]:
    """The clips that can be trained on, and a finding for each that cannot.

    Args:
        clips: rows of ``schemas.CLIPS``.
        files: the URIs of all clip files that are there.
    """
    usable: list[Row] = []
    findings: list[Row] = []
    for clip in clips:
        missing = [str(clip[key]) for key in ("media_uri", "audio_uri") if clip[key] not in files]
        if not missing and clip["label"] is not None:
            usable.append(clip)
            continue
        kind, what = ("missing_file", f"no file {' and no file '.join(missing)}")
        if not missing:
            kind, what = "no_label", f"{clip['source_uri']}: the clip has no label"
        findings.append(
            schemas.finding(clip["clip_id"], "error", kind, what, "left out of training")
        )
    return usable, findings


def balanced(clips: Sequence[Row], recipe: RecipeConfig) -> list[Row]:
    """The clips, with those of the rarer label repeated when the recipe asks for it.

    All are taken equally often but for one; which one, the seed decides.
    """
    count = Counter(clip["label"] for clip in clips)
    if recipe.balance == "none" or len(count) < 2:
        return list(clips)
    rare, common = min(count, key=count.__getitem__), max(count.values())
    of_rare = [clip for clip in clips if clip["label"] == rare]
    times, rest = divmod(common - len(of_rare), len(of_rare))
    extra = np.random.default_rng(recipe.seed).choice(len(of_rare), rest, replace=False)
    return [*clips, *(of_rare * times), *(of_rare[index] for index in sorted(extra.tolist()))]


def training_rows(
    clips: Sequence[Mapping[str, Any]], task: Task, prompt: Prompt, recipe: RecipeConfig
) -> bytes:
    """One JSON object per clip and line, in MS-Swift's format.

    With grpo the model finds the reply itself, and the row has the label for its reward.
    """
    lines = []
    for clip in clips:
        row = swift_row(prompt, task.reply(clip["label"]), clip["media_uri"], clip["audio_uri"])
        if recipe.algorithm == "grpo":
            row["messages"] = row["messages"][:-1]
            row["solution"] = clip["label"]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines).encode()
