"""Runs to report on: one of each kind of task."""

from pathlib import Path

import pytest

from ah_ray.pipelines.report import report
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.report.config import ReportConfig
from tests.report.making import HOSTILE, make_run, write_video


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """Runs by kind, each with its report; that of ``choice`` has videos and pictures of some."""
    folder = tmp_path_factory.mktemp("runs")
    real = ["real/a.mp4", "real/b.mp4"]
    for name in real:
        write_video(folder / "choice" / "archive" / name)
    plain = [f"visit {n % 3}/{n:02}.mp4" for n in range(40)]
    made = {
        "choice": make_run(folder / "choice", [*real, HOSTILE, *plain, "no.mp4"], lost=["no.mp4"]),
        "unlabelled": make_run(folder / "unlabelled", [HOSTILE, *plain], labelled=False),
        "words": make_run(
            folder / "words", [HOSTILE, *plain], "emotion_labels", writers=["describer"]
        ),
        "pictures": make_run(folder / "pictures", ["a b.jpg", "c.jpg"], labelled=False),
        "text": make_run(folder / "text", [HOSTILE, *plain], "captions", [], ["one", "other"]),
    }
    write_video(folder / "pictures" / "archive" / "a b.jpg")
    for kind, run in made.items():
        shown = {"choice": len(real) + len(plain), "pictures": 2}.get(kind, 0)
        report(run, ReportConfig(thumbnails=shown))
    return made


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A small run of one's own, without a report."""
    return make_run(tmp_path / "run", ["a.mp4", "b.mp4", "c.mp4", "d.mp4"], lost=["d.mp4"])
