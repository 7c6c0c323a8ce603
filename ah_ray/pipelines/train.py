"""Train: the manifest of training clips in, one finished member per recipe out.

read manifest -> check for leaks -> rows per member -> Ray Train + MS-Swift -> validate ->
members/NAME

A finished member that was trained on other clips than the manifest has now is refused by name: to
train it again may take days, so whoever wants that deletes it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from rich.table import Table

from ah_ray import schemas, storage, tables
from ah_ray.attention import attention_kernel
from ah_ray.checkpoints import is_hub_id
from ah_ray.cluster import connect
from ah_ray.config import RunConfig
from ah_ray.contents import contents_of
from ah_ray.errors import ConfigError
from ah_ray.evaluation import seen as has_seen
from ah_ray.evaluation.leaks import require_no_leaks
from ah_ray.members import (
    MEMBER_FILE,
    SEEN_FILE,
    MemberCard,
    is_complete,
    model_fingerprint,
    model_place,
    read_member,
    require_settings,
    write_card,
)
from ah_ray.models.architecture import require_model
from ah_ray.pipelines.ledger import require_prepared
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.pipelines.seen import require_up_to_date
from ah_ray.pipelines.splits import require_named_splits
from ah_ray.pipelines.validate import (
    Candidate,
    choose,
    prepare_validation,
    validation_run,
)
from ah_ray.preflight import require, score_wish, train_wish
from ah_ray.progress import console
from ah_ray.schemas import stable_id
from ah_ray.tasks import load_task
from ah_ray.training.arguments import require_known
from ah_ray.training.checkpoints import complete_checkpoints, publish
from ah_ray.training.outlook import FEW_STEPS, parameters_text
from ah_ray.training.rows import (
    RUN,
    balanced,
    evened,
    in_run,
    optimizer_steps,
    training_rows,
    usable_clips,
)
from ah_ray.training.swift import SwiftJob, shell_text
from ah_ray.training.versions import git_commit, package_versions

Row = dict[str, Any]

ADAPTER = "adapter_config.json"  # PEFT's settings

# Scoring takes what is free of the cluster: two validations at once could starve each other.
_ONE_VALIDATION = threading.Lock()


@dataclass(frozen=True)
class Plan:
    """All about the training of one member, before it starts.

    Attributes:
        job: what Ray Train and MS-Swift do.
        card: the member's, but for what comes out of the training.
        rows: the training data set.
        validation_rows: the validation data set; None without validation participants.
    """

    job: SwiftJob
    card: MemberCard
    rows: bytes
    validation_rows: bytes | None


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
    missing = _missing(run, config)
    run.remember({"members": list(config.members)})
    kept = len(config.members) - len(missing)
    note = f", {kept} were trained before" if kept else ""
    console.print(f"[bold]train[/]: {len(missing)} members to do{note}")
    require_no_leaks(run.videos())
    require_up_to_date(run, config, [name for name in config.members if name not in missing])
    if not missing:
        return
    require_model(config.model, "model")
    connect()
    require(train_wish(config.train))
    clips, findings = _training_clips(run, config)
    validation = validation_run(run, config)
    if validation is not None:
        require(score_wish(config.score))
    seen: list[Row] | None = None
    if validation is None:
        console.print("  no validation participants: the last checkpoints become the members")
    else:
        prepare_validation(run, validation, config)
        seen, lost = _usable(validation.clips(TRAINING).to_pylist())
        findings += lost
    _write_findings(run, findings)
    plans = [plan_member(run, config, name, clips, seen) for name in missing]
    has = what_is_seen(run, config, validation)
    started = time.monotonic()
    with ThreadPoolExecutor(config.train.parallel_members) as pool:
        tasks = [pool.submit(_train_member, run, config, plan, validation, has) for plan in plans]
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
    console.print(f"  {len(missing)} members in {time.monotonic() - started:.1f} s")
    if validation is not None:
        _print_summary(run, config)


def dry_run(run: RunDirectory, config: RunConfig) -> None:
    """Print what every node would run for each missing member; nothing is started or written.

    Raises:
        ConfigError: as ``train``.
        LeakError: as ``train``.
    """
    require_named_splits(run, config)
    missing = _missing(run, config)
    require_up_to_date(run, config, [name for name in config.members if name not in missing])
    if not missing:
        console.print("every member is trained")
        return
    from ah_ray.training.launch import node_of, node_paths, node_scratch

    clips, _ = _training_clips(run, config)
    # They may not be cut yet; which there are does not change the command.
    seen: list[Row] | None = None if validation_run(run, config) is None else []
    for name in missing:
        plan = plan_member(run, config, name, clips, seen)
        job = plan.job
        print_outlook(plan, config)
        console.print(f"  parameters that are trained: {parameters_text(job)}", markup=False)
        done = complete_checkpoints(job.checkpoints)
        model = storage.local_path(job.model.path)
        if model is None or is_hub_id(job.model.path):
            local = f"<local copy of {job.model.path}>"
        else:
            local = str(model)
        _, note = attention_kernel(job.model.attention, config.train.use_gpu)
        if note:
            console.print(f"[yellow]warning[/] on a node like this machine: {note}")
        for rank in range(config.train.nodes):
            node = node_of(config.train, rank, "<address of node 0>", 0)
            scratch = node_scratch(job, config.train, rank)
            paths = node_paths(job, scratch, local, done[-1] if done else None)
            console.print(f"# {name}, node {rank} of {config.train.nodes}", markup=False)
            text = shell_text(job, node, paths)
            text = text.replace("MASTER_PORT=0", "MASTER_PORT='<free port of node 0>'")
            console.print(f"{text}\n", markup=False)


def _missing(run: RunDirectory, config: RunConfig) -> list[str]:
    """The members that are still to be trained; the others must fit the config."""
    missing = []
    for name in config.members:
        uri = run.path("members", name)
        if is_complete(uri):
            require_settings(read_member(uri), config)
        else:
            missing.append(name)
            require_known(config.recipe(name), f"recipe of member {name}: extra_args")
    return missing


def _training_clips(run: RunDirectory, config: RunConfig) -> tuple[list[Row], list[Row]]:
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
    _require_sources(clips)
    return clips, findings


def _require_sources(clips: Sequence[Row]) -> None:
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
            "run `ah-ray catalog` and `ah-ray prepare` again",
        )


def _training_rows(run: RunDirectory, config: RunConfig) -> list[Row]:
    """The clips of the training splits."""
    table = run.clips(TRAINING)
    in_training = pc.is_in(table["split"], pa.array(config.train.splits))
    rows: list[Row] = table.filter(in_training).to_pylist()
    return rows


def _usable(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    folders = {row["media_uri"].rsplit("/", 2)[0] for row in rows if row["media_uri"]}
    return usable_clips(rows, {file for folder in folders for file in storage.list_files(folder)})


def _write_findings(run: RunDirectory, findings: list[Row]) -> None:
    """Write the clips that cannot be trained on; those of an earlier call may be mended."""
    path = storage.join(run.findings_path("train"), "part-0.parquet")
    storage.remove(path)
    if findings:
        tables.write_rows(findings, schemas.FINDINGS, path)
        console.print(f"  {len(findings)} clips cannot be trained on: see {path}", markup=False)


def plan_member(
    run: RunDirectory,
    config: RunConfig,
    name: str,
    clips: Sequence[Row],
    seen: Sequence[Row] | None,
) -> Plan:
    """State the training of a member; nothing is written.

    Its folder is called after everything that its checkpoints depend on, so that a training with
    other settings never goes on from them.

    Args:
        run: where it goes.
        config: the recipe and its resources.
        name: of the member.
        clips: the training clips.
        seen: the validation clips; None without validation participants.
    """
    recipe, settings = config.recipe(name), config.members[name]
    task = load_task(config.task)
    prompt = task.prompt(settings.prompt, f"members.{name}.prompt")
    taught = evened(balanced(clips, recipe), config.train.processes)
    how = (task, prompt, recipe, config.media)
    rows = training_rows(in_run(taught, run.uri), *how)
    # A reward has no loss on given replies: such members are chosen by what they answer.
    with_loss = seen is not None and recipe.algorithm == "sft"
    asked = evened(seen or [], config.train.processes)
    validation_rows = training_rows(in_run(asked, run.uri), *how) if with_loss else None
    base = model_fingerprint(config.model.path)
    training = stable_id(
        rows.decode(),
        config.model.model_dump_json().replace(f"{run.uri}/", f"{RUN}/"),
        config.media.model_dump_json(),
        recipe.model_dump_json(),
        json.dumps([with_loss, config.train.nodes, config.train.processes_per_node]),
        base,
    )
    store = run.path("train", name, training)
    card = MemberCard(
        name=name,
        weights="adapter" if recipe.tuner == "lora" else "full",
        task=task.asking(settings.prompt),
        prompt=settings.prompt,
        model=config.model,
        media=config.media,
        segmentation=config.segmentation,
        trained={
            "recipe": recipe.model_dump(mode="json"),
            "base": base,
            "clips": len(clips),
            "clips_by_label": _by_label(clips),
            "rows": len(taught),
            "videos": len({clip["video_id"] for clip in clips}),
            "participants": len({clip["participant_id"] for clip in clips} - {None}),
            "nodes": config.train.nodes,
            "processes": config.train.processes,
            "versions": package_versions(),
            "git_commit": git_commit(),
        },
    )
    job = SwiftJob(
        name=name,
        model=config.model,
        recipe=recipe,
        media=config.media,
        rows=storage.join(store, "rows.jsonl"),
        store=store,
        validation=storage.join(store, "validation.jsonl") if with_loss else None,
        run=run.uri,
        card=card,
    )
    return Plan(job, card, rows, validation_rows)


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
    steps = optimizer_steps(rows, recipe, config.train.processes)
    what = "replies" if recipe.algorithm == "grpo" else "clips"
    most = "at most " if recipe.packing else ""
    console.print(
        f"  {plan.job.name}: {rows} rows, {recipe.global_batch_size} {what} per optimizer step "
        f"({recipe.accumulation(config.train.processes)} passes of {config.train.processes} x "
        f"{recipe.batch_size}), {recipe.epochs:g} epochs: {most}{steps} optimizer steps",
        markup=False,
    )
    if steps < FEW_STEPS:
        console.print(
            f"  [yellow]warning[/] {plan.job.name} makes fewer than {FEW_STEPS} optimizer steps: "
            "it may learn nothing; more clips, more epochs or a smaller global_batch_size make more"
        )


def _by_label(clips: Sequence[Row]) -> dict[str, int]:
    return {str(k): v for k, v in sorted(Counter(clip["label"] for clip in clips).items())}


def _train_member(
    run: RunDirectory,
    config: RunConfig,
    plan: Plan,
    validation: RunDirectory | None,
    has: pa.Table,
) -> None:
    """Train one member, choose its checkpoint, and make it appear with what it ``has`` seen."""
    from ah_ray.training.launch import fit  # torch with it: seconds, when there is work

    job = plan.job
    print_outlook(plan, config)
    storage.write_bytes(job.rows, plan.rows)
    if job.validation and plan.validation_rows is not None:
        storage.write_bytes(job.validation, plan.validation_rows)
    fit(job, config.train)
    checkpoints = complete_checkpoints(job.checkpoints)
    candidates = [Candidate(checkpoints[-1], {})]
    if validation is not None:
        with _ONE_VALIDATION:
            candidates = choose(validation, plan.card, job.store, checkpoints, config)
    facts = json.loads(storage.read_bytes(job.finished))
    chosen = candidates[0]
    card = plan.card.model_copy(
        update={
            "model": plan.card.model.model_copy(update={"attention": facts["attention"]}),
            "trained": plan.card.trained
            | {
                "seconds": facts["seconds"],
                "checkpoint": _described(chosen),
                "checkpoints": [_described(candidate) for candidate in candidates],
            },
        }
    )
    uri = run.path("members", job.name)
    files = {
        SEEN_FILE: tables.parquet_bytes(has),
        MEMBER_FILE: write_card(card, uri, run.root),
    }
    if card.weights == "adapter":  # PEFT names the base by where it lay on the node
        settings = json.loads(storage.read_bytes(storage.join(chosen.checkpoint.uri, ADAPTER)))
        settings["base_model_name_or_path"] = model_place(card, uri, run.root)
        files[ADAPTER] = json.dumps(settings, indent=2).encode()
    publish(chosen.checkpoint, uri, files, MEMBER_FILE)
    storage.remove(job.checkpoints)  # with the states of their optimizers: large, and of no use


def _described(candidate: Candidate) -> dict[str, Any]:
    """A checkpoint as ``member.yaml`` has it."""
    checkpoint, metrics = candidate
    values = checkpoint._asdict()
    values.pop("uri")
    return values | {"validation": dict(metrics)}


def _print_summary(run: RunDirectory, config: RunConfig) -> None:
    """A table like the paper's Table II, of the validation participants."""
    table = Table(
        "", "fine-tuning", "epochs", "step", "loss", "accuracy", "macro F1", "AP", "n",
        title="members on validation participants (loss: clips, the rest: videos)",
    )  # fmt: skip
    for name in config.members:
        trained = read_member(run.path("members", name)).card.trained
        recipe, chosen = trained["recipe"], trained["checkpoint"]
        values = chosen["validation"]
        table.add_row(
            name,
            f"{recipe['tuner']} {recipe['algorithm']}",
            f"{recipe['epochs']:g}",
            str(chosen["step"]),
            _cell(chosen["eval_loss"], 4),
            *(_cell(values.get(key)) for key in ("accuracy", "macro_f1", "average_precision")),
            str(values.get("n", "-")),
        )
    console.print(table)


def _cell(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
