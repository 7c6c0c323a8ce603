"""Train: the manifest of training clips in, one finished member per recipe out.

read manifest -> check for leaks -> rows per member -> Ray Train + MS-Swift -> validate ->
members/NAME

A finished member that was trained on other clips than the manifest has now is refused by name: to
train it again may take days, so whoever wants that deletes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import ray

from ah_ray import schemas, storage, tables
from ah_ray.cluster import connect
from ah_ray.config import RunConfig
from ah_ray.evaluation.leaks import require_no_leaks
from ah_ray.members import card_of
from ah_ray.models.architecture import require_model
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.seen import require_up_to_date
from ah_ray.pipelines.train_member import print_summary, train_member, write_base
from ah_ray.pipelines.train_stages import require_trainable
from ah_ray.pipelines.training_plan import (
    Material,
    captions,
    missing_members,
    plan_member,
    training_clips,
    validation_clips,
    what_is_seen,
)
from ah_ray.pipelines.validate import prepare_validation, validation_run
from ah_ray.preflight import require, score_wish, train_wish
from ah_ray.progress import console
from ah_ray.schemas import Row

Item = TypeVar("Item")


def train(run: RunDirectory, config: RunConfig) -> None:
    """Train the members that are not finished yet.

    Args:
        run: the run directory; its manifest of training clips is read.
        config: the members and their recipes.

    Raises:
        ConfigError: there are no training clips or there is no base model, a setting or a
            finished member does not fit, or the cluster can never grant the resources.
        LeakError: a participant, file or content is in several splits.
        SwiftError: a training failed.
    """
    missing = missing_members(run, config)
    run.remember({"members": list(config.members)})
    finished = [name for name in config.members if name not in missing]
    note = f", {len(finished)} were trained before" if finished else ""
    console.print(f"[bold]train[/]: {len(missing)} members to do{note}")
    if config.tuned:  # base models as they are have learned from nobody
        require_no_leaks(run.videos())
    require_up_to_date(run, config, finished)
    if not missing:
        return
    for name in missing:
        require_model(config.model_of(name), config.media_of(name), "model")
        if name in config.tuned:
            require_trainable(config, name)
    tuned = [name for name in missing if name in config.tuned]
    for name in sorted(set(missing) - set(tuned)):
        write_base(run, card_of(config, name))
    if not tuned:
        return
    connect()
    require(train_wish(config.train))
    material = {name: of for name in tuned if (of := captions(run, config, name)) is not None}
    validation = None
    if on_labels := [name for name in tuned if name not in material]:
        validation = validation_run(run, config)
        material |= dict.fromkeys(on_labels, _labelled(run, config, validation))
    plans = [plan_member(run, config, name, material[name]) for name in tuned]
    started = time.monotonic()
    side_by_side(
        lambda plan: train_member(
            run, config, plan, validation if plan.card.name in on_labels else None
        ),
        plans,
        config.train.parallel_members,
    )
    console.print(f"  {len(tuned)} members in {time.monotonic() - started:.1f} s")
    if validation is not None:
        print_summary(run, config)


def _labelled(run: RunDirectory, config: RunConfig, validation: RunDirectory | None) -> Material:
    """The labelled clips of a run, and those of its validation participants, which are prepared."""
    clips, findings = training_clips(run, config)
    held_back: list[Row] | None = None
    if validation is None:
        console.print("  no validation participants: the last checkpoints become the members")
    else:
        require(score_wish(config.score))
        prepare_validation(run, validation, config)
        held_back, lost = validation_clips(validation)
        findings += lost
    _write_findings(run, findings)
    return Material(clips, held_back, what_is_seen(run, config, validation))


def _write_findings(run: RunDirectory, findings: list[Row]) -> None:
    """Write the clips that cannot be trained on; those of an earlier call may be mended."""
    path = storage.join(run.findings_path("train"), "part-0.parquet")
    storage.remove(path)
    if findings:
        tables.write_rows(findings, schemas.FINDINGS, path)
        console.print(f"  {len(findings)} clips cannot be trained on: see {path}", markup=False)


def side_by_side(work: Callable[[Item], Any], items: Sequence[Item], at_once: int) -> None:
    """Do the work of all items, so many at a time, until one fails or people interrupt it."""
    with ThreadPoolExecutor(at_once) as pool:
        tasks = [pool.submit(work, item) for item in items]
        try:
            for task in tasks:
                task.result()
        except Exception:
            pool.shutdown(cancel_futures=True)  # those under way end, the others do not begin
            raise
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            ray.shutdown()  # ends those under way too
            raise
