"""A member's ``README.md``: the form of a Hugging Face model card, from what its card states.

Counts and settings, and nothing that names a person or a place: who publishes a member publishes
this with it.
"""

from __future__ import annotations

from typing import Any

from ah_ray.checkpoints import is_hub_id
from ah_ray.evaluation.metrics import HEADINGS
from ah_ray.members import MemberCard

README_FILE = "README.md"

_COUNTS = ("clips", "videos", "participants", "rows")
_USE = """\
For research, and for digital-health work that the people in the videos have consented to. An answer
is a statistical guess about what a clip shows: it is no diagnosis, says nothing about what somebody
thinks or will do, and must not alone decide about a person. A member knows the people, language,
camera and questions that it was trained on; try it on labelled videos of yours, group by group,
before you rely on it. Whoever has the weights may be able to tell who was trained on.
"""


def model_card(card: MemberCard) -> bytes:
    """The card in Markdown, with the metadata that hubs read.

    Args:
        card: of a member that is trained, or of a base model as it is.
    """
    from huggingface_hub import ModelCard, ModelCardData  # takes a second

    base = card.model.path if is_hub_id(card.model.path) else None
    data = ModelCardData(
        base_model=base,
        library_name="peft" if card.weights == "adapter" else "transformers",
        tags=["ah_ray", card.question.name, card.model.architecture],
    )
    text = "\n\n".join([f"# {card.name}", _is(card, base), *_training(card), "## Use", _USE])
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")).encode()


def _is(card: MemberCard, base: str | None) -> str:
    kinds = {
        "adapter": "An adapter on", "full": "Weights tuned from", "base": "The unchanged weights of"
    }  # fmt: skip
    named = base or f"a model of the architecture {card.model.architecture}"
    options = card.question.answer.options
    said = f"answers with one of {', '.join(options)}" if options else "answers in words"
    system, user = card.question.prompt.system, card.question.prompt.user
    asked = "\n".join(f"    {line}" for line in f"{system}\n\n{user}".splitlines())
    return (
        f"{kinds.get(card.weights, 'Base rates of')} {named}, which {said}. It is a member of an "
        f"ensemble of ah_ray: `member.yaml` has all that scoring must do as training did. It is "
        f"asked:\n\n{asked}"
    )


def _training(card: MemberCard) -> list[str]:
    trained = card.trained
    if not card.recipe:
        return ["## Training", "None: the base model as it is."]
    lines = [f"- {key}: {trained[key]:,}" for key in _COUNTS if key in trained]
    for key in ("clips_by_label", "captions_by_captioner"):
        counts = ", ".join(f"{name} {count:,}" for name, count in trained.get(key, {}).items())
        lines += [f"- {key.replace('_', ' ')}: {counts}"] if counts else []
    lines += [f"- {key}: {_shown(value)}" for key, value in sorted(card.recipe.items())]
    parts = ["## Training", "\n".join(lines)]
    chosen = trained.get("checkpoint", {})
    metrics = chosen.get("validation", {})
    rows = [f"| {text} | {metrics[key]:.3f} |" for key, text in HEADINGS.items()
            if isinstance(metrics.get(key), float)]  # fmt: skip
    if chosen.get("eval_loss") is not None:
        rows.append(f"| loss of clips | {chosen['eval_loss']:.4f} |")
    if rows:
        about = (
            "Videos of people that it was not trained on, by which its checkpoint (step "
            f"{chosen['step']}) was chosen; n = {metrics.get('n', 'unknown')}. Of other people "
            "nothing is measured here."
        )
        parts += ["## Validation", about, "\n".join(["| metric | value |", "|---|---|", *rows])]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(trained.get("versions", {}).items()))
    return [*parts, f"Made with {versions}."] if versions else parts


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
