import random

import av
import fsspec
import numpy as np
import pytest

from ah_ray.errors import ItemError
from ah_ray.media.config import MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.frames import AUDIO_HZ, audio_samples, fit_size, frame_count, frame_times
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span
from tests.media.coded_video import (
    HEIGHT,
    MEDIA,
    WIDTH,
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

SPANS = [Span(0.0, 2.5), Span(2.51, 5.0), Span(3.3333, 7.87), Span(8.04, 12.0)]


def decoded(path, spans, media=MEDIA) -> list[DecodedClip | ItemError]:
    """The clips in the order of ``spans``, each of them once."""
    found = list(decode(str(path), spans, media))
    assert sorted(index for index, _ in found) == list(range(len(spans)))
    return [clip for _, clip in sorted(found, key=lambda pair: pair[0])]


def expected(times, span, media=MEDIA) -> list[int]:
    return [shown_at(times, moment) for moment in frame_times(span, media)]


def uneven(seconds: float, longest: float = 0.4) -> list[float]:
    chance = random.Random(7)
    times = [0.0]
    while times[-1] < seconds:
        times.append(round(times[-1] + chance.uniform(0.02, longest), 3))
    return times


def test_frames_are_those_shown_at_their_times(ramped):
    for span, clip in zip(SPANS, decoded(ramped, SPANS), strict=True):
        assert numbers_of(clip) == expected(steady(12, 10), span)
        assert clip.frames.shape[1:] == (HEIGHT, WIDTH, 3)
        assert clip.frames.dtype == np.uint8


def test_frames_at_29_97_hz(toned):
    times = steady(12, 30_000 / 1001)
    for span, clip in zip(SPANS, decoded(toned, SPANS), strict=True):
        assert numbers_of(clip) == expected(times, span)


@pytest.mark.parametrize("name", ["uneven.mp4", "uneven.mkv"])
def test_frames_of_a_variable_rate_go_by_time(folder, name):
    times = uneven(12)
    path = write_video(folder / name, times, tone(12), sound_codec="aac")
    for span, clip in zip(SPANS, decoded(path, SPANS), strict=True):
        assert numbers_of(clip) == expected(times, span)


def test_a_frozen_picture_is_shown_until_it_changes(folder):
    times = [*steady(2, 10)[:-1], 5.0, 5.1, 5.2, 5.3, 5.4, 5.5, 6.0]
    path = write_video(folder / "frozen.mp4", times)
    spans = [Span(0.0, 2.5), Span(2.5, 5.0), Span(4.0, 6.0)]
    for span, clip in zip(spans, decoded(path, spans), strict=True):
        assert numbers_of(clip) == expected(times, span)


def test_a_slow_video_keeps_its_last_picture(folder):
    times = steady(6, 1)
    path = write_video(folder / "slow.mp4", times)
    spans = [Span(0.0, 3.0), Span(3.0, 6.0)]
    assert probe(str(path)).duration_s == pytest.approx(6.0, abs=0.02)
    for span, clip in zip(spans, decoded(path, spans), strict=True):
        assert isinstance(clip, DecodedClip), clip
        assert numbers_of(clip) == expected(times, span)


def test_the_rate_is_that_of_the_frames(ramped):
    for span, clip in zip(SPANS, decoded(ramped, SPANS), strict=True):
        assert len(clip.frames) == frame_count(span.duration_s, MEDIA)
        assert clip.fps == pytest.approx(len(clip.frames) / span.duration_s)


def test_frames_have_the_size_the_model_sees(ramped):
    media = MEDIA.model_copy(update={"max_pixels": 2048, "size_multiple": 16})
    (clip,) = decoded(ramped, [Span(1.0, 3.0)], media)
    assert clip.frames.shape[2:0:-1] == fit_size(WIDTH, HEIGHT, media)
    assert numbers_of(clip) == expected(steady(12, 10), Span(1.0, 3.0), media)


def test_sound_starts_where_the_clip_starts(ramped):
    for span, clip in zip(SPANS, decoded(ramped, SPANS), strict=True):
        assert len(clip.audio) == audio_samples(span.duration_s)
        assert clip.audio.dtype == np.float32
        there = span.start_s + np.arange(len(clip.audio)) / AUDIO_HZ
        late = np.abs(clip.audio * 20 - there)
        assert late[160:-160].max() < 0.003  # seconds
        assert late[160:-160].mean() < 0.0015


def test_compressed_sound_starts_in_time(toned):
    (clip,) = decoded(toned, [Span(1.5, 4.0)])
    onset = np.argmax(np.abs(clip.audio) > 0.25) / AUDIO_HZ
    assert onset == pytest.approx(0.5, abs=0.005)
    spectrum = np.abs(np.fft.rfft(clip.audio[AUDIO_HZ:]))
    assert np.argmax(spectrum) * AUDIO_HZ / (len(clip.audio) - AUDIO_HZ) == pytest.approx(
        1000, abs=2
    )


def test_both_channels_are_heard(folder):
    left, right = tone(3), tone(3)
    left[0] = 0
    right[1] = 0
    for name, sound in (("left.mov", right), ("right.mov", left)):
        path = write_video(folder / name, steady(3, 10), sound)
        (clip,) = decoded(path, [Span(0.0, 3.0)])
        assert np.abs(clip.audio).max() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_sound_of_any_rate(folder, rate):
    path = write_video(
        folder / f"rate{rate}.mov", steady(4, 10), ramp(4, rate=rate, channels=1), rate=rate
    )
    (clip,) = decoded(path, [Span(1.25, 3.75)])
    there = 1.25 + np.arange(len(clip.audio)) / AUDIO_HZ
    assert np.abs(clip.audio * 20 - there)[160:-160].max() < 0.003


def test_a_video_without_sound_is_heard_as_silence(silent):
    for span, clip in zip(SPANS[:2], decoded(silent, SPANS[:2]), strict=True):
        assert len(clip.audio) == audio_samples(span.duration_s)
        assert not clip.audio.any()
        assert numbers_of(clip) == expected(steady(6, 10), span)


def test_a_model_that_gets_no_sound_sees_the_same(toned):
    unheard = MEDIA.model_copy(update={"audio": "none"})
    for with_sound, clip in zip(
        decoded(toned, SPANS[:3]), decoded(toned, SPANS[:3], unheard), strict=True
    ):
        assert (clip.frames == with_sound.frames).all()
        assert clip.fps == with_sound.fps
        assert len(with_sound.audio)
        assert not len(clip.audio)


def test_sound_that_ends_early_continues_as_silence(folder):
    path = write_video(folder / "short_sound.mov", steady(6, 10), tone(3.5))
    before, across, after = decoded(path, [Span(0.0, 2.0), Span(2.0, 4.0), Span(4.0, 6.0)])
    assert np.abs(before.audio[-1600:]).max() > 0.4
    heard = np.flatnonzero(np.abs(across.audio) > 0.05)
    assert heard[-1] / AUDIO_HZ == pytest.approx(1.5, abs=0.01)
    assert not across.audio[int(1.51 * AUDIO_HZ) :].any()
    assert not after.audio.any()
    assert numbers_of(after) == expected(steady(6, 10), Span(4.0, 6.0))


def test_spans_may_overlap_and_come_in_any_order(ramped):
    spans = [Span(6, 8), Span(0, 4), Span(1, 2.5), Span(0, 4), Span(3.5, 9), Span(11, 12)]
    together = decoded(ramped, spans)
    for span, clip in zip(spans, together, strict=True):
        (alone,) = decoded(ramped, [span])
        np.testing.assert_array_equal(clip.frames, alone.frames)
        np.testing.assert_array_equal(clip.audio, alone.audio)
        assert numbers_of(clip) == expected(steady(12, 10), span)


def test_clips_come_as_soon_as_they_are_complete(ramped):
    spans = [Span(5.0 * index / 2, 5.0 * index / 2 + 2) for index in reversed(range(4))]
    assert [index for index, _ in decode(str(ramped), spans, MEDIA)] == [3, 2, 1, 0]
    with av.open(str(ramped)) as container:
        assert next(decode(str(ramped), spans, MEDIA))[0] == 3
        assert container.streams.video[0].frames == 120


def test_nothing_to_decode_is_nothing(ramped):
    assert list(decode(str(ramped), [], MEDIA)) == []


@pytest.mark.parametrize("span", [Span(13.0, 15.0), Span(1000.0, 1005.0), Span(11.0, 15.0)])
def test_a_clip_past_the_end_has_no_picture(ramped, span):
    fine, error = decoded(ramped, [Span(0.0, 2.0), span])
    assert isinstance(fine, DecodedClip)
    assert isinstance(error, ItemError)
    assert error.kind == "no_picture"
    assert str(ramped) in error.message


def test_a_clip_that_rounding_carries_past_the_end_is_fine(ramped):
    (clip,) = decoded(ramped, [Span(10.0, 12.04)])
    assert numbers_of(clip)[-1] >= 117


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_is_seen_upright(rotated, degrees):
    (clip,) = decoded(rotated(degrees), [Span(0.5, 2.5)])
    assert clip.frames.shape[1:3] == (HEIGHT, WIDTH)
    assert numbers_of(clip) == expected(steady(3, 10), Span(0.5, 2.5))


def test_oblong_pixels_are_seen_square(folder, silent):
    path = folder / "oblong.mp4"
    run_ffmpeg("-i", str(silent), "-vf", "setsar=2/1", str(path))
    assert (probe(str(path)).width, probe(str(path)).height) == (2 * WIDTH, HEIGHT)
    media = MEDIA.model_copy(update={"max_pixels": 4 * WIDTH * HEIGHT})
    (clip,) = decoded(path, [Span(0.5, 2.5)], media)
    assert clip.frames.shape[2:0:-1] == (2 * WIDTH, HEIGHT)
    assert numbers_of(clip) == expected(steady(6, 10), Span(0.5, 2.5), media)


def test_a_file_that_breaks_in_its_middle_costs_what_follows(tmp_path, faststart):
    path = tmp_path / "broken.mov"
    path.write_bytes(faststart.read_bytes()[: faststart.stat().st_size // 2])
    spans = [Span(0.0, 2.0), Span(2.0, 4.0), Span(4.0, 6.5), Span(7.0, 9.0), Span(9.0, 12.0)]
    clips = decoded(path, spans)
    for span, clip in zip(spans[:2], clips[:2], strict=True):
        assert numbers_of(clip) == expected(steady(12, 10), span)
    assert all(isinstance(clip, ItemError) for clip in clips[3:])
    assert {clip.kind for clip in clips[3:]} <= {"no_picture", "unreadable"}


def test_damage_in_the_middle_does_not_cost_the_end(tmp_path, faststart):
    path = tmp_path / "damaged.mov"
    data = bytearray(faststart.read_bytes())
    with av.open(str(faststart)) as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
    for packet in packets[50:56]:
        data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    with av.open(str(path)) as container, pytest.raises(av.InvalidDataError):
        list(container.decode(video=0))
    first, last = decoded(path, [Span(0.0, 2.0), Span(9.0, 12.0)])
    assert numbers_of(first) == expected(steady(12, 10), Span(0.0, 2.0))
    assert numbers_of(last) == expected(steady(12, 10), Span(9.0, 12.0))


@pytest.mark.parametrize("name", ["missing", "text", "no_index"])
def test_a_file_that_cannot_be_opened_costs_every_clip(tmp_path, toned, name):
    path = tmp_path / "v.mp4"
    if name == "text":
        path.write_text("hello\n")
    elif name == "no_index":
        path.write_bytes(toned.read_bytes()[:30_000])
    clips = decoded(path, SPANS)
    assert {clip.kind for clip in clips} == {"missing" if name == "missing" else "unreadable"}


def test_a_remote_file_is_decoded_as_a_local_one(ramped):
    fsspec.filesystem("memory").pipe("/decode/ramped.mov", ramped.read_bytes())
    remote = decoded("memory://decode/ramped.mov", SPANS)
    for ours, theirs in zip(remote, decoded(ramped, SPANS), strict=True):
        np.testing.assert_array_equal(ours.frames, theirs.frames)
        np.testing.assert_array_equal(ours.audio, theirs.audio)


def test_a_real_video_with_several_streams(real_media):
    path = real_media / "nasa_13013.mp4"
    info = probe(str(path))
    media = MediaConfig(max_pixels=320 * 192, min_pixels=1024)
    spans = [Span(0.0, 5.0), Span(5.0, 10.0), Span(info.duration_s - 3, info.duration_s)]
    for clip in decoded(path, spans, media):
        assert len(clip.frames) in {6, 10}
        assert clip.frames.std() > 10
        assert np.abs(clip.audio).max() > 0.01


@pytest.mark.parametrize("name", ["av1_video.mkv", "h265_video.mp4", "bt709_full_range.mp4"])
def test_real_videos_of_other_codecs(real_media, name):
    path = str(real_media / name)
    info = probe(path)
    media = MediaConfig(max_pixels=128 * 128, min_pixels=1024)
    (clip,) = decoded(path, [Span(0.0, info.duration_s)], media)
    assert clip.frames.shape[2:0:-1] == fit_size(info.width, info.height, media)
    assert not clip.audio.any()
    with av.open(path) as container:  # the first frame we take, as PyAV alone gives it
        moment = frame_times(Span(0.0, info.duration_s), media)[0]
        shown = [f for f in container.decode(video=0) if f.time <= moment][-1]
        height, width = clip.frames.shape[1:3]
        plain = shown.to_ndarray(
            format="rgb24", width=width, height=height, interpolation="BICUBIC"
        )
    np.testing.assert_array_equal(clip.frames[0], plain)


def test_the_code_can_be_read_at_any_size():
    assert [number_of(picture(n)[::2, ::2]) for n in range(1024)] == list(range(1024))
