"""Pictures are read as people see them, by what they are and not by their name, or refused."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ah_ray import storage
from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig, MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.fingerprint import fingerprint
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import STILL, Span

WIDTH, HEIGHT = 96, 64
SHOWN = MediaConfig(min_frames=2, min_pixels=64 * 64, max_pixels=128 * 128)
CORNERS = ((8, 8), (8, -8), (-8, 8), (-8, -8))
RED, GREEN, BLUE, GREY = (230, 20, 20), (20, 230, 20), (20, 20, 230), (128, 128, 128)


def pixels() -> np.ndarray:
    """A colour in each corner."""
    found = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for (row, column), colour in zip(CORNERS, (RED, GREEN, BLUE, GREY), strict=True):
        rows = slice(0, HEIGHT // 2) if row > 0 else slice(HEIGHT // 2, None)
        found[rows, slice(0, WIDTH // 2) if column > 0 else slice(WIDTH // 2, None)] = colour
    return found


IMAGE = Image.fromarray(pixels())


def written(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


JPEG = written(IMAGE, "JPEG", quality=95, subsampling=0)
PNG = written(IMAGE, "PNG")


def decoded(path, media=SHOWN, spans=(STILL,), limits=LimitsConfig()):
    clips = dict(decode(str(path), list(spans), media, limits))
    assert sorted(clips) == list(range(len(spans)))
    return clips[0]


def corners(path) -> list[tuple[int, ...]]:
    clip = decoded(path)
    assert isinstance(clip, DecodedClip), clip
    return [tuple(map(int, clip.frames[0][corner])) for corner in CORNERS]


def refusal(path, limits=LimitsConfig()) -> tuple[str, str]:
    """What ``probe`` and ``decode`` both say against a file."""
    with pytest.raises(ItemError) as caught:
        probe(str(path), limits)
    clip = decoded(path, limits=limits)
    assert isinstance(clip, ItemError)
    assert (clip.kind, clip.message) == (caught.value.kind, caught.value.message)
    assert str(path) in clip.message
    return clip.kind, clip.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jpg", JPEG),
        ("a.png", PNG),
        ("a.webp", written(IMAGE, "WEBP", lossless=True)),
        ("lossy.webp", written(IMAGE, "WEBP", quality=95)),
        ("palette.png", written(IMAGE.convert("P", palette=Image.Palette.ADAPTIVE), "PNG")),
        ("progressive.JPEG", written(IMAGE, "JPEG", quality=95, progressive=True)),
        ("cmyk.jpg", written(IMAGE.convert("CMYK"), "JPEG", quality=95)),
        ("two.jpg", written(IMAGE, "MPO", save_all=True, append_images=[Image.new("L", (8, 8))])),
        ("a.mp4", JPEG),
        ("a", PNG),
        ("a%03d.jpg", JPEG),
    ],
)
def test_a_picture_is_every_frame_of_one_clip(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    info = probe(str(path))
    assert info == MediaInfo(STILL.duration_s, WIDTH, HEIGHT, 0.0, 0, None, still=True)
    clip = decoded(path)
    assert clip.frames.shape == (2, HEIGHT, WIDTH, 3)
    assert (clip.frames[0] == clip.frames[1]).all()
    np.testing.assert_allclose(corners(path), (RED, GREEN, BLUE, GREY), atol=12)
    assert clip.damage == 0
    assert clip.audio.shape == (16_000,)
    assert not clip.audio.any()


def test_a_model_gets_a_picture_in_the_ways_in_which_it_gets_a_video(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    for update, frames, size in (
        ({"picture": "images", "images": 1, "audio": "none"}, 1, (HEIGHT, WIDTH)),
        ({"picture": "images", "images": 3, "pick": "random"}, 3, (HEIGHT, WIDTH)),
        ({"fps": 10.0}, 10, (HEIGHT, WIDTH)),
        ({"min_frames": 4}, 4, (HEIGHT, WIDTH)),
        ({"square": 32}, 2, (32, 32)),
    ):
        media = MediaConfig(**SHOWN.model_dump() | update)
        clip = decoded(path, media)
        assert clip.frames.shape == (frames, *size, 3)
        assert (clip.frames == clip.frames[0]).all()
        assert clip.fps == frames
        assert len(clip.audio) == (0 if media.audio == "none" else 16_000)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    # How the eight values lie is EXIF's: which side of the picture row 0 is, and column 0.
    turned = [
        lambda p: p, lambda p: p[:, ::-1], lambda p: p[::-1, ::-1], lambda p: p[::-1],
        lambda p: p.swapaxes(0, 1), lambda p: np.rot90(p, 1),
        lambda p: np.rot90(p, 2).swapaxes(0, 1), lambda p: np.rot90(p, -1),
    ][orientation - 1](pixels())  # fmt: skip
    path = tmp_path / "turned"
    image = Image.fromarray(np.ascontiguousarray(turned))
    path.write_bytes(written(image, form, exif=exif, **options))
    assert (probe(str(path)).width, probe(str(path)).height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose(corners(path), (RED, GREEN, BLUE, GREY), atol=12)


def test_what_is_transparent_lies_on_white(tmp_path):
    path = tmp_path / "a.png"
    seen = IMAGE.convert("RGBA")
    seen.paste((0, 0, 0, 0), (0, 0, WIDTH // 2, HEIGHT // 2))
    path.write_bytes(written(seen, "PNG"))
    assert corners(path)[:2] == [(255, 255, 255), GREEN]
    hole = IMAGE.convert("L").convert("P")
    path.write_bytes(written(hole, "PNG", transparency=hole.getpixel((8, 8))))
    assert corners(path)[0] == (255, 255, 255)


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off(tmp_path):
    path = tmp_path / "a.png"
    grey = np.full((HEIGHT, WIDTH), 40 << 8, np.uint16)
    path.write_bytes(written(Image.fromarray(grey), "PNG"))
    assert corners(path) == [(40, 40, 40)] * 4


def chunk(name: bytes, data: bytes) -> bytes:
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))


BROKEN = {
    "empty.jpg": b"",
    "tiny.jpg": JPEG[:3],
    "start.jpg": JPEG[:20],
    "half.jpg": JPEG[: len(JPEG) // 2],
    "half.png": PNG[: len(PNG) // 2],
    "half.webp": written(IMAGE, "WEBP")[:60],
    "text.jpg": b"this is no picture\n" * 9,
    "page.png": b"<html><body>404</body></html>",
    "noise.png": PNG[:8] + os.urandom(500),
    "noise.webp": b"RIFF\xff\xff\xff\xffWEBP" + os.urandom(500),
    "moves.png": written(IMAGE, "PNG", save_all=True, append_images=[Image.new("RGB", IMAGE.size)]),
    "moves.webp": written(
        IMAGE, "WEBP", save_all=True, append_images=[Image.new("RGB", IMAGE.size)]
    ),
    "a.gif": written(IMAGE, "GIF"),
    "a.bmp": written(IMAGE, "BMP"),
    "a.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_picture_is_unreadable(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    kind, message = refusal(path)
    assert kind == "unreadable"
    if name.startswith("moves"):
        assert "that moves: convert it to MP4" in message
    if name.startswith("half"):
        assert "is a broken" in message
    if name == "text.jpg":
        assert message.endswith("nor like a video")


def test_a_video_with_the_name_of_a_picture_is_a_video(tmp_path, silent):
    path = tmp_path / "a.jpg"
    path.write_bytes(silent.read_bytes())
    assert probe(str(path)) == probe(str(silent))
    assert (
        decoded(path, spans=[Span(1, 3)]).frames == decoded(silent, spans=[Span(1, 3)]).frames
    ).all()


@pytest.mark.parametrize(
    ("content", "limits"),
    [
        (JPEG, LimitsConfig(max_pixels=WIDTH * HEIGHT - 1)),
        (huge_png(100_000, 100_000), LimitsConfig()),
        (huge_png(100_000, 100_000), LimitsConfig(max_pixels=10**11)),  # more than Pillow reads
        (JPEG + bytes(8 * WIDTH * HEIGHT), LimitsConfig(max_pixels=WIDTH * HEIGHT)),
    ],
)
def test_a_picture_beyond_the_limits_is_too_large(tmp_path, content, limits):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert refusal(path, limits)[0] == "too_large"


def test_a_picture_that_no_model_can_look_at_has_a_frame_size(tmp_path):
    path = tmp_path / "line.png"
    path.write_bytes(written(Image.new("RGB", (2, 2000)), "PNG"))
    clip = decoded(path)
    assert isinstance(clip, ItemError)
    assert clip.kind == "frame_size"


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "a.jpg"
    os.mkfifo(path)
    assert refusal(path)[0] == "unreadable"
    assert refusal(tmp_path / "none.jpg")[0] == "missing"


def test_a_picture_has_a_fingerprint(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    noise = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((256, 256))
    path.write_bytes(written(noise, "PNG"))
    found = fingerprint(str(path))
    assert found.duration_s == STILL.duration_s
    assert found.picture.any()
    assert not found.sound.any()


def test_a_picture_in_object_storage_is_the_same(home):
    files = {"a.mp4": JPEG, "b.jpg": JPEG[: len(JPEG) // 2], "c.jpg": b"", "d.jpg": b"GIF89a"}
    for name, content in files.items():
        storage.write_bytes(storage.join(home, name), content)
    assert probe(storage.join(home, "a.mp4")).still
    frames = decoded(storage.join(home, "a.mp4")).frames
    assert (frames[0] == np.asarray(Image.open(io.BytesIO(JPEG)))).all()
    kinds = [refusal(storage.join(home, name))[0] for name in ("b.jpg", "c.jpg", "d.jpg", "e.jpg")]
    assert kinds == ["unreadable"] * 3 + ["missing"]
