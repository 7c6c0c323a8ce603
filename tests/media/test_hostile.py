"""Files that want too much: other files, memory, or time for ever. Each is an error, soon."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import av
import psutil
import pytest

from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig
from ah_ray.media.cut import cut
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import Span
from tests.media.coded_video import MEDIA, run_ffmpeg, steady, write_video

SPANS = {"a": Span(0.0, 2.0), "b": Span(2.0, 4.0)}
INFO = MediaInfo(6.0, 160, 64, 10.0, 0, None)  # as of a video that was fine when it was probed


def outcomes(path, folder, limits: LimitsConfig | None = None) -> dict[str, str]:
    """The kind of error by which each of our readers refuses a file."""
    limits = limits or LimitsConfig()
    kinds = {}
    with pytest.raises(ItemError) as caught:
        probe(str(path), limits)
    kinds["probe"] = caught.value.kind
    results = list(decode(str(path), list(SPANS.values()), MEDIA, limits))
    assert sorted(index for index, _ in results) == [0, 1]
    (kinds["decode"],) = {error.kind for _, error in results}
    with pytest.raises(ItemError) as caught:
        cut(str(path), INFO, SPANS, str(folder / "clips"), limits)
    kinds["cut"] = caught.value.kind
    assert not (folder / "clips").exists()
    return kinds


@pytest.mark.parametrize("script", ["hls", "concat", "dash", "sdp", "image"])
def test_a_script_with_a_videos_name_is_refused_by_all(tmp_path, silent, script):
    other = tmp_path / "other.mp4"
    other.write_bytes(silent.read_bytes())
    path = tmp_path / "script.mp4"
    path.write_text(
        {
            "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{other}\n#EXT-X-ENDLIST\n",
            "concat": f"ffconcat version 1.0\nfile '{other}'\n",
            "dash": f'<?xml version="1.0"?><MPD type="static"><BaseURL>{other}</BaseURL></MPD>',
            "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
            "image": "P6 64 64 255\n" + "x" * 64 * 64 * 3,
        }[script]
    )
    assert outcomes(path, tmp_path) == dict.fromkeys(("probe", "decode", "cut"), "unreadable")


def test_a_reference_to_another_file_inside_a_movie_is_not_followed(tmp_path, silent):
    """QuickTime movies may keep their media in another file (the atom ``dref``)."""
    path, other = tmp_path / "refers.mov", tmp_path / "other.mp4"
    other.write_bytes(silent.read_bytes())
    run_ffmpeg("-i", str(silent), "-c", "copy", "-movflags", "+faststart", str(path))
    data = path.read_bytes()
    place = data.index(b"dref") - 4
    entry = str(other).encode()
    alias = (12 + len(entry)).to_bytes(4, "big") + b"url " + bytes(4) + entry  # flag 0: elsewhere
    size = 16 + len(alias)
    atom = size.to_bytes(4, "big") + b"dref" + bytes(4) + (1).to_bytes(4, "big") + alias
    old = int.from_bytes(data[place : place + 4], "big")
    grown = bytearray(data[:place] + atom + data[place + old :])
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = grown.index(parent) - 4
        length = int.from_bytes(grown[at : at + 4], "big") + size - old
        grown[at : at + 4] = length.to_bytes(4, "big")
    media = grown.index(b"mdat") + 4
    path.write_bytes(bytes(grown[:media]) + bytes(len(grown) - media))  # nothing of its own
    results = list(decode(str(path), [Span(0.0, 2.0)], MEDIA))
    assert all(isinstance(result, ItemError) for _, result in results)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """One second of 1280x720."""
    path = tmp_path_factory.mktemp("big") / "big.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=10:d=4", str(path))
    return path


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(tmp_path, big):
    limits = LimitsConfig(max_pixels=1280 * 720 - 1)
    kinds = outcomes(big, tmp_path, limits)
    assert kinds == dict.fromkeys(("probe", "decode", "cut"), "too_large")
    assert probe(str(big), LimitsConfig(max_pixels=1280 * 720)).width == 1280


def test_a_picture_that_grows_on_the_way_costs_its_clips_only(tmp_path):
    raw, path = tmp_path / "grows.h264", tmp_path / "grows.ts"
    parts = []
    for size in ("320x180", "1280x720"):
        part = tmp_path / f"{size}.h264"
        picture = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d=4")
        run_ffmpeg(*picture, "-c:v", "libx264", "-bf", "0", str(part))
        parts.append(part.read_bytes())
    raw.write_bytes(b"".join(parts))
    run_ffmpeg("-r", "10", "-i", str(raw), "-c", "copy", str(path))
    limits = LimitsConfig(max_pixels=320 * 180)
    clips = dict(decode(str(path), [Span(0.0, 3.0), Span(5.0, 7.0)], MEDIA, limits))
    assert isinstance(clips[0], DecodedClip)
    assert isinstance(clips[1], ItemError)
    grown = dict(decode(str(path), [Span(0.0, 3.0), Span(5.0, 7.0)], MEDIA))
    assert {type(clip) for clip in grown.values()} == {DecodedClip}
    assert grown[0].frames.shape[1:] == grown[1].frames.shape[1:]


def test_a_picture_of_two_fields_whose_size_changes_takes_no_process_down(tmp_path):
    """A deinterlacer reads as far as its first picture was wide and high."""
    path = tmp_path / "changes.ts"
    with path.open("wb") as file:
        for number, size in enumerate(("720x576", "160x64", "352x288")):
            part = tmp_path / f"{size}.ts"
            picture = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=2")
            fields = ("-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-bf", "0")
            run_ffmpeg(*picture, *fields, "-output_ts_offset", f"{2 * number}", str(part))
            file.write(part.read_bytes())
    spans = [Span(0.0, 2.0), Span(2.0, 4.0), Span(4.0, 6.0)]
    clips = dict(decode(str(path), spans, MEDIA))
    assert all(isinstance(clip, DecodedClip) for clip in clips.values()), clips


def test_streams_that_appear_late_are_none_of_ours(tmp_path, silent):
    """In FLV each packet says what it is, and sound of another kind is another stream."""
    whole, path = tmp_path / "whole.flv", tmp_path / "late.flv"
    sound = ("-f", "lavfi", "-i", "sine=f=500:d=6", "-ar", "44100", "-c:a", "libmp3lame")
    run_ffmpeg("-i", str(silent), *sound, "-c:v", "flv1", str(whole))
    data = bytearray(whole.read_bytes())
    places, at = [], 13  # behind the header
    while at < len(data):
        if data[at] == 8:  # sound
            places.append(at + 11)
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")
    for number, place in enumerate(places[-40:]):
        data[place] = (number % 16) << 4 | data[place] & 15
    path.write_bytes(data)
    assert probe(str(path)).duration_s == pytest.approx(6.0, abs=0.1)
    clips = dict(decode(str(path), list(SPANS.values()), MEDIA))
    assert all(isinstance(clip, DecodedClip) for clip in clips.values()), clips
    assert not cut(str(path), probe(str(path)), SPANS, str(tmp_path / "clips")).failed


def test_what_is_no_file_is_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    for path in (pipe, tmp_path / "zero.mp4"):
        kinds = outcomes(path, tmp_path)
        assert kinds == dict.fromkeys(("probe", "decode", "cut"), "unreadable")


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """Pictures without end at the same place in time, as far as a limit of half a second goes."""
    folder = tmp_path_factory.mktemp("endless")
    path = folder / "endless.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        frame = av.VideoFrame(1280, 720, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(1500):
            frame.pts = number
            for packet in stream.encode(frame):
                packet.pts = packet.dts = min(number, 10)
                with contextlib.suppress(av.FFmpegError):
                    container.mux(packet)
    return path


def test_what_never_comes_to_an_end_is_given_up(tmp_path, endless):
    limits = LimitsConfig(timeout_s=0.05)
    started = time.monotonic()
    ((_, error),) = decode(str(endless), [Span(0.0, 5.0)], MEDIA, limits)
    assert isinstance(error, ItemError)
    assert error.kind == "timeout"
    assert str(endless) in error.message
    assert time.monotonic() - started < 60  # of work without end


def children(name: str) -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [child for child in found if name in child.name()]


def test_an_ffmpeg_that_takes_too_long_is_ended(tmp_path, big):
    with pytest.raises(ItemError) as caught:
        cut(str(big), probe(str(big)), SPANS, str(tmp_path / "clips"), LimitsConfig(timeout_s=0.05))
    assert caught.value.kind == "timeout"
    assert not children("ffmpeg")
    assert not (tmp_path / "clips").exists()


def test_an_ffmpeg_that_takes_too_much_memory_fails_alone(tmp_path, big):
    limits = LimitsConfig(max_memory_mb=64)
    with pytest.raises(ItemError) as caught:
        cut(str(big), probe(str(big)), SPANS, str(tmp_path / "clips"), limits)
    assert caught.value.kind == "cut_failed"
    assert not (tmp_path / "clips").exists()


def test_who_may_use_little_memory_cuts_with_that(tmp_path, silent):
    """``ulimit -v`` of a shell or a batch system is below ``limits.max_memory_mb``."""
    code = (
        "import resource, sys; from ah_ray.media.cut import cut; "
        "from ah_ray.media.probe import probe; from ah_ray.media.segment import Span; "
        "resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2); "
        "done = cut(sys.argv[1], probe(sys.argv[1]), {'a': Span(0.0, 2.0)}, sys.argv[2]); "
        "print(done.damage)"
    )
    command = [sys.executable, "-c", code, str(silent), str(tmp_path / "clips")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr) == ("{'a': 0}", "")


def test_an_ffmpeg_that_is_killed_leaves_nothing(tmp_path, big):
    def kill() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for child in children("ffmpeg"):
                child.send_signal(signal.SIGKILL)
                return
            time.sleep(0.001)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ItemError) as caught:
        cut(str(big), probe(str(big)), SPANS, str(tmp_path / "clips"))
    killer.join()
    assert caught.value.kind == "cut_failed"
    assert not (tmp_path / "clips").exists()
    assert not cut(str(big), probe(str(big)), SPANS, str(tmp_path / "clips")).failed


def test_a_length_beyond_the_limit_is_refused(tmp_path, silent):
    path = tmp_path / "long.mkv"
    run_ffmpeg("-i", str(silent), "-c", "copy", str(path))
    stated = b"00:00:06.000000000"
    assert stated in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(stated, b"99:00:06.000000000"))
    with pytest.raises(ItemError) as caught:
        probe(str(path))
    assert caught.value.kind == "too_long"
    with pytest.raises(ItemError) as caught:
        probe(str(silent), LimitsConfig(max_duration_s=5.0))
    assert caught.value.kind == "too_long"


def test_a_length_of_nothing_is_none(tmp_path):
    path = tmp_path / "one.mkv"
    write_video(path, [0.0, 0.1])
    data = path.read_bytes()
    for tag in (b"DURATION", b"\x44\x89"):  # the stream's and the segment's own
        data = data.replace(tag, b"X" * len(tag))
    path.write_bytes(data)
    with contextlib.suppress(ItemError):
        assert 0 < probe(str(path)).duration_s < 1


def test_a_clip_of_one_picture_is_told_and_the_others_exist(tmp_path):
    path = write_video(tmp_path / "slides.mp4", [*steady(2, 10)[:-1], 2.0, 9.0, 9.1, 9.2, 9.3])
    spans = {"moving": Span(0.0, 2.0), "still": Span(3.0, 8.0)}
    done = cut(str(path), probe(str(path)), spans, str(tmp_path / "clips"))
    assert list(done.failed) == ["still"]
    assert "1 picture" in done.failed["still"].message
    assert sorted(p.name for p in (tmp_path / "clips").iterdir()) == ["moving.mp4", "moving.wav"]
