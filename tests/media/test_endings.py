"""Sound that pauses or ends, pictures that stand, files that do not say how long they are."""

import subprocess
import wave

import av
import imageio_ffmpeg
import numpy as np
import pytest

from ah_ray.media.cut import cut
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.frames import AUDIO_HZ, frame_times
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span
from tests.media.coded_video import (
    MEDIA,
    numbers_of,
    ramp,
    run_ffmpeg,
    shown_at,
    steady,
    tone,
    write_video,
)

LIVE = [
    "-c:v",
    "libvpx",
    "-deadline",
    "realtime",
    "-cpu-used",
    "8",
    "-b:v",
    "1M",
    "-c:a",
    "libopus",
    "-f",
    "webm",
]


def decoded(path, spans) -> list[DecodedClip]:
    clips = dict(decode(str(path), spans, MEDIA))
    for clip in clips.values():
        assert isinstance(clip, DecodedClip), clip
    return [clips[index] for index in range(len(spans))]


def told(path, spans) -> list[str]:
    """What becomes of each clip: ``fine`` or the kind of its error."""
    clips = dict(decode(str(path), spans, MEDIA))
    return [
        "fine" if isinstance(clips[index], DecodedClip) else clips[index].kind
        for index in range(len(spans))
    ]


def cut_sounds(path, spans, folder) -> list[np.ndarray]:
    names = {f"clip{index}": span for index, span in enumerate(spans)}
    done = cut(str(path), probe(str(path)), names, str(folder))
    assert not done.failed
    sounds = []
    for name in names:
        with wave.open(str(folder / f"{name}.wav")) as file:
            sounds.append(np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768)
    return sounds


def as_ffmpeg_hears_it(path, seconds: float) -> np.ndarray:
    """The whole sound of a file by ffmpeg alone; silence where there is none."""
    fill = "aresample=async=1:first_pts=0:min_hard_comp=0.05"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-dts_delta_threshold", "1e9"]
    command += ["-i", str(path), "-af", f"{fill},aresample={AUDIO_HZ},apad,atrim=end={seconds}"]
    command += ["-vn", "-ac", "1", "-f", "s16le", "-"]
    heard = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(heard, np.int16) / 32768


def rustling(seconds: float, rate: int = 44_100) -> np.ndarray:
    """Sound of which no two stretches are alike; nothing that a resampler takes away."""
    noise = np.random.default_rng(4).normal(size=round(seconds * rate))
    low = np.convolve(noise, np.hanning(31) / 31, "same")
    return np.tile((low * 20_000).astype(np.int16), (2, 1))


@pytest.fixture(scope="module")
def paused(tmp_path_factory):
    """26 s of pictures; sound from 0 to 7 s and from 19 s on."""
    sound = rustling(26)
    sound[:, 7 * 44_100 : 19 * 44_100] = 0
    path = tmp_path_factory.mktemp("paused") / "paused.mkv"
    return write_video(path, steady(26, 10), sound)


FORMS = {
    "mov": ["-c:v", "copy", "-c:a", "pcm_s16le"],
    "mkv": ["-c:v", "copy", "-c:a", "flac"],
    "ts": ["-c:v", "copy", "-c:a", "aac"],
    "webm": LIVE[:-2],
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("ends", [True, False])
def test_of_sound_that_ends_or_pauses_for_long_no_sample_is_lost(paused, tmp_path, kind, ends):
    path = tmp_path / f"v.{kind}"
    kept = "lt(t,7.004)" if ends else "lt(t,7.004)+gt(t,18.99)"
    run_ffmpeg("-i", str(paused), *FORMS[kind], "-af", f"aselect='{kept}'", str(path))
    spans = [Span(4.0 * index, 4.0 * index + 4) for index in range(6)]
    reference = as_ffmpeg_hears_it(path, 24)
    for span, clip in zip(spans, decoded(path, spans), strict=True):
        start = round(span.start_s * AUDIO_HZ)
        apart = np.abs(clip.audio - reference[start : start + len(clip.audio)])
        assert apart.max() < 0.05  # half a sample, where the sound begins again
        assert apart.mean() < 0.01
    for sound, clip in zip(cut_sounds(path, spans, tmp_path), decoded(path, spans), strict=True):
        assert np.abs(sound[: len(clip.audio)] - clip.audio)[160:-160].mean() < 0.01
    if kind == "mkv":  # nothing is encoded with loss: it ends where it ends
        (clip,) = decoded(path, [Span(4.0, 8.0)])
        last = np.flatnonzero(clip.audio)[-1] / AUDIO_HZ + 4
        assert last == pytest.approx(7.0, abs=0.003)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
def test_of_the_sound_while_a_picture_stands_for_long_nothing_is_lost(tmp_path, kind):
    times = [*steady(4, 10), *(44 + time for time in steady(4, 10))]
    whole = write_video(tmp_path / "whole.mkv", times, rustling(48))
    path = tmp_path / f"v.{kind}"
    run_ffmpeg("-i", str(whole), "-c:v", "copy", "-c:a", "aac", str(path))
    reference = as_ffmpeg_hears_it(path, 48)
    spans = [Span(4.0 * index, 4.0 * index + 4) for index in range(12)]
    together = decoded(path, spans)
    for span, clip in zip(spans, together, strict=True):
        start = round(span.start_s * AUDIO_HZ)
        (alone,) = decoded(path, [span])
        for sound in (clip.audio, alone.audio):
            shifts = range(-16, 17)  # the millisecond to which Matroska rounds
            apart = [
                np.abs(np.roll(sound, shift) - reference[start : start + len(sound)]).mean()
                for shift in shifts
            ]
            assert min(apart) < 0.02
    assert np.abs(reference[20 * AUDIO_HZ : 24 * AUDIO_HZ]).mean() > 0.05


@pytest.mark.parametrize("hole_s", [0.03, 0.075, 0.2])
def test_files_and_decoding_agree_about_small_holes(tmp_path, hole_s):
    raw, path = tmp_path / "raw.mkv", tmp_path / "hole.mkv"
    write_video(raw, steady(8, 10), ramp(8))
    hole = f"asetnsamples=441,aselect='not(between(t,2,{1.999 + hole_s}))'"
    run_ffmpeg("-i", str(raw), "-c:v", "copy", "-c:a", "pcm_s16le", "-af", hole, str(path))
    spans = [Span(1.0, 4.0), Span(4.0, 8.0)]
    for sound, clip in zip(cut_sounds(path, spans, tmp_path), decoded(path, spans), strict=True):
        assert np.abs(sound[: len(clip.audio)] - clip.audio)[160:-160].mean() < 0.0005


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "long.mkv"
    return write_video(path, steady(42, 10), ramp(42, full_s=50), codec_options={"g": "100"})


def through_a_pipe(source, path, *arguments: str):
    """A file by a writer that cannot go back to fill in what it knows only at the end."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), *arguments, "-"]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    return path


@pytest.mark.parametrize("kind", ["live.webm", "live.mkv", "piped.flv"])
def test_a_file_that_does_not_say_how_long_it_is_is_measured(long, tmp_path, kind):
    """As browsers record it."""
    arguments = {
        "live.webm": [*LIVE, "-live", "1"],
        "live.mkv": ["-c:v", "copy", "-c:a", "libopus", "-f", "matroska", "-live", "1"],
        "piped.flv": ["-c:v", "flv1", "-q:v", "2", "-c:a", "libmp3lame", "-f", "flv"],
    }[kind]
    path = through_a_pipe(long, tmp_path / kind, *arguments)
    if kind.startswith("live"):
        with av.open(str(path)) as container:
            assert container.duration is None
    info = probe(str(path))
    assert info.duration_s == pytest.approx(42.0, abs=0.11)
    assert info.audio_stream is not None
    spans = [Span(0.0, 5.0), Span(17.0, 22.0), Span(33.0, 38.0), Span(38.0, 42.0)]
    together = decoded(path, spans)
    for span, clip in zip(spans, together, strict=True):
        late_s = 0.03 if kind.endswith("flv") else 0.0  # the picture starts after the sound
        times = [time + late_s for time in steady(42, 10)]
        assert numbers_of(clip) == [shown_at(times, moment) for moment in frame_times(span, MEDIA)]
        (alone,) = decoded(path, [span])  # sought, for there is no index
        assert numbers_of(alone) == numbers_of(clip)
    done = cut(str(path), info, {"late": spans[2]}, str(tmp_path / "clips"))
    assert done.damage == {"late": 0}


def test_an_flv_whose_picture_starts_after_its_sound_is_read(tmp_path):
    """There is no picture at its start to seek to."""
    raw = write_video(tmp_path / "raw.mkv", steady(2.4, 10), tone(2.4))
    path = tmp_path / "v.flv"
    run_ffmpeg("-i", str(raw), "-c:v", "flv1", "-c:a", "libmp3lame", str(path))
    assert probe(str(path)).duration_s == pytest.approx(2.4, abs=0.05)


STANDING = {
    "mp4": ["-c", "copy"],
    "mkv": ["-c", "copy"],
    "avi": ["-c:v", "mpeg4", "-q:v", "2", "-c:a", "pcm_s16le", "-fps_mode", "passthrough"],
    "ogv": ["-c:v", "libtheora", "-q:v", "9", "-c:a", "libvorbis", "-fps_mode", "passthrough"],
    "wmv": ["-c:v", "wmv2", "-q:v", "2", "-c:a", "wmav2", "-fps_mode", "passthrough"],
}


@pytest.mark.parametrize("kind", STANDING)
@pytest.mark.parametrize("sound_s", [0, 1, 20])
def test_a_last_picture_that_stands_long_is_seen_to_its_end(tmp_path, kind, sound_s):
    times = [*steady(3, 10)[:-1], 20.0]
    sound = tone(sound_s) if sound_s else None
    raw = tmp_path / "raw.mp4"
    write_video(raw, times, sound, sound_codec="aac", codec_options={"bf": "0"})
    path = tmp_path / f"v.{kind}"
    run_ffmpeg("-i", str(raw), *STANDING[kind], str(path))
    assert probe(str(path)).duration_s == pytest.approx(20.0, abs=0.11)
    spans = [Span(5.0 * index, 5.0 * index + 5) for index in range(4)]
    clips = decoded(path, spans)
    assert len(set(numbers_of(clips[0]))) > 3
    assert {number for clip in clips[1:] for number in numbers_of(clip)} == {29}


@pytest.mark.parametrize("kind", ["mov", "mkv", "webm"])
def test_nothing_stands_where_a_file_breaks_off(tmp_path, kind):
    """Broken off between two packets, so that each that is there is whole."""
    raw = write_video(tmp_path / "raw.mkv", steady(20, 10), tone(20))
    path = tmp_path / f"v.{kind}"
    form = {"mov": ["-c", "copy", "-movflags", "+faststart"], "mkv": ["-c", "copy"], "webm": LIVE}
    run_ffmpeg("-i", str(raw), *form[kind], str(path))
    data = path.read_bytes()
    if kind == "mov":
        with av.open(str(path)) as container:
            packets = [p for p in container.demux() if p.pts is not None]
            end = max(p.pos for p in packets if p.pts * p.time_base < 12)
    else:
        clusters = [n for n in range(len(data)) if data.startswith(b"\x1fC\xb6u", n)]
        end = clusters[len(clusters) * 2 // 3]
    path.write_bytes(data[:end])
    outcome = told(path, [Span(0.0, 4.0), Span(4.0, 8.0), Span(15.0, 20.0)])
    assert outcome == ["fine", "fine", "no_picture"]
