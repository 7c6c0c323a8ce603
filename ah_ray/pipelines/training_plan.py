"""What members are trained on, and all else about a training before it starts.

The clips that there are, the rows that they become, what a member will have seen, and what its
training is called: the name depends on everything that its checkpoints depend on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas, storage
from ah_ray.captions.held_out import require_held_out
from ah_ray.captions.rows import seen_captions
from ah_ray.config import RunConfig
from ah_ray.contents import contents_of
from ah_ray.errors import ConfigError
from ah_ray.evaluation import seen as has_seen
from ah_ray.evaluation.leaks import require_no_leaks
from ah_ray.members import (
    MemberCard,
    card_of,
    is_complete,
    model_fingerprint,
    read_member,
    require_settings,
)
from ah_ray.pipelines.ledger import in_splits, require_prepared
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.progress import console
from ah_ray.schemas import Row, stable_id
from ah_ray.tasks.answers import Answer
from ah_ray.tasks.lists import listed
from ah_ray.training.arguments import require_known
from ah_ray.training.megatron_trainer import NEVER_RUN, require_place
from ah_ray.training.outlook import FEW_STEPS
from ah_ray.training.recipe import MEMBER_DATA, RecipeConfig, StageConfig
from ah_ray.training.row_files import ROW_FILES, read_rows
from ah_ray.training.rows import (
    RUN,
    balanced,
    epoch_steps,
    evened,
    in_run,
    optimizer_steps,
    training_rows,
    usable_clips,
)
from ah_ray.training.swift import SwiftJob
from ah_ray.training.versions import git_commit, package_versions


class Material(NamedTuple):
    """What a member learns from.

    Attributes:
        clips: that it is trained on, with labels or with a caption each.
        validation: that give the loss of its checkpoints; None without such.
        seen: what it will have seen (``schemas.SEEN``).
    """

    clips: Sequence[Row]
    validation: Sequence[Row] | None
    seen: pa.Table


@dataclass(frozen=True)
class Plan:
    """All about the training of one member, before it starts.

    Attributes:
        job: what Ray Train and MS-Swift do.
        card: the member's, but for what comes out of the training.
        rows: the training data set.
        validation_rows: the validation data set; None without validation participants.
        seen: what the member will have seen (``schemas.SEEN``).
        stage: that it is, of a member that is trained in stages; else None.
        result: the folder that its weights go to, of a stage that is not the last.
        before: the stages before this one, which is the last then.
    """

    job: SwiftJob
    card: MemberCard
    rows: bytes
    validation_rows: bytes | None
    seen: pa.Table
    stage: StageConfig | None = None
    result: str = ""
    before: tuple[Plan, ...] = ()


def missing_members(run: RunDirectory, config: RunConfig) -> list[str]:
    """The members that are still to be trained; the others must fit the config."""
    missing = []
    for name in config.members:
        uri = run.path("members", name)
        if is_complete(uri):
            require_settings(read_member(uri), config)
        else:
            missing.append(name)
            if name in config.tuned:
                require_known(config.recipe(name), f"recipe of member {name}: extra_args")
    return missing


def training_clips(run: RunDirectory, config: RunConfig) -> tuple[list[Row], list[Row]]:
    """The clips that can be trained on, and a finding for each that cannot.

    Raises:
        ConfigError: there are none that can.
        LeakError: a participant, file or content is in several splits.
    """
    require_no_leaks(run.videos())
    require_prepared(run, TRAINING, config.train.splits)
    clips, findings = _usable(_training_rows(run, config))
    if not clips:
        raise ConfigError(run.path("clips"), "holds no training clips", "run `ah-ray prepare`")
    _require_sources(clips, "run `ah-ray catalog` and `prepare` again")
    return clips, findings


def captions(run: RunDirectory, config: RunConfig, name: str) -> Material | None:
    """The captions that a member is trained on; None for one that is trained on labelled clips.

    Raises:
        ConfigError: there are none, a line of them is wrong, or a video has changed since.
        LeakError: they are of what is evaluated.
    """
    source = config.captions_of(name)
    if source is None:
        return None
    training, held_back = source.read(f"members.{name}.captions")
    answer = config.question(name).answer
    if answer.explains:
        _require_labels([*training, *held_back], answer, source.file)
    seen = pa.Table.from_pylist(seen_captions(training, held_back), schema=schemas.SEEN)
    judged = in_splits(run.videos(), config.score.splits, unlabelled=False)
    require_held_out(source.file, seen, judged)
    _require_sources([*training, *held_back], "run `ah-ray augment` again")
    return Material(training, held_back or None, seen)


def _require_labels(rows: Sequence[Row], answer: Answer, file: str) -> None:
    """Fail unless each caption explains one of the options.

    Raises:
        ConfigError: naming the first that does not.
    """
    for row in rows:
        if len(labels := row["labels"] or []) != 1 or labels[0] not in answer.options:
            problem = f"a caption of clip {row['clip_id']} explains the labels {labels}"
            fix = f"caption videos that are labelled with one of {', '.join(answer.options)}"
            raise ConfigError(file, problem, fix)


def _require_sources(clips: Sequence[Row], fix: str) -> None:
    """Fail when the source of a virtual clip is not the file that the catalog has read.

    Raises:
        ConfigError: naming some of them.
    """
    sources = {c["source_uri"]: c["content"] for c in clips if c["media_uri"] is None}
    found = contents_of(uri for uri, content in sources.items() if content is not None)
    if changed := sorted(uri for uri, content in found.items() if content != sources[uri]):
        raise ConfigError(
            changed[0],
            f"is not as it was when the catalog was read; so are {len(changed) - 1} other videos",
            fix,
        )


def _training_rows(run: RunDirectory, config: RunConfig) -> list[Row]:
    """The clips of the training splits."""
    table = run.clips(TRAINING)
    in_training = pc.is_in(table["split"], pa.array(config.train.splits))
    rows: list[Row] = table.filter(in_training).to_pylist()
    return rows


def validation_clips(validation: RunDirectory) -> tuple[list[Row], list[Row]]:
    """The clips of the validation participants that give a loss, and a finding for each other."""
    return _usable(validation.clips(TRAINING).to_pylist())


def _usable(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    folders = {row["media_uri"].rsplit("/", 2)[0] for row in rows if row["media_uri"]}
    return usable_clips(rows, {file for folder in folders for file in storage.list_files(folder)})


def plan_member(
    run: RunDirectory,
    config: RunConfig,
    name: str,
    material: Material,
) -> Plan:
    """State the training of a member; nothing is written.

    Its folder is called after everything that its checkpoints depend on, so that a training with
    other settings never goes on from them.

    Args:
        run: where it goes.
        config: the recipe and its resources.
        name: of the member.
        material: what it learns from.

    Raises:
        ConfigError: rows that a stage names are wrong, or the run or the model is not one that
            Megatron can be given.
    """
    recipe = config.recipe(name)
    if recipe.trainer == "megatron":
        require_place(run.uri, config.model_of(name), recipe.sizes)
    if not recipe.stages:
        return _plan(run, config, name, material, recipe)
    files = {
        data: read_rows(
            data.replace(RUN, run.uri),
            f"recipes.{config.members[name].recipe}.stages.{number}.data",
        )
        for number, stage in enumerate(recipe.stages)
        for data in stage.data
        if data != MEMBER_DATA
    }
    judged = in_splits(run.videos(), config.score.splits, unlabelled=False) if files else None
    learned = {row["video_id"]: row for file in files.values() for row in file.seen}
    if judged is not None:
        rows = pa.Table.from_pylist(list(learned.values()), schema=schemas.SEEN)
        require_held_out(", ".join(files), rows, judged)
        material = material._replace(seen=pa.concat_tables([material.seen, rows]))
    made_from = {data: file.made_from for data, file in files.items()}
    plans: list[Plan] = []
    for stage in recipe.stages:
        others = [row for data in stage.data if data != MEMBER_DATA for row in files[data].rows]
        plans.append(_plan(run, config, name, material, recipe, stage, others, plans))
    last = plans[-1]
    card = last.card.model_copy(update={"trained": last.card.trained | {ROW_FILES: made_from}})
    return replace(last, card=card, before=tuple(plans[:-1]))


def _plan(
    run: RunDirectory,
    config: RunConfig,
    name: str,
    material: Material,
    whole: RecipeConfig,
    stage: StageConfig | None = None,
    others: Sequence[Row] = (),
    before: Sequence[Plan] = (),
) -> Plan:
    """One training: a member's, or a ``stage`` of it with the rows of ``others`` besides."""
    clips, validation, seen = material
    recipe = whole if stage is None else whole.of_stage(stage)
    card = card_of(config, name)
    if stage is not None and MEMBER_DATA not in stage.data:
        clips, validation = [], None
    unit = recipe.row_unit(config.train.processes)
    taught = evened(balanced(clips, recipe), unit)
    how = (card.question, recipe, card.media)
    rows = training_rows(in_run(taught, run.uri), *how)
    rows += _lines(evened(others, unit), run.uri)
    with_loss = validation is not None and recipe.has_validation_loss
    asked = evened(validation or [], unit)
    validation_rows = training_rows(in_run(asked, run.uri), *how) if with_loss else None
    base = model_fingerprint(card.model.path)
    of_megatron = recipe.trainer == "megatron"
    # A stage depends on all before it.
    begins = before[-1].job.store.rsplit("/", 1)[-1] if before else base
    parts = () if stage is None else stage.trains
    training = stable_id(
        rows.decode(),
        card.model.model_dump_json().replace(f"{run.uri}/", f"{RUN}/"),
        card.media.model_dump_json(),
        # Without what was not there once: a training that was cut off then goes on.
        recipe.model_dump_json(exclude=None if of_megatron else {"trainer", "megatron"}),
        json.dumps([with_loss, config.train.nodes, config.train.processes_per_node, *parts]),
        begins,
    )
    store = run.path("train", name, training)
    facts: dict[str, Any] = {
        "base": base,
        "clips": len(clips),
        **_counted(clips),
        "rows": len(taught) + len(others),
        "videos": len({clip["video_id"] for clip in clips}),
        "participants": len({clip["participant_id"] for clip in clips} - {None}),
        "nodes": config.train.nodes,
        "processes": config.train.processes,
        "versions": package_versions(),
        "git_commit": git_commit(),
    }
    if (source := config.captions_of(name)) is not None:
        facts["captions"] = {"uri": run.inside(source.uri), "held_back": list(source.held_back)}
    card = card.model_copy(update={"trained": card.trained | facts})
    model = card.model
    if before:
        model = model.model_copy(update={"path": before[-1].result})
    job = SwiftJob(
        name=name if stage is None else f"{name}, stage {stage.name}",
        model=model,
        recipe=recipe,
        media=card.media,
        rows=storage.join(store, "rows.jsonl"),
        store=store,
        validation=storage.join(store, "validation.jsonl") if with_loss else None,
        run=run.uri,
        # Other rows ask something else than the member is asked.
        card=card if clips else None,
        epoch_steps=None
        if recipe.packing
        else epoch_steps(rows.count(b"\n"), recipe, config.train.processes),
        parts=parts,
    )
    result = "" if stage is None else run.path("stages", name, stage.name)
    return Plan(job, card, rows, validation_rows, seen, stage, result)


def _lines(rows: Sequence[Row], run: str) -> bytes:
    """Rows as a data set has them; media in the run directory are named relative to it."""

    def stated(row: Row) -> Row:
        media = {key: uris for key, uris in row.items() if key != "messages" and uris}
        return {"messages": row["messages"]} | {
            key: [f"{RUN}{u[len(run) :]}" if u.startswith(f"{run}/") else u for u in uris]
            for key, uris in media.items()
        }

    return "".join(json.dumps(stated(row), ensure_ascii=False) + "\n" for row in rows).encode()


def _counted(clips: Sequence[Row]) -> dict[str, dict[str, int]]:
    """How many clips there are of each label, or captions of each captioner."""
    captioners = [clip["captioner"] for clip in clips if "caption" in clip]
    labels = [listed(clip["labels"]) for clip in clips if "caption" not in clip]
    counts = {"captions_by_captioner": captioners, "clips_by_label": labels}
    return {key: dict(sorted(Counter(found).items())) for key, found in counts.items() if found}


def what_is_seen(run: RunDirectory, config: RunConfig, validation: RunDirectory | None) -> pa.Table:
    """What members will have seen (``schemas.SEEN``): the same for all that are trained now.

    Args:
        run: the run directory.
        config: the training splits.
        validation: the run of the validation participants.
    """
    rows = has_seen.seen_rows(_training_rows(run, config), has_seen.TRAINING)
    if validation is not None:
        clips = validation.clips(TRAINING).to_pylist()
        rows += has_seen.seen_rows(clips, has_seen.VALIDATION)
    return pa.Table.from_pylist(rows, schema=schemas.SEEN)


def print_outlook(plan: Plan, config: RunConfig) -> None:
    """Print how many optimizer steps a training will make, and whether they are few."""
    recipe, rows = plan.job.recipe, plan.rows.count(b"\n")
    processes = config.train.processes
    steps = optimizer_steps(rows, recipe, processes)
    what = "replies" if recipe.grpo else "clips"
    most = "at most " if recipe.packing else ""
    console.print(
        f"  {plan.job.name}: {rows} rows, {recipe.global_batch_size} {what} per optimizer step "
        f"({recipe.accumulation(processes)} passes of {recipe.replicas(processes)} x "
        f"{recipe.batch_size}), {recipe.epochs:g} epochs: {most}{steps} optimizer steps",
        markup=False,
    )
    if recipe.trainer == "megatron":
        console.print(f"  [yellow]warning[/] {plan.job.name}: {NEVER_RUN}")
        if recipe.best_by == "loss":
            told = "Megatron computes no validation loss here: the last checkpoint is taken"
            console.print(f"  [yellow]warning[/] {plan.job.name}: {told}")
    if steps < FEW_STEPS:
        console.print(
            f"  [yellow]warning[/] {plan.job.name} makes fewer than {FEW_STEPS} optimizer steps: "
            "it may learn nothing; more clips, more epochs or a smaller global_batch_size make more"
        )
