"""The data set of a member: one conversation per training clip. Pure functions."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np

from ah_ray.engines.wording import filled
from ah_ray.findings import note
from ah_ray.media.config import MediaConfig
from ah_ray.media.fragment import with_image, with_times
from ah_ray.media.segment import Span
from ah_ray.schemas import Row
from ah_ray.tasks import SUBTITLE, Question, swift_row
from ah_ray.tasks.answers import Reading
from ah_ray.training.recipe import RecipeConfig

RUN = "{run}"  # stands for the run directory in a data set, so that a run can be moved


def usable_clips(clips: Sequence[Row], files: Collection[str]) -> tuple[list[Row], list[Row]]:
    """The clips that can be trained on, and a finding for each that cannot.

    Args:
        clips: rows of ``schemas.CLIPS``.
        files: the URIs of all clip files that are there; virtual clips need none.
    """
    usable: list[Row] = []
    findings: list[Row] = []
    for clip in clips:
        needed = [clip[key] for key in ("media_uri", "audio_uri") if clip[key] is not None]
        if missing := [uri for uri in needed if uri not in files]:
            message = f"no file {' and no file '.join(missing)}"
            findings.append(note(clip["clip_id"], "clip_file_missing", message))
        elif clip["labels"] is None:
            message = f"{clip['source_uri']}: the clip has no label"
            findings.append(note(clip["clip_id"], "clip_unlabelled", message))
        else:
            usable.append(clip)
    return usable, findings


def balanced(clips: Sequence[Row], recipe: RecipeConfig) -> list[Row]:
    """The clips, with those of the rarer labels repeated when the recipe asks for it.

    All of a label are taken equally often but for some; which ones, the seed decides.
    """
    by_label: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for clip in clips:
        by_label[tuple(clip["labels"] or ())].append(clip)
    most = max(map(len, by_label.values()), default=0)
    again: list[Row] = []
    for _, rare in sorted(by_label.items()) if recipe.balance == "oversample" else ():
        times, rest = divmod(most - len(rare), len(rare))
        extra = np.random.default_rng(recipe.seed).choice(len(rare), rest, replace=False)
        again += [*(rare * times), *(rare[index] for index in sorted(extra.tolist()))]
    return [*clips, *again]


def evened(clips: Sequence[Row], unit: int) -> list[Row]:
    """The clips, with the first of them again so that there are whole units of them.

    MS-Swift leaves out the last ones of a data set that does not divide evenly, in every epoch.

    Args:
        clips: rows.
        unit: see ``RecipeConfig.row_unit``.
    """
    count = -(-len(clips) // unit) * unit
    return list(islice(cycle(clips), count))


def epoch_steps(rows: int, recipe: RecipeConfig, processes: int) -> int:
    """How many optimizer steps an epoch has, as transformers' trainer counts them.

    The last one takes what is left. With grpo a step takes whole groups of replies, and a last one
    without enough of them is left out. With packing it is at most as many.

    Args:
        rows: of the data set, in whole units (see ``evened``).
        recipe: of the member.
        processes: that train together.
    """
    if recipe.grpo:
        steps = rows * recipe.grpo.generations // recipe.global_batch_size
    else:
        passes = math.ceil(rows / recipe.replicas(processes) / recipe.batch_size)
        steps = math.ceil(passes / recipe.accumulation(processes))
    return max(steps, 1)


def optimizer_steps(rows: int, recipe: RecipeConfig, processes: int) -> int:
    """How many optimizer steps a training makes; see ``epoch_steps``."""
    return math.ceil(recipe.epochs * epoch_steps(rows, recipe, processes))


def in_run(clips: Sequence[Row], run: str) -> list[Row]:
    """The clips (rows of ``schemas.CLIPS``) with ``RUN`` in place of the run directory's URI."""

    def stated(uri: str | None) -> str | None:
        return f"{RUN}{uri[len(run) :]}" if uri and uri.startswith(f"{run}/") else uri

    keys = ("media_uri", "audio_uri", "source_uri")
    return [clip | {key: stated(clip[key]) for key in keys} for clip in clips]


def training_rows(
    clips: Sequence[Mapping[str, Any]],
    question: Question,
    recipe: RecipeConfig,
    media: MediaConfig,
) -> bytes:
    """One JSON object per clip and line, in MS-Swift's format; the reply is its caption, if any.

    With grpo the model finds the reply itself, and the row has the labels for its reward. What is
    said in a clip stands beside its conversation until there is a tokenizer (``with_subtitle``).
    """
    lines = []
    for clip in clips:
        said = Reading(frozenset(clip["labels"] or ()), clip.get("caption", ""))
        reply = question.answer.write(said)
        row = swift_row(question.prompt, reply, *media_of(clip, media))
        if question.prompt.has(SUBTITLE):
            row[SUBTITLE] = clip["subtitle"] or ""
        if recipe.grpo:
            row["messages"] = row["messages"][:-1]
            row["solution"] = clip["labels"]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def with_subtitle(row: Row, tokenizer: Any) -> Row:
    """A row of a data set with what is said in its clip in the conversation, as in scoring."""
    system, user, *reply = row["messages"]
    user = user | {"content": filled(user["content"], {SUBTITLE: row[SUBTITLE]}, tokenizer)}
    return row | {"messages": [system, user, *reply]}


def media_of(
    clip: Mapping[str, Any], media: MediaConfig
) -> tuple[str | None, str | None, list[str]]:
    """Video, sound and images of a clip (a row of ``schemas.CLIPS``): its files, or its source.

    What the model gets none of is None.
    """
    if clip["media_uri"] is not None:
        picture, sound = clip["media_uri"], clip["audio_uri"]
    else:
        picture = sound = with_times(clip["source_uri"], Span(clip["start_s"], clip["end_s"]))
    images = [
        with_image(picture, number, clip["clip_id"]) for number in range(media.kinds.count("image"))
    ]
    return (
        picture if "video" in media.kinds else None,
        sound if "audio" in media.kinds else None,
        images,
    )
