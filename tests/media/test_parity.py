"""A clip is the same whether it is decoded from its source or from the file it was cut into."""

import random
import wave

import av
import numpy as np
import pytest

from ah_ray.media import cut as cutting
from ah_ray.media.cut import cut
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.frames import AUDIO_HZ, frame_times
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span
from tests.media.coded_video import (
    MEDIA,
    number_of,
    numbers_of,
    picture,
    ramp,
    run_ffmpeg,
    shown_at,
    steady,
    tone,
    write_video,
)

DENSE = MEDIA.model_copy(update={"fps": 8.0, "max_frames": 64})  # more often than pictures change


def uneven(seconds: float, seed: int, longest: float = 0.9) -> list[float]:
    """Mostly steady, with pauses; in whole milliseconds, as all containers can say."""
    chance = random.Random(seed)
    times = [0.0]
    while times[-1] < seconds:
        step = chance.choice([0.033, 0.034, 0.1, chance.uniform(0.02, longest)])
        times.append(round(times[-1] + step, 3))
    return times


def random_spans(seconds: float, count: int, seed: int) -> list[Span]:
    chance = random.Random(seed)
    starts = [round(chance.uniform(0, seconds - 2.5), 3) for _ in range(count)]
    return [Span(start, round(start + chance.uniform(1.2, 2.5), 3)) for start in starts]


def clips_of(path, spans, media=DENSE) -> list[DecodedClip]:
    clips = dict(decode(str(path), spans, media))
    assert all(isinstance(clip, DecodedClip) for clip in clips.values()), clips
    return [clips[index] for index in range(len(spans))]


def files_of(path, spans, folder):
    """The clip files of a source, in the order of ``spans``."""
    names = {f"clip{index}": span for index, span in enumerate(spans)}
    done = cut(str(path), probe(str(path)), names, str(folder))
    assert (done.failed, done.warning) == ({}, "")
    return [folder / f"{name}.mp4" for name in names]


def pictures_in(path) -> list[tuple[float, int]]:
    with av.open(str(path)) as container:
        return [
            (frame.time, number_of(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]


def sound_of(path) -> np.ndarray:
    with wave.open(str(path.with_suffix(".wav"))) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768


def heard_alike(one: np.ndarray, other: np.ndarray) -> bool:
    """But for the first and last hundredth of a second, in which resamplers start and end."""
    length = min(len(one), len(other))
    return bool(np.abs(one[:length] - other[:length])[160:-160].max() < 0.002)


@pytest.mark.parametrize("groups", [64, 3])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_variable_rate_is_the_same_in_files(tmp_path, monkeypatch, name, groups):
    monkeypatch.setattr(cutting, "_CLIPS_PER_RUN", groups)
    monkeypatch.setattr(cutting, "_SEEK_FROM_S", 4.0)
    times = uneven(14, seed=3)
    path = write_video(tmp_path / name, times, ramp(times[-1]))
    spans = [*random_spans(13, 8, seed=5), Span(times[20], times[30] + 0.5), Span(0.0, 1.5)]
    virtual = clips_of(path, spans)
    files = files_of(path, spans, tmp_path / "clips")
    for span, clip, file in zip(spans, virtual, files, strict=True):
        assert numbers_of(clip) == [shown_at(times, t) for t in frame_times(span, DENSE)]
        for moment, number in pictures_in(file):
            assert moment == pytest.approx(max(times[number] - span.start_s, 0), abs=0.002)
        (stored,) = clips_of(file, [Span(0.0, span.duration_s)])
        assert numbers_of(stored) == numbers_of(clip)
        assert heard_alike(sound_of(file), clip.audio)


@pytest.mark.parametrize("degrees", [90, 270])
def test_a_turned_source_is_the_same_in_files(rotated, tmp_path, degrees):
    path, spans = rotated(degrees), [Span(0.0, 1.3), Span(1.25, 3.0)]
    virtual = clips_of(path, spans)
    for span, clip, file in zip(spans, virtual, files_of(path, spans, tmp_path), strict=True):
        (stored,) = clips_of(file, [Span(0.0, span.duration_s)])
        assert stored.frames.shape == clip.frames.shape
        assert numbers_of(stored) == numbers_of(clip)


def test_a_sound_that_is_not_used_moves_no_clip(tmp_path):
    """Where it starts before what is used, ffmpeg's clock of MPEG-TS starts later than the file."""
    early, path = tmp_path / "early.ts", tmp_path / "v.ts"
    write_video(early, steady(6, 10), tone(6), sound_codec="aac")
    late = ["-itsoffset", "2.2", "-i", str(early), "-i", str(early)]
    sounds = ["-c:a", "mp2", "-b:a:0", "256k", "-b:a:1", "64k"]
    run_ffmpeg(*late, "-map", "0", "-map", "1:a", "-c:v", "copy", *sounds, str(path))
    assert probe(str(path)).audio_stream == 1
    spans = [Span(3.0, 5.5), Span(5.25, 7.75)]
    virtual = clips_of(path, spans)
    for span, clip, file in zip(spans, virtual, files_of(path, spans, tmp_path), strict=True):
        (stored,) = clips_of(file, [Span(0.0, span.duration_s)])
        assert numbers_of(stored) == numbers_of(clip)


MIRRORED = {
    "left to right": ["-display_hflip"],
    "upside down": ["-display_vflip"],
    "turned left": ["-display_rotation", "90", "-display_hflip"],
    "turned right": ["-display_rotation", "270", "-display_hflip"],
}


@pytest.mark.parametrize("how", MIRRORED)
def test_a_mirrored_source_is_the_same_in_files(tmp_path, how):
    stored, path, span = tmp_path / "stored.mp4", tmp_path / "v.mp4", Span(0.0, 2.5)
    write_video(stored, steady(2.5, 10), draw=lambda number: picture(number + 64))
    run_ffmpeg(*MIRRORED[how], "-i", str(stored), "-c", "copy", str(path))
    (virtual,), (file,) = clips_of(path, [span]), files_of(path, [span], tmp_path)
    (clip,) = clips_of(file, [span])
    assert clip.frames.shape == virtual.frames.shape
    assert np.abs(clip.frames.astype(int) - virtual.frames).mean() < 5
    if how == "left to right":
        mirrored = [number_of(frame[:, ::-1]) - 64 for frame in virtual.frames]
        assert mirrored == [shown_at(steady(2.5, 10), time) for time in frame_times(span, DENSE)]


def test_sound_that_goes_on_after_the_picture_is_not_used(tmp_path):
    path = write_video(tmp_path / "v.mov", steady(5, 10), ramp(9))
    info = probe(str(path))
    assert info.duration_s == pytest.approx(5.0, abs=0.11)
    spans = [Span(0.5, 2.5), Span(2.5, 5.0)]
    virtual = clips_of(path, spans)
    for span, clip, file in zip(spans, virtual, files_of(path, spans, tmp_path), strict=True):
        assert numbers_of(clip) == [shown_at(steady(5, 10), t) for t in frame_times(span, DENSE)]
        (stored,) = clips_of(file, [Span(0.0, span.duration_s)])
        assert numbers_of(stored) == numbers_of(clip)
        assert len(sound_of(file)) == round(span.duration_s * AUDIO_HZ)
        assert heard_alike(sound_of(file), clip.audio)
        assert clip.audio[-200] == pytest.approx(span.end_s / 20, abs=0.002)


def test_of_several_default_streams_the_richest_are_taken(tmp_path):
    """Those of the highest bit rate, although they are not the first; in files as well."""
    times = steady(6, 10)
    good = write_video(tmp_path / "good.mov", times, ramp(6))
    poor = write_video(tmp_path / "poor.mov", times, tone(6) // 4, draw=lambda n: picture(0))
    path = tmp_path / "several.mp4"
    run_ffmpeg(
        *("-i", str(poor), "-i", str(good), "-map", "0:v", "-map", "0:a", "-map", "1:v"),
        *("-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-b:a:0", "24k", "-b:a:1", "160k"),
        *("-disposition:v", "default", "-disposition:a", "default", str(path)),
    )
    info = probe(str(path))
    assert (info.video_stream, info.audio_stream) == (2, 3)
    spans = [Span(1.0, 3.5)]
    (clip,) = clips_of(path, spans)
    assert numbers_of(clip) == [shown_at(times, t) for t in frame_times(spans[0], DENSE)]
    (file,) = files_of(path, spans, tmp_path)
    assert {number for _, number in pictures_in(file)} == set(range(10, 35))
    assert np.abs(sound_of(file) - (1.0 + np.arange(40_000) / AUDIO_HZ) / 20).max() < 0.01


def test_ten_bits_become_the_same_eight(tmp_path):
    path = tmp_path / "v.mkv"
    source = write_video(tmp_path / "raw.mov", steady(4, 10), ramp(4))
    run_ffmpeg("-i", str(source), "-c:v", "libx264", "-pix_fmt", "yuv420p10le", str(path))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
    spans = [Span(0.5, 2.5)]
    (clip,) = clips_of(path, spans)
    (file,) = files_of(path, spans, tmp_path)
    with av.open(str(file)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    (stored,) = clips_of(file, [Span(0.0, 2.0)])
    assert numbers_of(stored) == numbers_of(clip)
    assert np.abs(stored.frames.astype(int) - clip.frames).mean() < 3


SPARSE = {  # a key picture in each 25 s
    "mp4": ["-c:v", "libx264", "-g", "250", "-c:a", "aac"],
    "ts": ["-c:v", "libx264", "-g", "250", "-c:a", "aac"],
    "avi": ["-c:v", "mpeg4", "-g", "250", "-c:a", "pcm_s16le"],
}


@pytest.fixture(scope="module")
def minute(tmp_path_factory):
    """Sixty-five seconds at 10 Hz; each second starts with silence and ends with a tone."""
    sound = tone(65) * (np.arange(65 * 44_100) % 44_100 > 22_050).astype(np.int16)
    return write_video(tmp_path_factory.mktemp("minute") / "minute.mkv", steady(65, 10), sound)


@pytest.mark.parametrize("kind", SPARSE)
def test_files_of_late_clips_are_the_same_although_they_are_sought(minute, tmp_path, kind):
    path = tmp_path / f"v.{kind}"
    run_ffmpeg("-i", str(minute), *SPARSE[kind], str(path))
    spans = [Span(41.3, 43.0), Span(52.05, 54.5), Span(61.0, 63.0)]
    first, *virtual = clips_of(path, [Span(0.0, 2.0), *spans])  # read from the start
    assert numbers_of(first)[0] <= 1
    files = files_of(path, spans, tmp_path / "clips")
    for span, clip, file in zip(spans, virtual, files, strict=True):
        assert abs(numbers_of(clip)[0] - 10 * span.start_s) <= 2
        (stored,) = clips_of(file, [Span(0.0, span.duration_s)])
        assert numbers_of(stored) == numbers_of(clip)
        onsets = [
            np.diff((np.abs(heard) > 0.2).astype(int)).argmax()
            for heard in (sound_of(file), clip.audio)
        ]
        assert abs(onsets[0] - onsets[1]) < 0.003 * AUDIO_HZ
