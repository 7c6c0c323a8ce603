"""A member that is trained in stages: each begins with the weights that the one before has left.

What a stage leaves lies under ``stages/MEMBER/STAGE`` of the run, an ordinary checkpoint folder, so
that it can be scored beside the member (``model.path``). ``stage.json`` is written last and says
which training it is of; a stage whose folder is of another training is trained again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from ah_ray import storage
from ah_ray.checkpoints import is_hub_id, local_checkpoint
from ah_ray.config import RunConfig
from ah_ray.errors import ConfigError
from ah_ray.members import STAGE_FILE, model_fingerprint
from ah_ray.models.architecture import find_architecture
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.training_plan import Plan, print_outlook
from ah_ray.progress import console
from ah_ray.training.checkpoints import Checkpoint, best, complete_checkpoints, publish
from ah_ray.training.outlook import trained_parameters
from ah_ray.training.parts import LANGUAGE, moved


def require_trainable(config: RunConfig, name: str) -> None:
    """Fail when a stage of a member would train nothing of its checkpoint.

    Nothing is asked of a hub: its models are looked at when they are here.

    Raises:
        ConfigError: naming the stage and the part.
    """
    from ah_ray.training.adapters import weights_of

    recipe, model = config.recipe(name), config.model_of(name)
    if not recipe.stages or is_hub_id(model.path):
        return
    weights, architecture = weights_of(model.path), find_architecture(model.architecture)
    for number, stage in enumerate(recipe.stages):
        where = f"recipes.{config.members[name].recipe}.stages.{number}.trains"
        for part in stage.trains:
            lora = stage.lora if part == LANGUAGE else None
            alone = recipe.of_stage(stage.model_copy(update={"lora": lora}))
            if not trained_parameters(weights, alone, architecture, (part,)):
                problem = f"stage {stage.name} trains nothing of {part} in {model.path}"
                raise ConfigError(where, problem, "name a part that the checkpoint has")


def train_before(plan: Plan, config: RunConfig) -> list[dict[str, Any]]:
    """Train all stages of a plan but the last, unless that is done; what came of each."""
    return [_train_stage(stage, config) for stage in plan.before]


def _train_stage(plan: Plan, config: RunConfig) -> dict[str, Any]:
    file = storage.join(plan.result, STAGE_FILE)
    training = plan.job.store.rsplit("/", 1)[-1]
    stated = json.loads(storage.read_bytes(file)) if storage.exists(file) else {}
    facts: dict[str, Any]
    if stated.get("training") == training:
        console.print(f"  {plan.job.name}: was trained before", markup=False)
        facts = stated
    else:
        fit_plan(plan, config)
        done = complete_checkpoints(plan.job.checkpoints)
        last = [done[-1] if plan.validation_rows is None else best(done)]
        (chosen,) = whole_checkpoints(plan, last)
        facts = {"training": training} | stage_facts(plan, chosen)
        publish(chosen, plan.result, {STAGE_FILE: json.dumps(facts).encode()}, STAGE_FILE)
    weights = model_fingerprint(plan.result)
    if facts.setdefault("weights", weights) != weights:
        raise ConfigError(
            plan.result,
            f"has other weights than {plan.job.name} left there",
            "bring them back, or delete the folder to train the stage again",
        )
    # Who was killed may not have got to these.
    storage.write_bytes(file, json.dumps(facts).encode())
    _clear(plan)
    return facts


def _clear(plan: Plan) -> None:
    """Delete what nobody needs once the weights are where they stay."""
    storage.remove(plan.job.checkpoints)
    storage.remove(_merged(plan))


def fit_plan(plan: Plan, config: RunConfig) -> None:
    """Run the training of a plan to its end, unless it got there before."""
    from ah_ray.training.launch import fit  # torch with it: seconds, when there is work

    job = plan.job
    print_outlook(plan, config)
    storage.write_bytes(job.rows, plan.rows)
    if job.validation and plan.validation_rows is not None:
        storage.write_bytes(job.validation, plan.validation_rows)
    fit(job, config.train)


def stage_facts(plan: Plan, chosen: Checkpoint) -> dict[str, Any]:
    """What ``member.yaml`` says of a stage.

    Args:
        plan: of the stage.
        chosen: the checkpoint that became of it, whole.
    """
    assert plan.stage is not None
    finished = json.loads(storage.read_bytes(plan.job.finished))
    return {
        "name": plan.stage.name,
        "trains": list(plan.stage.trains),
        "rows": plan.rows.count(b"\n"),
        "seconds": finished["seconds"],
        "step": chosen.step,
        "loss": chosen.loss,
        "eval_loss": chosen.eval_loss,
        "moved": ray.get(
            ray.remote(_moved).remote(plan.job.model.path, chosen.uri, plan.job.model.architecture)
        ),
    }


def _moved(before: str, after: str, architecture: str) -> dict[str, dict[str, Any]]:
    folders = (local_checkpoint(before), local_checkpoint(after))
    return moved(*folders, find_architecture(architecture))


def whole_checkpoints(plan: Plan, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints of a stage as folders with all weights; adapters are merged."""
    if plan.job.recipe.lora is None:
        return list(checkpoints)
    merge = ray.remote(_merge)
    made = []
    for checkpoint in checkpoints:
        target = storage.join(_merged(plan), f"checkpoint-{checkpoint.step}")
        if not storage.exists(storage.join(target, "config.json")):
            ray.get(merge.remote(plan.job.model, checkpoint.uri, target))
        made.append(checkpoint._replace(uri=target))
    return made


def _merged(plan: Plan) -> str:
    return storage.join(plan.job.store, "merged")


def _merge(model: ModelConfig, adapter: str, target: str) -> None:
    from ah_ray.engines.merge import merge_adapter

    with tempfile.TemporaryDirectory(prefix="ah_ray_merge_") as scratch:
        folder = Path(scratch, "merged")
        base = str(local_checkpoint(model.path))
        merge_adapter(base, storage.localize(adapter), model, folder)
        storage.upload_folder(folder, target, last="config.json")
