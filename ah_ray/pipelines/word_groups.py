"""Word groups: a text model says which of the words that were said about a video mean the same.

    verdicts of a run -> the words of each labelled video -> score -> groups.json

The same answers give the same file to the byte: a score by these groups replays.
"""

from __future__ import annotations

import json

import pyarrow.compute as pc

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.lineage import fingerprint
from ah_ray.members import MemberCard
from ah_ray.pipelines.asking_texts import Asked, ask_about, question_about_texts, text_card
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import console
from ah_ray.schemas import stable_id
from ah_ray.tasks.lists import listed
from ah_ray.words.ask import Groups, GroupsConfig, groups_in, to_ask

GROUPS_FILE = "groups.json"
_GROUPER = "grouper"


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
    storage.remove(run.path(GROUPS_FILE))
    console.print(f"[bold]groups[/]: of the words of {len(words)} videos, by {card.model.path}")
    asked = [
        Asked(stable_id(video, *of_video), video, fingerprint(of_video), listed(of_video))
        for video, of_video in words.items()
        if _is_asked(of_video)
    ]
    _, answers = ask_about(run, card, asked, settings.score)
    replies = {row["video_id"]: row["text"] for row in answers if row["status"] == "ok"}
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
    question = question_about_texts(settings.task, settings.prompt)
    if question.answer.votes:
        problem = f"{settings.prompt} of {settings.task} is no question about words"
        raise ConfigError("prompt", problem, "name one whose answer is text")
    longest = settings.max_new_tokens
    return text_card(_GROUPER, settings.model, question, max_new_tokens=longest)


def _is_asked(words: list[str]) -> bool:
    return len(words) > 1  # one alone is a group
