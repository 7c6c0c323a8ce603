"""The bits of pictures and sound: what says nothing gives none, and another encoding few others."""

import numpy as np
import pytest
from PIL import Image

from ah_ray.errors import ItemError
from ah_ray.media.fingerprint import SOUND_BITS, SOUND_HZ, fingerprint, picture_bits, sound_bits
from ah_ray.media.frames import AUDIO_HZ


def differing(one, other, bits: int) -> float:
    return np.bitwise_count(one ^ other).sum() / (len(one) * bits)


def voice(seed: int, seconds: float = 8.0):
    """Noise whose bands rise and fall."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * AUDIO_HZ)) / AUDIO_HZ
    tones = [
        np.sin(2 * np.pi * (hz * times + rng.random())) * np.interp(times, np.arange(9), swell)
        for hz, swell in zip(rng.uniform(200, 3600, 30), rng.random((30, 9)), strict=True)
    ]
    return (0.02 * np.sum(tones, axis=0) + 0.001 * rng.standard_normal(len(times))).astype("f4")


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_plain_picture_says_nothing(grey):
    assert not picture_bits(np.full((64, 64, 3), grey, np.uint8)).any()


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.5, 3.0])
def test_silence_says_nothing_however_short(seconds):
    assert not sound_bits(np.zeros(int(seconds * AUDIO_HZ), np.float32)).any()


def test_sound_is_told_by_how_its_bands_move():
    rows = sound_bits(voice(0))
    assert len(rows) == pytest.approx(8 * SOUND_HZ, abs=16)
    quieter = sound_bits(
        0.3 * voice(0) + 0.0003 * np.random.default_rng(9).standard_normal(128_000).astype("f4")
    )
    assert differing(rows, quieter, SOUND_BITS) < 0.15
    assert differing(rows, sound_bits(voice(1)), SOUND_BITS) > 0.4


def test_a_larger_brighter_picture_is_the_same_picture():
    def picture(seed: int, side: int, light: int):
        rough = np.random.default_rng(seed).integers(0, 200, (24, 24, 3)).astype(np.uint8)
        scaled = Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC)
        return picture_bits(np.asarray(scaled) // 2 + np.uint8(light))[None]

    assert differing(picture(0, 96, 0), picture(0, 192, 50), 256) < 0.05
    assert differing(picture(0, 96, 0), picture(1, 96, 0), 256) > 0.3


def test_real_videos_have_pictures_and_sound_as_they_say(real_media):
    nasa = fingerprint(str(real_media / "nasa_13013.mp4"))
    assert nasa.picture.any(axis=1).sum() > 25
    assert nasa.sound.any(axis=1).sum() > 300
    silent = fingerprint(str(real_media / "av1_video.mkv"))
    assert silent.picture.shape == (10, 8)
    assert not silent.sound.any()


def test_what_is_no_video_is_an_error_of_the_item(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ItemError):
        fingerprint(str(tmp_path / "a.mp4"))
