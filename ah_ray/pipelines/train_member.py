"""From a plan to a member: train it, choose its checkpoint, and make it appear with its card."""

from __future__ import annotations

import json
import threading
from typing import Any

from rich.table import Table

from ah_ray import schemas, storage, tables
from ah_ray.config import RunConfig
from ah_ray.evaluation.metrics import HEADINGS
from ah_ray.members import (
    MEMBER_FILE,
    SEEN_FILE,
    MemberCard,
    model_fingerprint,
    model_place,
    read_member,
    write_card,
)
from ah_ray.model_card import README_FILE, model_card
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.train_stages import (
    fit_plan,
    stage_facts,
    train_before,
    whole_checkpoints,
)
from ah_ray.pipelines.training_plan import Plan
from ah_ray.pipelines.validate import Candidate, choose
from ah_ray.progress import console
from ah_ray.training.checkpoints import best, complete_checkpoints, publish

_LEFT_OUT = {"f1", "bah_average_precision", "undecided", "coverage"}  # of the table
ADAPTER = "adapter_config.json"  # PEFT's settings

# Scoring takes what is free of the cluster: two validations at once could starve each other.
_ONE_VALIDATION = threading.Lock()


def train_member(
    run: RunDirectory,
    config: RunConfig,
    plan: Plan,
    validation: RunDirectory | None,
) -> None:
    """Train one member, choose its checkpoint, and make it appear with its card.

    Args:
        run: the run directory.
        config: the resources.
        plan: of the member.
        validation: the run of the participants whose videos choose; None to go by the loss, or
            where there is none, to take the last checkpoint.
    """
    job = plan.job
    stages = train_before(plan, config)
    fit_plan(plan, config)
    checkpoints = complete_checkpoints(job.checkpoints)
    last = checkpoints[-1] if plan.validation_rows is None else best(checkpoints)
    if plan.stage is not None:
        by_loss = validation is None or config.recipe(plan.card.name).best_by == "loss"
        checkpoints = whole_checkpoints(plan, [last] if by_loss else checkpoints)
        last = next(one for one in checkpoints if one.step == last.step)
    candidates = [Candidate(last, {})]
    if validation is not None:
        with _ONE_VALIDATION:
            candidates = choose(validation, plan.card, job.store, checkpoints, config)
    facts = json.loads(storage.read_bytes(job.finished))
    chosen = candidates[0]
    if plan.stage is not None:
        stages.append(stage_facts(plan, chosen.checkpoint))
    card = plan.card.model_copy(
        update={
            "model": plan.card.model.model_copy(update={"attention": facts["attention"]}),
            "trained": plan.card.trained
            | {
                "seconds": facts["seconds"],
                "checkpoint": _described(chosen),
                "checkpoints": [_described(candidate) for candidate in candidates],
            }
            | ({"stages": stages} if stages else {}),
        }
    )
    uri = run.path("members", plan.card.name)
    files = {
        SEEN_FILE: tables.parquet_bytes(plan.seen),
        MEMBER_FILE: write_card(card, uri, run.root),
        README_FILE: model_card(card),
    }
    if card.weights == "adapter":  # PEFT names the base by where it lay on the node
        settings = json.loads(storage.read_bytes(storage.join(chosen.checkpoint.uri, ADAPTER)))
        settings["base_model_name_or_path"] = model_place(card, uri, run.root)
        files[ADAPTER] = json.dumps(settings, indent=2).encode()
    publish(chosen.checkpoint, uri, files, MEMBER_FILE)
    storage.remove(job.checkpoints)  # with the states of their optimizers: large, and of no use
    storage.remove(storage.join(job.store, "merged"))


def _described(candidate: Candidate) -> dict[str, Any]:
    """A checkpoint as ``member.yaml`` has it."""
    checkpoint, metrics = candidate
    values = checkpoint._asdict()
    values.pop("uri")
    return values | {"validation": dict(metrics)}


def print_summary(run: RunDirectory, config: RunConfig) -> None:
    """A table like the paper's Table II, of the validation participants."""
    members = [read_member(run.path("members", name)).card for name in config.members]
    tuned = [card for card in members if "checkpoint" in card.trained]
    known = {key for card in tuned for key in card.trained["checkpoint"]["validation"]}
    shown = {key: text for key, text in HEADINGS.items() if key in known - _LEFT_OUT}
    table = Table(
        "", "fine-tuning", "epochs", "step", "loss", *shown.values(),
        title="members on validation participants (loss: clips, the rest: videos)",
    )  # fmt: skip
    for card in tuned:
        recipe, chosen = card.recipe, card.trained["checkpoint"]
        values = chosen["validation"]
        table.add_row(
            card.name,
            f"{recipe['tuner']} {recipe['algorithm']}",
            f"{recipe['epochs']:g}",
            str(chosen["step"]),
            _cell(chosen["eval_loss"], 4),
            *(_cell(values.get(key)) for key in shown),
        )
    console.print(table)


def _cell(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def write_base(run: RunDirectory, card: MemberCard) -> None:
    """Make a base model as it is a member of the run: a card, and nothing that it has seen of it.

    Args:
        run: the run directory.
        card: of the member.
    """
    uri = run.path("members", card.name)
    card = card.model_copy(update={"trained": {"base": model_fingerprint(card.model.path)}})
    tables.write_table(schemas.SEEN.empty_table(), storage.join(uri, SEEN_FILE))
    storage.write_bytes(storage.join(uri, README_FILE), model_card(card))
    storage.write_bytes(storage.join(uri, MEMBER_FILE), write_card(card, uri, run.root))
