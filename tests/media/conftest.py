from pathlib import Path

import numpy as np
import pytest

from tests.media.coded_video import picture, ramp, run_ffmpeg, steady, tone, write_video


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session")
def ramped(folder) -> Path:
    """Twelve seconds at 10 Hz; the sound's value is the time."""
    return write_video(folder / "ramped.mov", steady(12, 10), ramp(12))


@pytest.fixture(scope="session")
def toned(folder) -> Path:
    """Twelve seconds at 29.97 Hz with AAC, as cameras write it; a tone from 2 s on."""
    return write_video(
        folder / "toned.mp4", steady(12, 30_000 / 1001), tone(12, from_s=2.0), sound_codec="aac"
    )


@pytest.fixture(scope="session")
def silent(folder) -> Path:
    """Six seconds at 10 Hz without a sound track."""
    return write_video(folder / "silent.mp4", steady(6, 10))


@pytest.fixture(scope="session")
def faststart(folder) -> Path:
    """Like ``ramped``, with its index at the front."""
    options = {"movflags": "+faststart"}
    return write_video(
        folder / "faststart.mov", steady(12, 10), ramp(12), container_options=options
    )


@pytest.fixture(scope="session")
def rotated(folder):
    """A video whose pixels lie ``degrees`` clockwise and whose metadata says to turn it back."""

    def make(degrees: int) -> Path:
        stored, path = folder / f"stored{degrees}.mp4", folder / f"rotated{degrees}.mp4"
        if not path.exists():
            times = steady(3, 10)
            write_video(stored, times, draw=lambda n: np.rot90(picture(n), -degrees // 90))
            angle = ["-display_rotation", str(degrees)]
            run_ffmpeg(*angle, "-i", str(stored), "-c", "copy", str(path))
        return path

    return make
