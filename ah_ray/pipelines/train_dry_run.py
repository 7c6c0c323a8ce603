"""A dry run of the stage ``train``: what every node would run for each member."""

from __future__ import annotations

from ah_ray import schemas, storage
from ah_ray.attention import attention_kernel
from ah_ray.checkpoints import is_hub_id
from ah_ray.config import RunConfig
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.seen import require_up_to_date
from ah_ray.pipelines.splits import require_named_splits
from ah_ray.pipelines.training_plan import (
    Material,
    Plan,
    captions,
    missing_members,
    plan_member,
    print_outlook,
    training_clips,
)
from ah_ray.pipelines.validate import validation_run
from ah_ray.progress import console
from ah_ray.schemas import Row
from ah_ray.training.checkpoints import complete_checkpoints
from ah_ray.training.megatron_trainer import missing_packages
from ah_ray.training.outlook import memory_text, parameters_text
from ah_ray.training.swift import shell_text


def dry_run(run: RunDirectory, config: RunConfig) -> None:
    """Print what every node would run for each missing member; nothing is started or written.

    Raises:
        ConfigError: as ``train``.
        LeakError: as ``train``.
    """
    require_named_splits(run, config)
    missing = missing_members(run, config)
    require_up_to_date(run, config, [name for name in config.members if name not in missing])
    if not missing:
        console.print("every member is trained")
        return
    material = {name: captions(run, config, name) for name in missing if name in config.tuned}
    if None in material.values():
        clips, _ = training_clips(run, config)
        # They may not be cut yet; which there are does not change the command.
        held_back: list[Row] | None = None if validation_run(run, config) is None else []
        labelled = Material(clips, held_back, schemas.SEEN.empty_table())
    for name in missing:
        if name not in config.tuned:
            console.print(f"  {name}: {config.model_of(name).path} as it is", markup=False)
            continue
        plan = plan_member(run, config, name, material[name] or labelled)
        for one in (*plan.before, plan):
            _print_training(one, config)


def _print_training(plan: Plan, config: RunConfig) -> None:
    from ah_ray.training.launch import node_of, node_paths, node_scratch

    job = plan.job
    print_outlook(plan, config)
    text = parameters_text(job, plan.card.model.path)
    console.print(f"  parameters that are trained: {text}", markup=False)
    if job.recipe.trainer == "megatron":
        text = memory_text(job, config.train.processes, plan.card.model.path)
        console.print(f"  memory of the fullest GPU: {text}", markup=False)
        if missing := missing_packages():
            told = f"{', '.join(missing)} not installed, which Megatron needs"
            console.print(f"[yellow]warning[/] on a node like this machine: {told}")
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
        console.print(f"# {job.name}, node {rank} of {config.train.nodes}", markup=False)
        text = shell_text(job, node, paths)
        text = text.replace("MASTER_PORT=0", "MASTER_PORT='<free port of node 0>'")
        console.print(f"{text}\n", markup=False)
