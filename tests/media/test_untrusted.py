"""Files that lie about where their media is, how long or how large they are: nobody follows."""

import contextlib
import math
import os
import re
import socket
import struct

import av
import imageio_ffmpeg
import pytest

from ah_ray.errors import ItemError
from ah_ray.media import cut as cutting
from ah_ray.media.config import LimitsConfig
from ah_ray.media.cut import cut
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import Span
from tests.media.coded_video import MEDIA, run_ffmpeg, steady, tone, write_video

SPANS = {"a": Span(0.0, 2.0), "b": Span(2.0, 4.0)}
INFO = MediaInfo(6.0, 160, 64, 10.0, 0, None)  # as of a video that was fine when it was probed


def kind_of(call, *args) -> str:
    with pytest.raises(ItemError) as caught:
        call(*args)
    return caught.value.kind


def refusals(path, folder) -> list[str]:
    """The kinds of error of all that reads videos; ffmpeg has to refuse by itself too."""
    kinds = [kind_of(probe, str(path))]
    kinds += [error.kind for _, error in decode(str(path), list(SPANS.values()), MEDIA)]
    kinds.append(kind_of(cut, str(path), INFO, SPANS, str(folder / "clips")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "_picture_times", lambda *args: cutting._Times(steady(6, 10), []))
        kinds.append(kind_of(cut, str(path), INFO, SPANS, str(folder / "clips")))
    assert not (folder / "clips").exists()
    return kinds


class Canary:
    """A video that tells whether somebody has read it."""

    def __init__(self, path, content: bytes) -> None:
        self.path = path
        path.write_bytes(content)
        self.rest()
        path.read_bytes()
        if not self.was_read():
            pytest.skip("this file system does not keep when a file was read")
        self.rest()

    def rest(self) -> None:
        os.utime(self.path, (1_000_000_000, 1_100_000_000))  # read before it was written

    def was_read(self) -> bool:
        return self.path.stat().st_atime != 1_000_000_000


@pytest.fixture
def canary(tmp_path, silent) -> Canary:
    return Canary(tmp_path / "canary.mp4", silent.read_bytes())


@pytest.fixture
def listener():
    """A port, and a function that says whether somebody has called it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def was_called() -> bool:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield server.getsockname()[1], was_called


SCRIPTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{}\n#EXT-X-ENDLIST\n",
    "hls_key": '#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n'
    "#EXTINF:6,\n{0}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\nduration 6\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT6S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="0" bandwidth="1"><BaseURL>{}</BaseURL><SegmentBase/>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\na=control:{}\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_reads_no_file_and_calls_nobody(tmp_path, canary, listener, script):
    port, was_called = listener
    path = tmp_path / "script.mp4"
    for target in (
        canary.path.name,
        canary.path,
        f"file:{canary.path}",
        f"http://127.0.0.1:{port}/v.mp4",
        f"tcp://127.0.0.1:{port}",
    ):
        path.write_text(SCRIPTS[script].format(target))
        kinds = refusals(path, tmp_path)
        assert kinds == [*["unreadable"] * 4, "cut_failed"]
        assert not canary.was_read()
        assert not was_called()


def test_the_scripts_are_such_that_players_follow_them(tmp_path, canary):
    """Else the test above could not fail."""
    path = tmp_path / "script.mp4"
    for script in ("hls", "concat"):
        path.write_text(SCRIPTS[script].format(canary.path))
        options = {"safe": "0"} if script == "concat" else {"extension_picky": "0"}
        told = {"format": script, "options": options}
        with contextlib.suppress(av.FFmpegError), av.open(str(path), **told):
            pass
        assert canary.was_read()
        canary.rest()


def referring(path, source, other):
    """A copy of a movie which says that its media is in the file ``other`` (the atom ``dref``)."""
    run_ffmpeg("-i", str(source), "-c", "copy", "-f", "mov", str(path))
    data = path.read_bytes()
    place = data.index(b"dref") - 4
    old = int.from_bytes(data[place : place + 4], "big")
    name, text = other.name.encode(), str(other).encode()

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack(">hH", kind, len(content)) + content + bytes(len(content) % 2)

    # A Macintosh alias: 150 bytes of which only the name counts, then tagged records.
    alias = bytearray(150)
    alias[10] = 0
    alias[50], alias[51 : 51 + len(name)] = len(name), name
    alias[130:134] = struct.pack(">hh", 1, 1)  # levels from, to
    alias += record(2, text.replace(b"/", b":")) + record(18, text) + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + bytes(alias)  # flag 0: elsewhere
    atom = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    grown = bytearray(data[:place] + atom + data[place + old :])
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = grown.index(parent) - 4
        length = int.from_bytes(grown[at : at + 4], "big") + len(atom) - old
        grown[at : at + 4] = length.to_bytes(4, "big")
    media = grown.index(b"mdat") + 4
    moov = grown.index(b"moov") - 4
    grown[media:moov] = bytes(moov - media)  # nothing of its own
    path.write_bytes(grown)
    return path


def test_media_in_another_file_is_not_read(tmp_path, silent, canary):
    path = referring(tmp_path / "refers.mov", silent, canary.path)
    told = {"enable_drefs": "1", "use_absolute_path": "1"}
    with contextlib.suppress(av.FFmpegError), av.open(str(path), options=told) as container:
        next(container.decode(video=0))
    assert canary.was_read()  # by a player that is told to
    canary.rest()
    assert set(refusals(path, tmp_path)) <= {"unreadable", "no_picture", "cut_failed"}
    assert not canary.was_read()


def test_pictures_that_grow_are_not_cut_either(tmp_path):
    """ffmpeg has the same limit, which holds for every picture and not just for the first."""
    parts = []
    for size, start in (("320x180", 0), ("1280x720", 4)):
        parts.append(tmp_path / f"{size}.ts")
        moving = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d=4", "-g", "10"]
        run_ffmpeg(*moving, "-output_ts_offset", str(start), str(parts[-1]))
    path = tmp_path / "grows.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    limits = LimitsConfig(max_pixels=320 * 180)
    spans = {"small": Span(0.0, 3.0), "large": Span(5.0, 7.0)}
    clips = dict(decode(str(path), list(spans.values()), MEDIA, limits))
    assert isinstance(clips[0], DecodedClip)
    assert isinstance(clips[1], ItemError)
    info = MediaInfo(8.0, 320, 180, 10.0, 0, None)
    done = cut(str(path), info, spans, str(tmp_path / "clips"), limits)
    assert list(done.failed) == ["large"]
    assert sorted(p.name for p in (tmp_path / "clips").iterdir()) == ["small.mp4", "small.wav"]
    assert probe(str(tmp_path / "clips" / "small.mp4")).width == 320


def test_the_time_limit_is_one_for_all_runs_of_a_source(tmp_path, silent, monkeypatch):
    slow = tmp_path / "ffmpeg"
    slow.write_text(f'#!/bin/sh\nsleep 0.6\nexec {imageio_ffmpeg.get_ffmpeg_exe()} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(slow))
    monkeypatch.setattr(cutting, "_CLIPS_PER_RUN", 1)
    spans = {f"clip{index}": Span(index, index + 1.0) for index in range(5)}
    limits = LimitsConfig(timeout_s=2.5)
    folder = tmp_path / "clips"
    assert kind_of(cut, str(silent), probe(str(silent)), spans, str(folder), limits) == "timeout"
    assert not folder.exists()


def test_listing_pictures_and_looking_for_a_first_one_end_in_time(tmp_path, silent):
    spent = LimitsConfig(timeout_s=1e-9)
    assert kind_of(probe, str(silent), spent) == "timeout"
    assert kind_of(cut, str(silent), INFO, SPANS, str(tmp_path / "clips"), spent) == "timeout"
    assert [error.kind for _, error in decode(str(silent), [*SPANS.values()], MEDIA, spent)] == [
        "timeout",
        "timeout",
    ]


def test_a_header_of_a_day_is_too_long(tmp_path, silent):
    path = tmp_path / "day.mp4"
    run_ffmpeg("-i", str(silent), "-c", "copy", "-video_track_timescale", "1000", str(path))
    data = bytearray(path.read_bytes())
    media, times = data.index(b"mdhd"), data.index(b"stts")
    struct.pack_into(">I", data, media + 20, 86_400 * 1000)
    entries, count, _ = struct.unpack_from(">III", data, times + 8)
    assert (entries, count) == (1, 60)
    struct.pack_into(">I", data, times + 16, 86_400 * 1000 // count)
    while (at := data.find(b"elst")) >= 0:  # edit lists would tell the truth
        data[at : at + 4] = b"free"
    path.write_bytes(data)
    assert kind_of(probe, str(path)) == "too_long"
    assert probe(str(path), LimitsConfig(max_duration_s=1e6)).duration_s > 6 * 3600


@pytest.mark.parametrize("claim", [math.nan, math.inf, -6000.0, 0.0, None, 86_400_000.0])
def test_a_length_that_cannot_be_is_measured(tmp_path, claim):
    path = write_video(tmp_path / "v.mkv", steady(2, 10), tone(2))
    data = path.read_bytes()
    data = data.replace(b"DURATION", b"REMARKED")  # the tags of the streams
    at = re.search(rb"\x44\x89\x88", data).end()  # the segment's own length, in milliseconds
    if claim is None:
        data = data[: at - 3] + b"\xec\x89" + data[at - 1 :]  # a void of nine bytes
    else:
        data = data[:at] + struct.pack(">d", claim) + data[at + 8 :]
    path.write_bytes(data)
    if claim == 86_400_000.0:
        assert kind_of(probe, str(path)) == "too_long"
    else:
        assert probe(str(path)).duration_s == pytest.approx(2.0, abs=0.01)
