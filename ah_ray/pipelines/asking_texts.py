"""A text model is asked about texts, through the pools: they are the clips of a run of its own.

So what was answered is kept, a batch whose texts are as before is not asked again, and the same
answers give the same file: what is made of them can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ah_ray import schemas, storage, tables
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import Member, MemberCard, member_fingerprint, read_member
from ah_ray.models.architecture import require_media, require_model
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.pipelines.train_member import write_base
from ah_ray.schemas import Row
from ah_ray.tasks import SUBTITLE, Question, load_task

_TEXT_ALONE = MediaConfig(picture="none", audio="none")


class Asked(NamedTuple):
    """What is asked about.

    Attributes:
        clip_id: of the text.
        video_id: of the video that it is about.
        content: hash of it.
        text: stands in the prompt in the place of a subtitle.
    """

    clip_id: str
    video_id: str
    content: str
    text: str


def question_about_texts(task: str, prompt: str) -> Question:
    """A question of a task whose prompt has a place for a text.

    Raises:
        ConfigError: it has none.
    """
    question = load_task(task).question(prompt, "prompt")
    if not question.prompt.has(SUBTITLE):
        problem = f"{prompt} of {task} has no place for a text"
        raise ConfigError("prompt", problem, f"name one with {{{SUBTITLE}}} where it shall stand")
    return question


def text_card(name: str, model: ModelConfig, question: Question, **values: Any) -> MemberCard:
    """The card of who is asked, of a base model as it is.

    Raises:
        ConfigError: the model takes no text alone.
    """
    require_media(model, _TEXT_ALONE, "model")
    require_model(model, _TEXT_ALONE, "model")
    return MemberCard(
        name=name,
        weights="base",
        question=question,
        model=model,
        media=_TEXT_ALONE,
        segmentation=SegmentationConfig(),
        **values,
    )


def ask_about(
    run: RunDirectory, card: MemberCard, texts: Sequence[Asked], settings: ScoreConfig
) -> tuple[Member, list[Row]]:
    """Who was asked, and its answers (``schemas.PREDICTIONS``).

    Args:
        run: a run of its own, which keeps what was asked and answered.
        card: who is asked.
        texts: about which.
        settings: the engine and its resources.
    """
    rows: list[Row] = [
        {
            "clip_id": one.clip_id,
            "video_id": one.video_id,
            "source_uri": "",
            "content": one.content,
            "start_s": 0.0,
            "end_s": 0.0,
            "subtitle": one.text,
        }
        for one in texts
    ]
    path = run.clips_path(SCORING)
    storage.remove(path)
    tables.write_rows(rows, schemas.CLIPS, storage.join(path, "part-0.parquet"))
    write_base(run, card)
    member = read_member(run.path("members", card.name))
    score(run, [member], settings)
    clips = run.clips(SCORING)
    answers: list[Row] = run.answers({card.name: member_fingerprint(member)}, clips).to_pylist()
    return member, answers
