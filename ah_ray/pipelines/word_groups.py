"""Word groups: a text model says which of the words that were said about a video mean the same.

    verdicts of a run -> the words of each labelled video -> score -> groups.json

The words of a video are a clip of a run of its own, which has nothing but text. So the model is
asked through the pools, a batch of videos whose words are as before is not asked again, and the
same answers give the same file to the byte: a score by these groups replays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from ah_ray import schemas, storage, tables
from ah_ray.errors import ConfigError
from ah_ray.lineage import fingerprint
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MemberCard, member_fingerprint, read_member
from ah_ray.models.architecture import require_media, require_model
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.pipelines.train_member import write_base
from ah_ray.progress import console
from ah_ray.tasks import SUBTITLE, load_task
from ah_ray.tasks.lists import listed
from ah_ray.words.ask import Groups, GroupsConfig, groups_in, to_ask

GROUPS_FILE = "groups.json"
_GROUPER = "grouper"
_TEXT_ALONE = MediaConfig(picture="none", audio="none")


def group_words(run: RunDirectory, of: RunDirectory, settings: GroupsConfig) -> None:
    """Ask about the words of the labelled videos of a run, and write ``groups.json``.

    Args:
        run: a run of its own, which keeps what was asked and answered.
        of: the run whose verdicts and labels hold the words.
        settings: who is asked.

    Raises:
        ConfigError: no labelled video of ``of`` has a verdict, or the model cannot be asked.
    """
    words = _words(of)
    card = _card(settings)
    _write_clips(run, words)
    storage.remove(run.path(GROUPS_FILE))
    write_base(run, card)
    member = read_member(run.path("members", _GROUPER))
    console.print(f"[bold]groups[/]: of the words of {len(words)} videos, by {card.model.path}")
    score(run, [member], settings.score)
    replies = {
        row["video_id"]: row["text"]
        for row in run.answers(
            {_GROUPER: member_fingerprint(member)}, run.clips(SCORING)
        ).to_pylist()
        if row["status"] == "ok"
    }
    groups: dict[str, Groups] = {}
    unread = 0
    for video_id, of_video in sorted(words.items()):
        alone = tuple((word,) for word in of_video)
        stated = groups_in(replies.get(video_id, ""), of_video)
        unread += stated is None and _is_asked(of_video)
        groups[video_id] = alone if stated is None else stated
    content = {"complete": True, "videos": groups}
    storage.write_bytes(
        run.path(GROUPS_FILE), (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
    )
    console.print(
        f"  {run.path(GROUPS_FILE)}: {sum(map(len, words.values()))} words in "
        f"{sum(map(len, groups.values()))} groups; of {unread} videos no groups could be read, "
        "their words stand alone",
        markup=False,
    )


def _words(of: RunDirectory) -> dict[str, list[str]]:
    """What the labels and the members say of each labelled video that has a verdict."""
    videos = of.videos()
    videos = videos.filter(pc.is_valid(videos["labels"]))
    truth = dict(zip(videos["video_id"].to_pylist(), videos["labels"].to_pylist(), strict=True))
    verdicts = of.verdicts().select(["video_id", "members"]).to_pylist()
    words = {
        row["video_id"]: to_ask(
            [truth[row["video_id"]], *(member["labels"] or () for member in row["members"])]
        )
        for row in verdicts
        if row["video_id"] in truth
    }
    if not words:
        problem = "no labelled video has a verdict"
        raise ConfigError(
            of.path("verdicts"), problem, "name a run that was reduced and has labels"
        )
    return words


def _card(settings: GroupsConfig) -> MemberCard:
    """Who is asked.

    Raises:
        ConfigError: the model takes no text alone, or the prompt has no place for the words.
    """
    question = load_task(settings.task).question(settings.prompt, "prompt")
    if not question.prompt.has(SUBTITLE) or question.answer.votes:
        problem = f"{settings.prompt} of {settings.task} is no question about words"
        fix = f"name one with {{{SUBTITLE}}} in its place for the words, whose answer is text"
        raise ConfigError("prompt", problem, fix)
    require_media(settings.model, _TEXT_ALONE, "model")
    require_model(settings.model, _TEXT_ALONE, "model")
    return MemberCard(
        name=_GROUPER,
        weights="base",
        question=question,
        max_new_tokens=settings.max_new_tokens,
        model=settings.model,
        media=_TEXT_ALONE,
        segmentation=SegmentationConfig(),
    )


def _write_clips(run: RunDirectory, words: Mapping[str, list[str]]) -> None:
    """The manifest: the words of each video as what is said in its one clip."""
    rows: list[dict[str, Any]] = [
        {
            "clip_id": schemas.stable_id(video_id, *of_video),
            "video_id": video_id,
            "source_uri": "",
            "content": fingerprint(of_video),
            "start_s": 0.0,
            "end_s": 0.0,
            "subtitle": listed(of_video),
        }
        for video_id, of_video in words.items()
        if _is_asked(of_video)
    ]
    path = run.clips_path(SCORING)
    storage.remove(path)
    tables.write_rows(rows, schemas.CLIPS, storage.join(path, "part-0.parquet"))


def _is_asked(words: list[str]) -> bool:
    return len(words) > 1  # one alone is a group
