"""Long videos: clips are sought, not read up to, in bounded memory, and are the same clips."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ah_ray.media import cut as cutting
from ah_ray.media import decode as decoding
from ah_ray.media import reading
from ah_ray.media.cut import cut
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span
from tests.media.coded_video import MEDIA, numbers_of, run_ffmpeg, steady, tone, write_video

SPANS = [Span(2.0, 4.5), Span(41.3, 44.0), Span(57.25, 59.9), Span(80.0, 83.5), Span(95.0, 99.9)]


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A hundred seconds at 10 Hz, with a tone that comes and goes."""
    sound = tone(100) * (np.arange(100 * 44_100) // 30_000 % 2).astype(np.int16)
    return write_video(tmp_path_factory.mktemp("long") / "long.mkv", steady(100, 10), sound)


KINDS = {
    "mp4": ["-c:v", "libx264", "-g", "250", "-c:a", "aac"],
    "mkv": ["-c:v", "libx264", "-g", "400", "-c:a", "flac"],
    "ts": ["-c:v", "libx264", "-g", "250", "-c:a", "aac"],
    "avi": ["-c:v", "mpeg4", "-g", "250", "-c:a", "libmp3lame"],
    "webm": ["-c:v", "libvpx", "-deadline", "realtime", "-g", "300", "-c:a", "libopus"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sought_clip_is_the_one_that_is_read_up_to(long, tmp_path, monkeypatch, kind):
    path = tmp_path / f"long.{kind}"
    run_ffmpeg("-i", str(long), *KINDS[kind], str(path))
    together = dict(decode(str(path), SPANS, MEDIA))
    sought = []
    monkeypatch.setattr(decoding, "seek", spied(decoding.seek, sought))
    for index, span in enumerate(SPANS):
        ((_, alone),) = decode(str(path), [span], MEDIA)
        assert isinstance(alone, DecodedClip), alone
        np.testing.assert_array_equal(alone.frames, together[index].frames)
        assert_heard_the_same(alone.audio, together[index].audio)
        assert numbers_of(alone)[0] >= 10 * span.start_s - 1
        assert alone.damage == 0
    assert [call[-1] for call in sought] == [span.start_s for span in SPANS[1:]]


def assert_heard_the_same(one: np.ndarray, other: np.ndarray) -> None:
    """But for the millisecond to which Matroska rounds where it is entered."""
    shifts = range(-16, 17)
    differences = [np.abs(np.roll(one, shift) - other)[20:-20].mean() for shift in shifts]
    assert min(differences) < 0.05


def spied(function, calls):
    def call(*args):
        calls.append(args)
        return function(*args)

    return call


def test_reading_stops_when_the_last_clip_is_complete(long, monkeypatch):
    read = []
    monkeypatch.setattr(reading._Pictures, "take", spied(reading._Pictures.take, read))
    list(decode(str(long), [Span(1.0, 3.0)], MEDIA))
    assert 10 <= len(read) < 60  # of a thousand
    read.clear()
    list(decode(str(long), [Span(90.0, 92.0)], MEDIA))
    assert len(read) < 200


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "mpg", "vp8.webm", "hevc.mp4", "mpeg4.mp4"])
def test_pictures_that_nobody_needs_are_left_out_without_a_trace(long, tmp_path, kind):
    codec = {
        "mpg": ["-c:v", "mpeg2video", "-bf", "2", "-r", "25", "-q:v", "3"],
        "vp8.webm": [
            "-c:v",
            "libvpx",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-auto-alt-ref",
            "1",
        ],
        "hevc.mp4": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"],
        "mpeg4.mp4": ["-c:v", "mpeg4", "-bf", "2", "-q:v", "3"],
    }.get(kind, ["-c:v", "libx264", "-bf", "3", "-b-pyramid", "normal"])
    path = tmp_path / f"v.{kind}"
    picture = "testsrc2=s=320x180:r=25,noise=alls=10:allf=t"
    uneven = [] if kind == "mpg" else ["-vf", r"select=gt(random(0)\,0.3)", "-fps_mode", "vfr"]
    run_ffmpeg("-f", "lavfi", "-i", picture, "-t", "12", *uneven, *codec, "-an", str(path))
    spans = [Span(0.0, 5.0), Span(5.0, 9.99), Span(3.3, 6.1)]
    whole = dict(decode(str(path), spans, MEDIA, every_picture=True))
    spared = dict(decode(str(path), spans, MEDIA))
    for index, clip in whole.items():
        np.testing.assert_array_equal(spared[index].frames, clip.frames)


def test_clips_of_several_runs_are_those_of_one(long, tmp_path, monkeypatch):
    spans = {f"clip{index}": span for index, span in enumerate(reversed(SPANS))}
    info = probe(str(long))
    assert not cut(str(long), info, spans, str(tmp_path / "one")).failed
    monkeypatch.setattr(cutting, "_CLIPS_PER_RUN", 2)
    runs = []
    monkeypatch.setattr(cutting, "_ffmpeg", spied(cutting._ffmpeg, runs))
    assert not cut(str(long), info, spans, str(tmp_path / "several")).failed
    assert len(runs) == 3
    assert "-ss" in runs[-1][0]
    for name, span in spans.items():
        clips = []
        for folder in ("one", "several"):
            file = tmp_path / folder / f"{name}.mp4"
            ((_, clip),) = decode(str(file), [Span(0.0, span.duration_s)], MEDIA)
            clips.append((numbers_of(clip), (file.with_suffix(".wav")).read_bytes()[44:]))
        assert clips[0][0] == clips[1][0]
        heard = [np.frombuffer(sound, np.int16).astype(float) / 32768 for _, sound in clips]
        assert heard[0].shape == heard[1].shape
        assert_heard_the_same(*heard)


DECODE_ALL = """
import json, re, sys
from pathlib import Path
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.probe import probe
from ah_ray.media.segment import scoring_spans
spans = scoring_spans(probe(sys.argv[1]).duration_s, SegmentationConfig())
media = MediaConfig(min_frames=4, max_frames=16, min_pixels=131072, max_pixels=262144)
good = sum(isinstance(clip, DecodedClip) for _, clip in decode(sys.argv[1], spans, media))
# Not ru_maxrss, which begins with what the parent (a whole test run) has in memory.
status = Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) * 1024 / 1e6
print(json.dumps({"clips": len(spans), "good": good, "peak_mb": peak}))
"""


def test_two_hours_of_1080p_fit_into_600_mb(tmp_path):
    minute, path = tmp_path / "minute.mp4", tmp_path / "two_hours.mp4"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "color=gray:s=1920x1080:r=0.2", "-f", "lavfi", "-i", "sine=300"),
        *("-t", "60", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-b:a", "32k", "-ar", "8000", "-ac", "1", str(minute)),
    )
    run_ffmpeg("-stream_loop", "119", "-i", str(minute), "-c", "copy", str(path))
    done = subprocess.run(
        [sys.executable, "-c", DECODE_ALL, str(path)], check=True, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    assert told["clips"] == told["good"] == pytest.approx(1440, abs=5)
    assert told["peak_mb"] < 600
