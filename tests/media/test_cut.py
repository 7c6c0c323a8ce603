import dataclasses
import wave

import av
import fsspec
import imageio_ffmpeg
import numpy as np
import pytest

from ah_ray.errors import ItemError
from ah_ray.media.config import MediaConfig
from ah_ray.media.cut import cut
from ah_ray.media.decode import decode
from ah_ray.media.frames import AUDIO_HOP, AUDIO_HZ
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span
from tests.media.coded_video import (
    HEIGHT,
    WIDTH,
    number_of,
    numbers_of,
    picture,
    shown_at,
    steady,
    tone,
    write_video,
)

SPANS = {"a": Span(0.0, 2.5), "b": Span(2.51, 5.0), "c": Span(3.3333, 5.87)}


def cut_all(path, spans, folder):
    """The clips that could not be cut; nothing else may be odd."""
    done = cut(str(path), probe(str(path)), spans, str(folder))
    assert not done.warning
    assert done.damage == dict.fromkeys(spans.keys() - done.failed.keys(), 0)
    return done.failed


def pictures(path) -> list[tuple[float, int]]:
    """When each frame of a file appears and what it spells."""
    with av.open(str(path)) as container:
        return [
            (f.time, number_of(f.to_ndarray(format="rgb24"))) for f in container.decode(video=0)
        ]


def shown_in(times, span: Span) -> list[int]:
    """The pictures of a span: the one that is shown at its start, and those that follow."""
    first = shown_at(times, span.start_s + 1e-6)
    return [first, *(n for n, t in enumerate(times[:-1]) if span.start_s + 1e-6 < t < span.end_s)]


def sound(path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (AUDIO_HZ, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def files_in(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def clips(ramped, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    assert cut_all(ramped, SPANS, folder) == {}
    return folder


def test_every_clip_is_a_video_and_its_sound(clips):
    assert files_in(clips) == {f"{name}{suffix}" for name in SPANS for suffix in (".mp4", ".wav")}
    for name, span in SPANS.items():
        info = probe(str(clips / f"{name}.mp4"))
        assert info.duration_s == pytest.approx(span.duration_s, abs=2 / 10)
        assert (info.width, info.height) == (WIDTH, HEIGHT)
        assert info.audio_stream is not None


def test_clips_hold_every_frame_of_their_span_at_its_time(clips):
    times = steady(12, 10)
    for name, span in SPANS.items():
        found = pictures(clips / f"{name}.mp4")
        assert [number for _, number in found] == shown_in(times, span)
        for time, number in found:
            assert time == pytest.approx(max(times[number] - span.start_s, 0), abs=0.002)


def test_the_sound_is_exactly_as_long_as_its_span(clips):
    for name, span in SPANS.items():
        assert len(sound(clips / f"{name}.wav")) == round(span.duration_s * AUDIO_HZ)


def test_the_sound_starts_where_the_clip_starts(clips):
    for name, span in SPANS.items():
        heard = sound(clips / f"{name}.wav") / 32768 * 20
        there = span.start_s + np.arange(len(heard)) / AUDIO_HZ
        assert np.abs(heard - there)[160:-160].max() < 0.003  # seconds


def test_the_sound_is_what_scoring_hears(clips, ramped):
    media = MediaConfig(max_pixels=WIDTH * HEIGHT, min_pixels=1024)
    spans = list(SPANS.values())
    for index, clip in decode(str(ramped), spans, media):
        heard = sound(clips / f"{list(SPANS)[index]}.wav") / 32768
        length = len(clip.audio)
        assert 0 <= len(heard) - length < AUDIO_HOP
        np.testing.assert_allclose(heard[160 : length - 160], clip.audio[160:-160], atol=0.0005)


def test_a_broken_frame_rate_is_cut_in_time(toned, tmp_path):
    spans = {"early": Span(1.5, 4.0), "late": Span(5.0, 10.0)}
    assert cut_all(toned, spans, tmp_path) == {}
    for name, span in spans.items():
        for time, number in pictures(tmp_path / f"{name}.mp4"):
            assert time == pytest.approx(max(number * 1001 / 30_000 - span.start_s, 0), abs=0.002)
        assert probe(str(tmp_path / f"{name}.mp4")).duration_s == pytest.approx(
            span.duration_s, abs=2 / 29.97
        )
    onset = np.argmax(np.abs(sound(tmp_path / "early.wav")) > 8000) / AUDIO_HZ
    assert onset == pytest.approx(0.5, abs=0.005)


def test_a_frozen_picture_does_not_shorten_a_clip(folder, tmp_path):
    times = [0.0, 0.1, 0.2, 2.4, 3.2, 4.0, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6, 4.7, 4.8, 4.9, 5.0]
    path = write_video(folder / "freezes.mp4", times, tone(5), sound_codec="aac")
    spans = {"a": Span(0.0, 2.5), "b": Span(2.4, 4.9)}
    assert cut_all(path, spans, tmp_path) == {}
    for name, span in spans.items():
        numbers = [number for _, number in pictures(tmp_path / f"{name}.mp4")]
        assert numbers == shown_in(times, span)
        info = probe(str(tmp_path / f"{name}.mp4"))
        assert info.duration_s == pytest.approx(span.duration_s, abs=0.15)


def test_odd_sides_become_even(folder, tmp_path):
    odd = folder / "odd.mkv"
    with av.open(str(odd), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 161, 65, "gray"
        for number in range(20):
            pixels = np.pad(picture(number)[:, :, 0], ((0, 1), (0, 1)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        container.mux(stream.encode())
    assert (probe(str(odd)).width, probe(str(odd)).height) == (161, 65)
    assert cut_all(odd, {"a": Span(0.5, 1.5)}, tmp_path) == {}
    info = probe(str(tmp_path / "a.mp4"))
    assert (info.width, info.height) == (160, 64)
    assert [number for _, number in pictures(tmp_path / "a.mp4")] == list(range(5, 15))


def test_no_sound_becomes_silence(silent, tmp_path):
    assert cut_all(silent, SPANS, tmp_path) == {}
    for name, span in SPANS.items():
        heard = sound(tmp_path / f"{name}.wav")
        assert 0 <= round(span.duration_s * AUDIO_HZ) - len(heard) < AUDIO_HOP
        assert not heard.any()
        numbers = [number for _, number in pictures(tmp_path / f"{name}.mp4")]
        assert numbers == shown_in(steady(6, 10), span)


def test_sound_that_ends_early_continues_as_silence(folder, tmp_path):
    path = write_video(folder / "early_end.mov", steady(6, 10), tone(3.5))
    assert cut_all(path, {"a": Span(2.0, 4.0), "b": Span(3.0, 6.0)}, tmp_path) == {}
    for name, start, length in (("a", 2.0, 2.0), ("b", 3.0, 3.0)):
        heard = sound(tmp_path / f"{name}.wav")
        assert len(heard) == length * AUDIO_HZ
        last = np.flatnonzero(np.abs(heard) > 1000)[-1] / AUDIO_HZ
        assert last == pytest.approx(3.5 - start, abs=0.01)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_is_stored_upright(rotated, tmp_path, degrees):
    assert cut_all(rotated(degrees), {"a": Span(1.0, 2.5)}, tmp_path) == {}
    assert [number for _, number in pictures(tmp_path / "a.mp4")] == list(range(10, 25))
    media = MediaConfig(max_pixels=WIDTH * HEIGHT, min_pixels=1024)
    ((_, clip),) = decode(str(tmp_path / "a.mp4"), [Span(0.0, 1.5)], media)
    assert clip.frames.shape[1:3] == (HEIGHT, WIDTH)
    assert numbers_of(clip)[0] in {11, 12}


def test_overlapping_and_many_clips_in_one_go(ramped, tmp_path):
    spans = {f"clip{n}": Span(n / 2, n / 2 + 1) for n in range(20)}
    assert cut_all(ramped, spans, tmp_path) == {}
    assert len(files_in(tmp_path)) == 40


@pytest.mark.parametrize("past", [Span(13.0, 15.0), Span(11.0, 16.0)])
def test_a_span_past_the_end_is_told_and_the_others_exist(ramped, tmp_path, past):
    failed = cut_all(ramped, {"a": Span(0.0, 2.0), "past": past, "b": Span(9.0, 11.5)}, tmp_path)
    assert list(failed) == ["past"]
    assert failed["past"].kind == "cut_failed"
    assert str(ramped) in failed["past"].message
    assert files_in(tmp_path) == {"a.mp4", "a.wav", "b.mp4", "b.wav"}


def test_nothing_to_cut_touches_nothing(ramped, tmp_path):
    assert cut_all(ramped, {}, tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()


def test_a_failing_ffmpeg_is_an_error_with_its_words(ramped, tmp_path):
    info = dataclasses.replace(probe(str(ramped)), audio_stream=7)
    with pytest.raises(ItemError, match="ffmpeg: Error binding") as caught:
        cut(str(ramped), info, SPANS, str(tmp_path / "clips"))
    assert caught.value.kind == "cut_failed"
    assert str(ramped) in caught.value.message
    assert not (tmp_path / "clips").exists()


def test_a_file_that_breaks_in_its_middle_gives_its_whole_clips(faststart, tmp_path):
    info = probe(str(faststart))
    broken = tmp_path / "broken.mov"
    broken.write_bytes(faststart.read_bytes()[: faststart.stat().st_size // 2])
    spans = {"first": Span(0.0, 2.5), "last": Span(9.0, 12.0)}
    done = cut(str(broken), info, spans, str(tmp_path / "clips"))
    assert list(done.failed) == ["last"]
    assert files_in(tmp_path / "clips") == {"first.mp4", "first.wav"}


def test_the_source_stays_as_it_is(faststart, tmp_path):
    source = tmp_path / "v.mov"
    source.write_bytes(faststart.read_bytes())
    cut_all(source, SPANS, tmp_path / "clips")
    assert source.read_bytes() == faststart.read_bytes()
    assert files_in(tmp_path) == {"v.mov", "clips"}


def test_from_and_to_remote_folders(silent, tmp_path, monkeypatch):
    monkeypatch.setenv("AH_RAY_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.pipe("/cut/v.mp4", silent.read_bytes())
    uri = "memory://cut/v.mp4"
    assert not cut(uri, probe(uri), {"a": Span(1.0, 3.0)}, "memory://cut/clips").failed
    assert sorted(memory.ls("/cut/clips", detail=False)) == ["/cut/clips/a.mp4", "/cut/clips/a.wav"]
    assert probe("memory://cut/clips/a.mp4").duration_s == pytest.approx(2.0, abs=0.1)


def test_one_ffmpeg_makes_all_clips(ramped, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    counting = tmp_path / "ffmpeg"
    real = imageio_ffmpeg.get_ffmpeg_exe()
    counting.write_text(f'#!/bin/sh\necho x >> {runs}\nexec {real} "$@"\n')
    counting.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(counting))
    assert cut_all(ramped, SPANS, tmp_path / "clips") == {}
    assert runs.read_text().split() == ["x"]


def test_the_same_span_is_cut_the_same_whatever_it_is_called(ramped, tmp_path):
    """A clip must not carry a trace of its label: everything but the name is the same."""
    spans = {"positive": Span(1.0, 3.0), "negative": Span(1.0, 3.0)}
    assert cut_all(ramped, spans, tmp_path) == {}
    for suffix in (".mp4", ".wav"):
        one, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in spans)
        assert one == other


def test_a_real_video_with_several_streams(real_media, tmp_path):
    path = real_media / "nasa_13013.mp4"
    info = probe(str(path))
    spans = {"a": Span(0.0, 5.0), "b": Span(7.5, 12.5)}
    assert cut_all(path, spans, tmp_path) == {}
    for name in spans:
        made = probe(str(tmp_path / f"{name}.mp4"))
        assert (made.width, made.height) == (info.width, info.height)
        assert made.duration_s == pytest.approx(5.0, abs=2 / info.fps)
        assert len(sound(tmp_path / f"{name}.wav")) == 80_000
        assert np.abs(sound(tmp_path / f"{name}.wav")).max() > 300
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


@pytest.mark.parametrize("name", ["av1_video.mkv", "h265_video.mp4", "bt709_full_range.mp4"])
def test_real_videos_of_other_codecs(real_media, tmp_path, name):
    info = probe(str(real_media / name))
    span = Span(0.1, 0.9)
    assert cut_all(real_media / name, {"a": span}, tmp_path) == {}
    made = probe(str(tmp_path / "a.mp4"))
    assert made.duration_s == pytest.approx(span.duration_s, abs=2 / info.fps)
    assert (made.width, made.height) == (info.width, info.height)
    assert not sound(tmp_path / "a.wav").any()
