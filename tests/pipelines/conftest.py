"""What is scored: a small archive, and a member."""

from pathlib import Path

import pytest

from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MEMBER_FILE, Member, MemberCard, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.tasks import Prompt, Question
from ah_ray.tasks.answers import Labels, Text
from ah_ray.toy.archive import ArchiveSpec, write_archive


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("archive") / "archive"
    write_archive(root, ArchiveSpec(1, 1, 1, questions=1, max_seconds=10))
    return sorted(root.rglob("*.mp4"))


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Member:
    """A member whose checkpoint no light engine loads."""
    folder = tmp_path_factory.mktemp("members") / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    card = MemberCard(
        name="m", weights="full", task="cue_conflict", prompt="short",
        model=ModelConfig(path=str(folder)),
        media=MediaConfig(fps=1, min_frames=2, max_frames=4, min_pixels=1024, max_pixels=8192),
        segmentation=SegmentationConfig(clip_s=2.5, min_tail_s=1.5),
    )  # fmt: skip
    return Member(str(folder), card)


@pytest.fixture(scope="module")
def words(member: Member, tmp_path_factory: pytest.TempPathFactory) -> list[Member]:
    """Members that answer with words: one looks itself, one reads what a third one writes."""
    folder = tmp_path_factory.mktemp("words") / "members"
    blind = member.card.media.model_copy(update={"picture": "none", "audio": "none"})
    listed, text = Labels(kind="labels"), Text(kind="text")

    def question(answer: Labels | Text, user: str) -> Question:
        return Question(name="words", answer=answer, prompt=Prompt(system="", user=user))

    described = question(text, "What is to be seen?")
    named = question(listed, "Somebody saw {describer}. Which words are in it?")
    reading = {"question": named, "media": blind, "reads": ("describer",)}
    changes = {
        "describer": {"question": described},
        "looking": {"question": question(listed, "Which words?")},
        "reading": reading,
    }
    for name, values in changes.items():
        card = member.card.model_copy(update={"name": name} | values)
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
        (folder / name / MEMBER_FILE).write_bytes(write_card(card))
    return [read_member(str(folder / name)) for name in changes]
