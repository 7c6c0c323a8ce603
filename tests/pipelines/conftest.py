"""What is scored: a small archive, and a member."""

from pathlib import Path

import pytest

from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import Member, MemberCard
from ah_ray.models.config import ModelConfig
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
