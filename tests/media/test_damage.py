"""Files with broken pictures: each is counted where it is, and costs no more than it must."""

import random

import av
import pytest

from ah_ray.errors import ItemError
from ah_ray.media.cut import cut
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span
from tests.media.coded_video import MEDIA, run_ffmpeg, steady, tone, write_video

SPANS = [Span(2.0 * index, 2.0 * index + 2) for index in range(6)]
GOP = 20  # pictures at 10 Hz: no clip needs a picture of another
KINDS = {
    "h264.mp4": ["-c:v", "libx264", "-x264-params", f"keyint={GOP}:scenecut=0"],
    "h264.mkv": ["-c:v", "libx264", "-x264-params", f"keyint={GOP}:scenecut=0"],
    "hevc.mp4": ["-c:v", "libx265", "-x265-params", f"log-level=none:keyint={GOP}:scenecut=0"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-q:v", "3", "-g", str(GOP)],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-g", str(GOP)],
    "av1.mkv": ["-c:v", "libsvtav1", "-preset", "12", "-g", str(GOP)],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Twelve seconds of a moving picture, without sound, in the container and codec of a kind."""
    folder = tmp_path_factory.mktemp("whole")

    def make(name: str, *arguments: str):
        path = folder / name
        if not path.exists():
            moving = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=10:d=12", "-pix_fmt", "yuv420p"]
            run_ffmpeg(*moving, *arguments, str(path))
        return path

    return make


def ruined(source, path, from_s: float, to_s: float, *, flips: int = 0, stream: str = "video"):
    """A copy whose packets of [from_s, to_s) are zeros, or have some of their bits flipped."""
    data = bytearray(source.read_bytes())
    chance = random.Random(5)
    with av.open(str(source)) as container:
        start = (container.start_time or 0) / av.time_base
        found = container.streams.best(stream)
        for packet in container.demux(found):
            moment = packet.pts if packet.pts is not None else packet.dts
            if packet.size == 0 or not from_s <= float(moment * packet.time_base) - start < to_s:
                continue
            first, last = packet.pos + min(8, packet.size), packet.pos + packet.size
            if flips:
                for _ in range(flips):
                    data[chance.randrange(first, last)] ^= 1 << chance.randrange(8)
            else:
                data[first:last] = bytes(last - first)
    path.write_bytes(data)
    return path


def counted(path, spans=SPANS) -> list[int | str]:
    """The damage of each clip, or the kind of its error."""
    clips = dict(decode(str(path), spans, MEDIA, every_picture=True))
    return [
        clips[index].damage if isinstance(clips[index], DecodedClip) else clips[index].kind
        for index in range(len(spans))
    ]


def cut_all(path, folder, spans=SPANS):
    return cut(
        str(path), probe(str(path)), {f"{n}": span for n, span in enumerate(spans)}, str(folder)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_counted_in_its_clip_and_nowhere_else(whole, tmp_path, kind):
    source = whole(kind, *KINDS[kind])
    assert counted(source) == [0] * 6
    path = ruined(source, tmp_path / kind, 4.45, 4.95)
    damage = counted(path)
    assert isinstance(damage[2], int)
    assert damage[2] > 0
    assert damage == [0, 0, damage[2], 0, 0, 0]
    done = cut_all(path, tmp_path / "clips")
    counts = {str(index): count for index, count in enumerate(damage)}
    if kind.startswith("hevc"):  # shows nothing until the next key picture: too short a file
        assert list(done.failed) == ["2"]
        del counts["2"]
    assert done.damage == counts
    decoder = {"av1": "dav1d"}.get(kind.split(".")[0], kind.split(".")[0])
    assert decoder in done.warning
    assert "\n" not in done.warning


@pytest.mark.parametrize("kind", ["h264.mp4", "mpeg4.avi"])
def test_pictures_with_a_few_wrong_bits_are_shown_and_counted(whole, tmp_path, kind):
    path = ruined(whole(kind, *KINDS[kind]), tmp_path / kind, 4.45, 4.95, flips=10)
    damage = counted(path)
    assert 0 < damage[2] <= 20  # pictures, not lines of ffmpeg's log
    assert damage == [0, 0, damage[2], 0, 0, 0]


def test_each_ruined_picture_counts_once_where_it_belongs(whole, tmp_path):
    """Also the first and the last picture of a clip; decoders are ahead of what they show."""
    intra = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-g", "1"]
    path = ruined(whole("intra.webm", *intra), tmp_path / "v.webm", 3.85, 4.25)
    path = ruined(path, tmp_path / "w.webm", 7.95, 8.05)
    assert counted(path) == [0, 1, 3, 0, 1, 0]
    done = cut_all(path, tmp_path / "clips")
    assert done.damage == {"0": 0, "1": 1, "2": 3, "3": 0, "4": 1, "5": 0}
    assert counted(path, [Span(3.0, 5.0), Span(3.75, 4.05), Span(3.5, 3.85)]) == [4, 2, 0]


def test_damage_at_the_start_of_a_clip_counts_although_decoding_is_ahead(whole, tmp_path):
    source = whole("h264.mp4", *KINDS["h264.mp4"])
    with av.open(str(source)) as container:
        order = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None]
    early = next(  # comes in the file before pictures that are shown before it
        time for n, time in enumerate(order) if time > 4.5 and min(order[n + 1 :]) < time
    )
    path = ruined(source, tmp_path / "v.mp4", early - 0.01, early + 0.01)
    assert counted(path, [Span(early, early + 1)])[0] > 0


@pytest.mark.parametrize("kind", ["h264.mp4", "hevc.mp4", "vp9.webm"])
def test_a_clip_without_a_decodable_picture_is_an_error(whole, tmp_path, kind):
    path = ruined(whole(kind, *KINDS[kind]), tmp_path / kind, 3.95, 5.95)
    damage = counted(path)
    assert damage == [0, damage[1], "no_picture", 0, 0, 0]  # one before may be lost with them
    done = cut_all(path, tmp_path / "clips")
    assert {name: error.kind for name, error in done.failed.items()} == {"2": "cut_failed"}
    assert {p.stem for p in (tmp_path / "clips").iterdir()} == set("01345")
    assert [done.damage[name] for name in "01345"] == [0, damage[1], 0, 0, 0]


def test_damaged_sound_is_counted_too(tmp_path):
    times = steady(12, 10)
    source = write_video(tmp_path / "whole.mp4", times, tone(12), sound_codec="aac")
    path = ruined(source, tmp_path / "v.mp4", 4.5, 5.0, stream="audio")
    damage = counted(path)
    assert damage[2] > 0
    assert damage == [0, 0, damage[2], 0, 0, 0]
    done = cut_all(path, tmp_path / "clips")
    assert done.damage == {str(index): count for index, count in enumerate(damage)}


@pytest.mark.parametrize("kind", ["h264.mp4", "vp9.webm"])
def test_a_broken_start_costs_the_start(whole, tmp_path, kind):
    path = ruined(whole(kind, *KINDS[kind]), tmp_path / kind, 0.0, 1.95)
    assert probe(str(path)) == probe(str(whole(kind)))
    damage = counted(path)
    assert damage == ["no_picture", 0, 0, 0, 0, 0]
    assert list(cut_all(path, tmp_path / "clips").failed) == ["0"]


def test_a_file_of_nothing_but_damage_is_unreadable(whole, tmp_path):
    path = ruined(whole("vp9.webm", *KINDS["vp9.webm"]), tmp_path / "v.webm", 0.0, 12.0)
    with pytest.raises(ItemError) as caught:
        probe(str(path))
    assert caught.value.kind == "unreadable"
    assert set(counted(path)) == {"no_picture"}
