"""A small archive in the format of BAH, with every oddity that the reader knows."""

import shutil
from pathlib import Path

import pytest

from ah_ray.catalog import CatalogEntry
from ah_ray.catalog.entry import BahFiles

GOLDEN = Path(__file__).parent / "golden"
ENTRY = CatalogEntry(
    title="golden",
    reader="bah",
    files=BahFiles(
        annotations="video_annotation_transcript*.yaml",
        splits="dataset-splits/video-level/BAH_DB/split-0",
        metadata="meta_data.yml",
    ),
)

#: What ``Videos/`` holds; the first name has the spelling of the split files.
FILES = (
    "101/Visite_1/101_Question_1_2024-08-22 12-11-55_Video.mp4",
    "101/Visite_1/101_Question_2_2024-08-22_12-15-10_Video.mp4",
    "101/Visite_1/101_Question_3_2024-08-22_12-20-00_Video.mp4",
    "102/Visite_1/102_Question_1_2024-09-01_08-00-00_Video.mp4",
    "102/Visite_1/102_Question_2_2024-09-01_08-02-00_Video.mp4",
    "102/Visite_1/102_Question_3_2024-09-01_08-04-00_Video.mp4",
    "102/Visite_1/102_Question_4_2024-09-01_08-06-00_Video.mp4",
    "103/Visite_1/103_Question_1_2024-09-02_09-00-00_Video.mp4",
    "103/Visite_1/103_Question_2_2024-09-02_09-02-00_Video.mp4",
    "103/Visite_1/103_Question_3_2024-09-02_09-04-00_Video.mp4",
    "103/Visite_1/103_Question_4_2024-09-02_09-06-00_Video.mp4",
    "103/Visite_1/103_Question_5_2024-09-02_09-08-00_Video.mp4",
    "104/Visite_1/104_Question_1_2024-09-03_10-00-00_Video.mp4",
    "104/Visite_1/104_Question_2_2024-09-03_10-02-00_Video.mp4",
    "106/Visite_1/106_Question_1_2024-09-05_12-00-00_Video.mp4",
    "107/Visite_1/107_Question_1_2024-09-06_13-00-00_Video.mp4",
    "108/Visite_1/108_Question_1_2024-09-07_14-00-00_Video.mp4",
    "stray.mp4",
    "notes.txt",
)


@pytest.fixture
def entry() -> CatalogEntry:
    return ENTRY


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "inner" / "archive"
    shutil.copytree(GOLDEN, root)
    for name in FILES:
        path = root / "Videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "secret.mp4").touch()  # what Videos/../../../secret.mp4 would reach
    return root
