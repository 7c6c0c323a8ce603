"""Whatever container, codec or oddity of streams: the same frames at the same times."""

import dataclasses
import subprocess
import wave

import av
import imageio_ffmpeg
import numpy as np
import pytest

from ah_ray.errors import ItemError
from ah_ray.media.config import MediaConfig
from ah_ray.media.cut import cut
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.frames import AUDIO_HZ, frame_times
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span
from tests.media.coded_video import (
    HEIGHT,
    MEDIA,
    WIDTH,
    number_of,
    numbers_of,
    ramp,
    run_ffmpeg,
    shown_at,
    steady,
    tone,
    write_video,
)

SPANS = [Span(0.0, 2.5), Span(2.51, 5.0), Span(3.3333, 7.87)]
ONSET_S = 2.0
# Containers with what they are usually filled with.
KINDS = {
    "mp4": ["-c:v", "libx264", "-c:a", "aac"],
    "mov": ["-c:v", "libx265", "-x265-params", "log-level=none", "-c:a", "pcm_s16le"],
    "mkv": ["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-c:a", "flac"],
    "vp8.webm": ["-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M", "-c:a", "libvorbis"],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-b:v", "1M", "-c:a", "libopus"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-q:v", "2", "-c:a", "libmp3lame"],
    "mjpeg.avi": ["-c:v", "mjpeg", "-q:v", "3", "-c:a", "pcm_s16le"],
    "h264.avi": ["-c:v", "libx264", "-bf", "0", "-c:a", "pcm_s16le"],
    "h264_b.avi": ["-c:v", "libx264", "-bf", "3", "-b-pyramid", "normal", "-c:a", "pcm_s16le"],
    "mpeg4_b.avi": ["-c:v", "mpeg4", "-bf", "2", "-q:v", "2", "-c:a", "libmp3lame"],
    "h264.flv": ["-c:v", "libx264", "-c:a", "aac"],
    "sorenson.flv": ["-c:v", "flv1", "-q:v", "2", "-c:a", "libmp3lame"],
    "wmv": ["-c:v", "wmv2", "-q:v", "2", "-c:a", "wmav2"],
    "ogv": ["-c:v", "libtheora", "-q:v", "9", "-c:a", "libvorbis"],
    "ts": ["-c:v", "libx264", "-c:a", "aac"],
    "mpg": ["-c:v", "mpeg2video", "-q:v", "2", "-r", "25", "-c:a", "mp2"],
    "10bit.mp4": ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none"],
    "10bit.mkv": ["-c:v", "libx264", "-pix_fmt", "yuv420p10le"],
    "422.mov": ["-c:v", "prores_ks", "-c:a", "pcm_s16le"],
}


def decoded(path, spans, media=MEDIA) -> list[DecodedClip]:
    clips = dict(decode(str(path), spans, media))
    for clip in clips.values():
        assert isinstance(clip, DecodedClip), clip
        assert clip.damage == 0
    return [clips[index] for index in range(len(spans))]


def cut_and_decoded(path, spans, folder, media=MEDIA) -> list[DecodedClip]:
    """The clips by way of files: the picture of each MP4 and the sound of its WAV."""
    names = {f"clip{index}": span for index, span in enumerate(spans)}
    done = cut(str(path), probe(str(path)), names, str(folder))
    assert (done.failed, done.warning) == ({}, "")
    clips = []
    for name, span in names.items():
        (clip,) = decoded(folder / f"{name}.mp4", [Span(0.0, span.duration_s)], media)
        with wave.open(str(folder / f"{name}.wav")) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        assert 0 <= len(sound) - len(clip.audio) < 160
        audio = sound[: len(clip.audio)].astype(np.float32) / 32768
        clips.append(dataclasses.replace(clip, audio=audio))
    return clips


def stated_times(path) -> list[float]:
    """When each frame of a file appears by its timestamps, and where the last one ends."""
    with av.open(str(path)) as container:
        start = (container.start_time or 0) / 1e6
        found = [
            (frame.time - start, number_of(frame.to_ndarray(format="rgb24")))
            for packet in container.demux(container.streams.best("video"))
            if packet.size or packet.dts is None  # else the picture before it, once more
            for frame in packet.decode()
        ]
    first = {number: time for time, number in reversed(found)}
    return [*(first[number] for number in sorted(first)), found[-1][0] + 0.1]


def places(path) -> list[float]:
    """When the packets of the picture come, in order, and where the last one ends."""
    with av.open(str(path)) as container:
        packets = list(container.demux(container.streams.best("video")))
        times = [float(p.dts * p.time_base) for p in packets if p.size]
    return [*times, times[-1] + 0.1]


def expected(times, span) -> list[int]:
    return [shown_at(times, moment) for moment in frame_times(span, MEDIA)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Eight seconds at 10 Hz without loss; the sound's value is the time."""
    path = tmp_path_factory.mktemp("raw") / "raw.mkv"
    return write_video(path, steady(8, 10), ramp(8), codec="libx264", sound_codec="pcm_s16le")


@pytest.fixture(scope="module")
def toned(tmp_path_factory):
    """The same with a tone from ``ONSET_S`` on."""
    path = tmp_path_factory.mktemp("toned") / "toned.mkv"
    return write_video(path, steady(8, 10), tone(8, from_s=ONSET_S))


def has_encoder(name: str) -> bool:
    listed = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-encoders"],
        capture_output=True,
        text=True,
    )
    return f" {name} " in listed.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_frames_and_sound_of_every_kind(toned, tmp_path, kind):
    arguments = KINDS[kind]
    if not has_encoder(arguments[1]):
        pytest.skip(f"this ffmpeg has no encoder {arguments[1]} to make the file with")
    path = tmp_path / f"v.{kind}"
    run_ffmpeg("-i", str(toned), *arguments, str(path))
    info = probe(str(path))
    assert info.duration_s == pytest.approx(8.0, abs=0.25)
    # In AVI pictures have no times, only an order; what libav says is its own guess.
    times = places(path) if kind.endswith("avi") else stated_times(path)
    assert len(times) == 81
    assert np.abs(np.subtract(times, steady(8, 10)))[:-1].max() < 0.11
    virtual = decoded(path, SPANS)
    for span, clip in zip(SPANS, virtual, strict=True):
        assert numbers_of(clip) == expected(times, span)
    for file, clip in zip(cut_and_decoded(path, SPANS, tmp_path), virtual, strict=True):
        assert numbers_of(file) == numbers_of(clip)
        if "-c:a" in arguments:
            onset = [np.argmax(np.abs(audio) > 0.2) for audio in (clip.audio, file.audio)]
            assert onset[0] / AUDIO_HZ == pytest.approx(
                ONSET_S if clip is virtual[0] else 0, abs=0.05 if "v" in kind[-4:] else 0.03
            )
            assert abs(onset[0] - onset[1]) < 0.002 * AUDIO_HZ


def test_pictures_of_which_nothing_says_when_they_appear_are_refused(raw, tmp_path):
    path = tmp_path / "v.wmv"
    run_ffmpeg("-i", str(raw), "-c:v", "libx264", "-c:a", "wmav2", str(path))
    with pytest.raises(ItemError, match="h264 in ASF") as caught:
        probe(str(path))
    assert caught.value.kind == "unreadable"


def test_pixels_that_are_not_square_stay_so_in_files(raw, tmp_path):
    path = tmp_path / "oblong.mp4"
    run_ffmpeg("-i", str(raw), "-vf", "setsar=2/1", str(path))
    media = MEDIA.model_copy(update={"max_pixels": 4 * WIDTH * HEIGHT})
    virtual = decoded(path, SPANS, media)
    for file, clip in zip(cut_and_decoded(path, SPANS, tmp_path, media), virtual, strict=True):
        assert file.frames.shape == clip.frames.shape
        assert clip.frames.shape[2:0:-1] == (2 * WIDTH, HEIGHT)
        assert numbers_of(file) == numbers_of(clip)


def combing(frames: np.ndarray) -> float:
    """How much neighbouring lines differ beside how much lines two apart do."""
    lines = frames.astype(float).mean(axis=-1)
    near = np.abs(lines[:, 1:-1] - lines[:, :-2]).mean()
    far = np.abs(lines[:, 2:] - lines[:, :-2]).mean()
    return near / (far + 1e-9)


def test_two_fields_become_one_picture(tmp_path):
    """A bar that moves between the fields is torn into a comb where nobody takes care."""
    path = tmp_path / "interlaced.mp4"
    moving = "color=black:s=320x240:r=50,drawbox=x=0:y=0:w=40:h=240:c=white:t=fill,scroll=h=0.03"
    run_ffmpeg(
        *("-f", "lavfi", "-i", moving, "-t", "4", "-vf", "tinterlace=interleave_top"),
        *("-c:v", "libx264", "-crf", "10", "-flags", "+ildct+ilme", "-x264-params", "tff=1"),
        *("-pix_fmt", "yuv420p", str(path)),
    )
    media = MediaConfig(fps=2, min_frames=2, max_frames=8, min_pixels=1024, max_pixels=320 * 240)
    spans = [Span(0.5, 2.0), Span(2.0, 3.5)]
    plain = tmp_path / "as_stored.mp4"
    run_ffmpeg("-i", str(path), "-vf", "setfield=prog", "-c:v", "libx264", "-crf", "10", str(plain))
    torn = [combing(clip.frames) for clip in decoded(plain, spans, media)]
    virtual = decoded(path, spans, media)
    assert max(combing(clip.frames) for clip in virtual) < 0.75 < min(torn)
    for file, clip in zip(cut_and_decoded(path, spans, tmp_path, media), virtual, strict=True):
        assert combing(file.frames) < 0.75
        assert np.abs(file.frames.astype(int) - clip.frames).mean() < 2


@pytest.mark.parametrize("late_s", [0.7, -0.7])
def test_streams_that_do_not_start_together(raw, tmp_path, late_s):
    """The clock is the file's: the sound keeps its distance to the picture."""
    path = tmp_path / "apart.mkv"
    delayed, other = ("1:a", "0:v") if late_s > 0 else ("1:v", "0:a")
    run_ffmpeg(
        *("-i", str(raw), "-itsoffset", str(abs(late_s)), "-i", str(raw)),
        *("-map", other, "-map", delayed, "-c", "copy", str(path)),
    )
    (clip,) = decoded(path, [Span(3.0, 5.0)])
    sound_s, picture_s = (late_s, 0.0) if late_s > 0 else (0.0, -late_s)
    there = 3.0 - sound_s + np.arange(len(clip.audio)) / AUDIO_HZ
    assert np.abs(clip.audio * 20 - there)[160:-160].max() < 0.003
    times = [time + picture_s for time in steady(8, 10)]
    assert numbers_of(clip) == expected(times, Span(3.0, 5.0))
    (file,) = cut_and_decoded(path, [Span(3.0, 5.0)], tmp_path)
    assert numbers_of(file) == numbers_of(clip)
    np.testing.assert_allclose(file.audio[400:-400], clip.audio[400:-400], atol=0.002)


def test_before_the_sound_starts_there_is_silence(raw, tmp_path):
    path = tmp_path / "late_sound.mkv"
    run_ffmpeg(
        *("-i", str(raw), "-itsoffset", "2", "-i", str(raw)),
        *("-map", "0:v", "-map", "1:a", "-c", "copy", str(path)),
    )
    (clip,) = decoded(path, [Span(0.0, 4.0)])
    (file,) = cut_and_decoded(path, [Span(0.0, 4.0)], tmp_path)
    for audio in (clip.audio, file.audio):
        assert np.abs(audio[: int(1.98 * AUDIO_HZ)]).max() < 0.001
        assert audio[int(3.9 * AUDIO_HZ)] == pytest.approx(1.9 / 20, abs=0.005)


def test_a_hole_in_the_sound_is_silence(raw, tmp_path):
    path = tmp_path / "hole.mkv"
    run_ffmpeg(
        *("-i", str(raw), "-c:v", "copy", "-c:a", "pcm_s16le"),
        *("-af", "aselect='not(between(t,2,3))'", str(path)),
    )
    spans = [Span(1.0, 4.0)]
    for clip in (decoded(path, spans)[0], cut_and_decoded(path, spans, tmp_path)[0]):
        assert np.abs(clip.audio[int(1.1 * AUDIO_HZ) : int(1.9 * AUDIO_HZ)]).max() < 0.001
        assert clip.audio[int(2.5 * AUDIO_HZ)] == pytest.approx(3.5 / 20, abs=0.005)


def test_sound_whose_kind_changes_on_its_way_is_heard_through(tmp_path):
    """As in recordings of broadcasts."""
    path = tmp_path / "changes.ts"
    with path.open("wb") as file:
        for start, channels in ((0, 2), (4, 1)):
            part = tmp_path / f"{channels}.ts"
            sound = tone(4, from_s=1, rate=48_000, channels=channels)
            movie = write_video(tmp_path / f"{channels}.mov", steady(4, 10), sound, rate=48_000)
            encode = ("-c:v", "libx264", "-c:a", "aac", "-output_ts_offset", str(start))
            run_ffmpeg("-i", str(movie), *encode, str(part))
            file.write(part.read_bytes())
    spans = [Span(0.5, 3.5), Span(4.5, 7.5)]
    virtual = decoded(path, spans)
    for clip in (*virtual, *cut_and_decoded(path, spans, tmp_path)):
        heard = np.abs(clip.audio).reshape(-1, AUDIO_HZ // 4).max(axis=1)  # in quarters of a second
        assert heard[:1].max() < 0.05
        assert heard[3:-1].min() > 0.2


def test_a_still_picture_that_stands_when_a_clip_starts_is_in_its_file(tmp_path):
    times = [*steady(2, 10)[:-1], 6.0, 6.1, 6.2, 6.3, 7.0]
    path = write_video(tmp_path / "still.mp4", times, ramp(7), sound_codec="aac")
    spans = [Span(3.0, 7.0), Span(4.5, 6.2)]
    virtual = decoded(path, spans)
    assert numbers_of(virtual[0])[0] == 19
    for file, clip in zip(cut_and_decoded(path, spans, tmp_path), virtual, strict=True):
        assert numbers_of(file) == numbers_of(clip)


def test_a_cover_picture_is_not_the_video(raw, tmp_path):
    cover, path = tmp_path / "cover.png", tmp_path / "v.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=red:s=1920x1080", "-frames:v", "1", str(cover))
    run_ffmpeg(
        *("-i", str(cover), "-i", str(raw), "-map", "0", "-map", "1", "-c:v:0", "png"),
        *("-c:v:1", "libx264", "-c:a", "aac", "-disposition:v:0", "attached_pic", str(path)),
    )
    assert (probe(str(path)).width, probe(str(path)).height) == (WIDTH, HEIGHT)
    assert numbers_of(decoded(path, SPANS[:1])[0]) == expected(steady(8, 10), SPANS[0])
    cut_and_decoded(path, SPANS[:1], tmp_path)


def test_of_several_streams_the_default_ones_are_taken(raw, tmp_path):
    path = tmp_path / "v.mkv"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "color=red:s=640x480:r=10:d=8", "-i", str(raw)),
        *("-f", "lavfi", "-i", "anullsrc=d=8", "-map", "0:v", "-map", "2:a", "-map", "1:v"),
        *("-map", "1:a", "-c:v", "libx264", "-c:a", "flac", "-disposition:v:0", "0"),
        *("-disposition:a:0", "0", "-disposition:v:1", "default", "-disposition:a:1", "default"),
        str(path),
    )
    info = probe(str(path))
    assert (info.video_stream, info.audio_stream) == (2, 3)
    (virtual,) = decoded(path, SPANS[1:2])
    (file,) = cut_and_decoded(path, SPANS[1:2], tmp_path)
    for clip in (virtual, file):
        assert numbers_of(clip) == expected(steady(8, 10), SPANS[1])
        assert np.abs(clip.audio).max() == pytest.approx(5.0 / 20, abs=0.02)
