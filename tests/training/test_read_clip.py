"""A training clip, read back as MS-Swift reads it, shows what scoring takes from the source."""

import numpy as np
import pytest
from PIL import Image

from ah_ray.errors import ItemError
from ah_ray.media.cut import cut
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.fragment import with_image, with_times
from ah_ray.media.probe import probe
from ah_ray.media.segment import STILL, Span
from ah_ray.models.qwen2_5_vl import QWEN2_5_VL
from ah_ray.training.swift import ARCHITECTURE_VARIABLE, MEDIA_VARIABLE, READER
from tests.media.coded_video import MEDIA, numbers_of, steady, tone, write_video

SPANS = [Span(0.0, 2.5), Span(2.51, 5.0), Span(3.3333, 7.87), Span(8.04, 12.0)]


@pytest.fixture
def read_clip(monkeypatch):
    monkeypatch.setenv(ARCHITECTURE_VARIABLE, "qwen3_omni")
    from ah_ray.training.swift_plugin import read_clip

    monkeypatch.setenv(MEDIA_VARIABLE, MEDIA.model_dump_json())
    return read_clip


def as_numbers(frames) -> list[int]:
    pixels = frames.permute(0, 2, 3, 1).numpy()
    return numbers_of(DecodedClip(pixels, 0.0, pixels))


@pytest.mark.parametrize("sound", [True, False], ids=["sound", "no sound"])
@pytest.mark.parametrize("fps", [10, 30_000 / 1001], ids=["10 Hz", "29.97 Hz"])
def test_a_clip_file_shows_the_frames_of_the_source(read_clip, tmp_path, fps, sound):
    source = write_video(
        tmp_path / "v.mp4", steady(12, fps), tone(12) if sound else None, sound_codec="aac"
    )
    spans = {f"clip{index}": span for index, span in enumerate(SPANS)}
    assert cut(str(source), probe(str(source)), spans, str(tmp_path)).failed == {}
    for index, virtual in decode(str(source), SPANS, MEDIA):
        frames, _, rate = read_clip({"video": str(tmp_path / f"clip{index}.mp4")})
        assert as_numbers(frames) == numbers_of(virtual), SPANS[index]
        assert rate == pytest.approx(virtual.fps, rel=1e-4)


def test_a_clip_without_a_file_is_what_scoring_takes(read_clip, tmp_path):
    from ah_ray.training.swift_plugin import read_sound

    source = write_video(tmp_path / "v#t=1.mp4", steady(12, 10), tone(12), sound_codec="aac")
    for index, virtual in decode(str(source), SPANS, MEDIA):
        uri = with_times(str(source), SPANS[index])
        frames, _, rate = read_clip({"video": uri})
        assert as_numbers(frames) == numbers_of(virtual)
        assert rate == virtual.fps
        np.testing.assert_array_equal(read_sound(uri, 16_000), virtual.audio)


def test_a_picture_is_what_scoring_takes(read_clip, tmp_path):
    from ah_ray.training.swift_plugin import read_image

    path, exif = tmp_path / "a.png", Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 255, (160, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    turned = np.rot90(pixels, -1)
    ((_, clip),) = decode(str(path), [STILL], MEDIA)
    frames, _, rate = read_clip({"video": with_times(str(path), STILL)})
    assert rate == 2
    for frame in (*clip.frames, *frames.permute(0, 2, 3, 1).numpy()):
        np.testing.assert_array_equal(frame, turned)
    # And as a row of one's own.
    np.testing.assert_array_equal(np.asarray(read_image(str(path))), turned)


@pytest.mark.parametrize("pick", ["uniform", "random"])
def test_an_image_of_a_clip_is_what_scoring_takes(read_clip, tmp_path, monkeypatch, pick):
    from PIL import Image
    from swift.template import base

    media = MEDIA.model_copy(update={"picture": "images", "images": 5, "pick": pick})
    monkeypatch.setenv(MEDIA_VARIABLE, media.model_dump_json())
    source = write_video(tmp_path / "v.mp4", steady(12, 10), tone(12), sound_codec="aac")
    ids = [f"clip{index}" for index in range(len(SPANS))]
    cut(str(source), probe(str(source)), dict(zip(ids, SPANS, strict=True)), str(tmp_path))
    taken = {}
    for index, virtual in decode(str(source), SPANS, media, clip_ids=ids):
        taken[index] = numbers_of(virtual)
        for clip in (with_times(str(source), SPANS[index]), str(tmp_path / f"{ids[index]}.mp4")):
            uris = [with_image(clip, number, ids[index]) for number in range(5)]
            read = np.stack([np.array(base.load_image(uri)) for uri in uris])
            assert numbers_of(DecodedClip(read, 0.0, read)) == taken[index]
    again = dict(decode(str(source), SPANS, media, clip_ids=ids[::-1]))
    assert (numbers_of(again[0]) == taken[0]) == (pick == "uniform")
    Image.new("RGB", (7, 5)).save(tmp_path / "another.png")
    assert base.load_image(str(tmp_path / "another.png")).size == (7, 5)


def test_what_is_told_about_a_clip(read_clip, tmp_path):
    source = write_video(tmp_path / "v.mp4", steady(3, 10), tone(3), sound_codec="aac")
    cut(str(source), probe(str(source)), {"clip": Span(0, 3)}, str(tmp_path))
    path = tmp_path / "clip.mp4"
    frames, metadata, rate = read_clip({"video": str(path)})
    assert frames.shape == (6, 3, 64, 160)
    assert rate == metadata["fps"] == pytest.approx(2.0)
    assert metadata["total_num_frames"] == 6
    assert metadata["frames_indices"] == list(range(6))


def test_a_clip_that_cannot_be_read_is_an_error(read_clip, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text("no video\n")
    with pytest.raises(ItemError, match=r"clip\.wav"):
        read_clip({"video": str(path)})
    source = write_video(tmp_path / "v.mp4", steady(3, 10), tone(3), sound_codec="aac")
    cut(str(source), probe(str(source)), {"other": Span(0, 3)}, str(tmp_path))
    (tmp_path / "other.wav").rename(tmp_path / "clip.wav")
    with pytest.raises(ItemError, match=r"clip\.mp4"):
        read_clip({"video": str(path)})


def test_the_utilities_of_each_architecture_know_our_reader(read_clip):
    from qwen_omni_utils.v2_5 import vision_process as of_omni
    from qwen_vl_utils import vision_process as of_vl

    QWEN2_5_VL.read_with(READER, read_clip, read_clip)
    for utilities in (of_omni, of_vl):
        assert utilities.VIDEO_READER_BACKENDS[READER] is read_clip
