"""Train: the manifest of training clips in, one finished member per recipe out.

read manifest -> check for leaks -> rows per member -> Ray Train + MS-Swift -> members/NAME
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import storage
from ah_ray.cluster import connect
from ah_ray.config import RunConfig
from ah_ray.errors import ConfigError
from ah_ray.evaluation.leaks import require_no_leaks
from ah_ray.media.fragment import with_times
from ah_ray.media.segment import Span
from ah_ray.members import MEMBER_FILE, MemberCard, is_complete, write_card
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.progress import console
from ah_ray.tasks import Prompt, Task, load_task, swift_row
from ah_ray.training.swift import Launch, SwiftJob


def train(run: RunDirectory, config: RunConfig) -> None:
    """Train the members that are not finished yet.

    Args:
        run: the run directory; its manifest of training clips is read.
        config: the members and their recipes.

    Raises:
        ConfigError: there are no training clips.
        LeakError: a participant is in several splits.
        SwiftError: a training failed.
    """
    missing = [name for name in config.members if not is_complete(run.path("members", name))]
    kept = len(config.members) - len(missing)
    note = f", {kept} were trained before" if kept else ""
    console.print(f"[bold]train[/]: {len(missing)} members to do{note}")
    if not missing:
        return
    from ah_ray.training.launch import fit  # torch with it: seconds, when there is work

    connect()
    require_no_leaks(run.videos())
    clips = run.clips(TRAINING)
    clips = clips.filter(pc.is_in(clips["split"], pa.array(config.train.splits)))
    if not len(clips):
        raise ConfigError(run.path("clips"), "holds no training clips", "run `ah-ray prepare`")
    launches = [plan_member(run, config, name, clips) for name in missing]
    started = time.monotonic()
    with ThreadPoolExecutor(config.train.parallel_members) as pool:
        state = run.path("train", "ray")
        for _ in pool.map(lambda launch: fit(launch, config.train, state), launches):
            pass
    console.print(f"  {len(missing)} members in {time.monotonic() - started:.1f} s")


def plan_member(run: RunDirectory, config: RunConfig, name: str, clips: pa.Table) -> Launch:
    """Write a member's data set and state its training."""
    recipe = config.recipe(name)
    settings = config.members[name]
    task = load_task(config.task)
    prompt = task.prompt(settings.prompt, f"members.{name}.prompt")
    rows_uri = run.path("train", name, "rows.jsonl")
    storage.write_bytes(rows_uri, training_rows(clips, task, prompt))
    card = MemberCard(
        name=name,
        weights="adapter" if recipe.tuner == "lora" else "full",
        task=config.task,
        prompt=settings.prompt,
        model=config.model,
        media=config.media,
        segmentation=config.segmentation,
        trained={
            "recipe": recipe.model_dump(mode="json"),
            "clips": len(clips),
            "clips_by_label": {
                str(label): count
                for label, count in sorted(Counter(clips["label"].to_pylist()).items())
            },
            "participants": pc.count_distinct(clips["participant_id"]).as_py(),
            "versions": {p: version(p) for p in ("ah-ray", "ms-swift", "torch", "transformers")},
        },
    )
    job = SwiftJob(
        name=name,
        model=config.model,
        recipe=recipe,
        media=config.media,
        rows=rows_uri,
        output=run.path("members", name),
    )
    return Launch(job, {MEMBER_FILE: write_card(card)}, marker=MEMBER_FILE)


def training_rows(clips: pa.Table, task: Task, prompt: Prompt) -> bytes:
    """The data set of a member: one conversation per clip, one JSON object per line."""
    lines = [
        json.dumps(
            swift_row(prompt, task.reply(clip["label"]), *media_of(clip)), ensure_ascii=False
        )
        for clip in clips.to_pylist()
    ]
    return "".join(line + "\n" for line in lines).encode()


def media_of(clip: Mapping[str, Any]) -> tuple[str, str]:
    """Picture and sound of a clip (a row of ``schemas.CLIPS``): its files, or its source twice."""
    if clip["media_uri"] is not None:
        return clip["media_uri"], clip["audio_uri"]
    virtual = with_times(clip["source_uri"], Span(clip["start_s"], clip["end_s"]))
    return virtual, virtual
