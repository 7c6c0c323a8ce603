import http.server
import threading

import fsspec
import pytest

from ah_ray.errors import ItemError
from ah_ray.media.probe import open_media, pick_streams, probe
from tests.media.coded_video import HEIGHT, WIDTH, ramp, run_ffmpeg, steady, write_video


def kind_of(uri) -> str:
    with pytest.raises(ItemError) as caught:
        probe(str(uri))
    assert str(uri) in caught.value.message
    return caught.value.kind


def test_a_video_says_what_it_holds(ramped):
    info = probe(str(ramped))
    assert info.duration_s == pytest.approx(12.0, abs=0.02)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert info.fps == pytest.approx(10.0)
    assert (info.video_stream, info.audio_stream) == (0, 1)


def test_a_video_without_sound(silent):
    info = probe(str(silent))
    assert info.audio_stream is None
    assert info.duration_s == pytest.approx(6.0, abs=0.02)


def test_a_broken_frame_rate_keeps_its_length(toned):
    info = probe(str(toned))
    assert info.fps == pytest.approx(29.97, abs=0.01)
    assert info.duration_s == pytest.approx(12.0, abs=0.05)


@pytest.mark.parametrize("name", ["late.mov", "late.mkv", "late.webm"])
def test_sound_after_the_picture_does_not_count(folder, name):
    # .mkv and .webm give 6 s today: Matroska has no stream durations, so the file's is used.
    options = {"codec": "libvpx", "sound_codec": "libopus"} if name.endswith("webm") else {}
    sound = ramp(6, rate=48_000)
    path = write_video(folder / name, steady(4, 10), sound, rate=48_000, **options)
    assert probe(str(path)).duration_s == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_size_is_that_of_the_turned_picture(rotated, degrees):
    info = probe(str(rotated(degrees)))
    assert (info.width, info.height) == (WIDTH, HEIGHT)


def test_a_remote_file_is_the_same_file(silent):
    fsspec.filesystem("memory").pipe("/probe/silent.mp4", silent.read_bytes())
    assert probe("memory://probe/silent.mp4") == probe(str(silent))


def test_a_missing_file(tmp_path):
    assert kind_of(tmp_path / "none.mp4") == "missing"
    assert kind_of("memory://probe/none.mp4") == "missing"


@pytest.mark.parametrize("content", [b"", b"hello\n" * 1000, bytes(10_000), b"\x00\x00\x00 ftyp"])
def test_what_is_no_video_is_unreadable(tmp_path, content):
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    assert kind_of(path) == "unreadable"


@pytest.mark.parametrize("kind", ["gif", "nut", "ivf", "wav"])
def test_a_refusal_names_the_format(tmp_path, ramped, kind):
    made, path = tmp_path / f"v.{kind}", tmp_path / "v.mp4"
    run_ffmpeg(
        "-i", str(ramped), "-t", "1", *(["-c:v", "libvpx"] if kind == "ivf" else []), str(made)
    )
    path.write_bytes(made.read_bytes())
    with pytest.raises(ItemError, match=f"{path}: looks like {kind}, .*convert it") as caught:
        probe(str(path))
    assert caught.value.kind == "unreadable"


def test_a_video_without_its_index_is_unreadable(tmp_path, toned):
    path = tmp_path / "killed.mp4"
    path.write_bytes(toned.read_bytes()[: toned.stat().st_size // 2])  # the index is at the end
    assert kind_of(path) == "unreadable"


def test_a_folder_is_unreadable(tmp_path):
    assert kind_of(tmp_path) == "unreadable"


def test_sound_alone_is_no_video(tmp_path, ramped):
    path = tmp_path / "sound.mov"
    run_ffmpeg("-i", str(ramped), "-vn", "-c", "copy", str(path))
    with pytest.raises(ItemError) as caught:
        probe(str(path))
    assert caught.value.kind == "no_video"


@pytest.fixture
def web(silent):
    """A web server that counts who asks for its video."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(silent.read_bytes())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v.mp4", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("script", ["hls", "concat", "reference"])
def test_a_script_with_a_videos_name_opens_nothing_else(tmp_path, silent, web, script):
    url, asked = web
    (tmp_path / "other.mp4").write_bytes(silent.read_bytes())
    playlist = (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{}\n#EXT-X-ENDLIST\n"
    )
    targets = ["other.mp4", str(tmp_path / "other.mp4"), f"file:{tmp_path}/other.mp4", url]
    for number, target in enumerate(targets):
        text = {
            "hls": playlist.format(target),
            "concat": f"ffconcat version 1.0\nfile '{target}'\n",
            "reference": f'<?xml version="1.0"?><MPD><BaseURL>{target}</BaseURL></MPD>',
        }[script]
        path = tmp_path / f"{script}{number}.mp4"
        path.write_text(text)
        assert kind_of(path) == "unreadable"
    assert not asked


def test_the_streams_are_the_default_ones(real_media):
    path = real_media / "nasa_13013.mp4"
    info = probe(str(path))
    with open_media(str(path)) as container:
        video, audio = pick_streams(container, str(path))
        assert (video.index, audio.index) == (info.video_stream, info.audio_stream)
    assert (info.width, info.height) in {(320, 180), (480, 270)}
    assert info.audio_stream is not None


@pytest.mark.parametrize(
    ("name", "seconds", "size", "fps"),
    [
        ("av1_video.mkv", 5.0, (640, 360), 25),
        ("h265_video.mp4", 1.0, (128, 128), 10),
        ("bt709_full_range.mp4", 1.0, (1280, 720), 30),
    ],
)
def test_real_videos_of_other_codecs(real_media, name, seconds, size, fps):
    info = probe(str(real_media / name))
    assert info.duration_s == pytest.approx(seconds, abs=0.05)
    assert (info.width, info.height) == size
    assert info.fps == pytest.approx(fps)
    assert info.audio_stream is None
