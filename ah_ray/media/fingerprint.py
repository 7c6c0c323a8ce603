"""What a video looks and sounds like, in a few thousand bits that survive another encoding.

Of a picture the bits are those of ImageHash's ``phash``: the signs of the lowest frequencies of a
small grey picture. Of sound they are those of Haitsma and Kalker (A Highly Robust Audio
Fingerprinting System, ISMIR 2002): does the difference between neighbouring bands rise or fall?
Chromaprint, which would do for music, hears notes: a hum or a tone of the same pitch is the same
recording to it. ``evaluation.copies`` compares the bits.
"""

from __future__ import annotations

from typing import NamedTuple

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig, MediaConfig
from ah_ray.media.decode import decode
from ah_ray.media.frames import AUDIO_HZ
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span

PICTURE_HZ, PICTURE_BITS = 2, 256  # rows per second, and bits in a row
SOUND_HZ, SOUND_BITS = 32, 24
LONGEST_S = 600  # of a video so much is looked at
_CHUNK_S = 10  # is decoded at a time; one that cannot be decoded costs only itself

_SMALL = MediaConfig(
    fps=PICTURE_HZ, min_frames=2, min_pixels=64 * 64, max_pixels=96 * 96, size_multiple=2
)
_PLAIN = 4.0  # a picture whose grey deviates by less (of 255) shows nothing
_WINDOW = 4096  # samples: what a row of sound is computed of,
_LAG = 8  # and by how many rows the one lies earlier that it is compared with
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 3600.0  # what telephones and codecs keep of a voice
_QUIET = 1e-7  # mean square of samples up to 1: below -70 dB nothing is to be heard

Bits = npt.NDArray[np.uint32]


class Fingerprint(NamedTuple):
    """Rows of bits, in 32-bit words; a row of zeros says nothing.

    Attributes:
        picture: ``PICTURE_HZ`` rows a second of ``PICTURE_BITS`` bits, [T, 8].
        sound: ``SOUND_HZ`` rows a second of ``SOUND_BITS`` bits, [T, 1].
        duration_s: how long the whole video is, in seconds; 0 when it cannot be read.
    """

    picture: Bits
    sound: Bits
    duration_s: float


NOTHING = Fingerprint(np.zeros((0, 8), np.uint32), np.zeros((0, 1), np.uint32), 0.0)


def fingerprint(uri: str, limits: LimitsConfig = LimitsConfig()) -> Fingerprint:
    """Look at two pictures a second and listen, to the first ten minutes of a long video.

    Raises:
        ItemError: the file is no video that can be opened.
    """
    info = probe(uri, limits)
    # Whole seconds, so that pictures are taken at a steady rate.
    end_s = int(min(info.duration_s, LONGEST_S)) or info.duration_s
    starts = np.arange(0, end_s, _CHUNK_S).tolist()
    spans = [Span(start_s, min(start_s + _CHUNK_S, end_s)) for start_s in starts]
    pictures = [np.zeros((round(span.duration_s * PICTURE_HZ), 8), np.uint32) for span in spans]
    waves = [np.zeros(round(span.duration_s * AUDIO_HZ), np.float32) for span in spans]
    for index, clip in decode(uri, spans, _SMALL, limits):
        if not isinstance(clip, ItemError):
            pictures[index] = np.stack([picture_bits(frame) for frame in clip.frames])
            waves[index] = clip.audio
    sound = sound_bits(np.concatenate(waves))
    return Fingerprint(np.concatenate(pictures), sound, info.duration_s)


def picture_bits(frame: npt.NDArray[np.uint8]) -> Bits:
    """The row of a picture, [8]; of one that shows nothing, zeros."""
    grey = Image.fromarray(frame).convert("L")
    if np.asarray(grey).std() < _PLAIN:
        return np.zeros(PICTURE_BITS // 32, np.uint32)
    return np.packbits(imagehash.phash(grey, hash_size=16).hash).view(np.uint32)


def sound_bits(wave: npt.NDArray[np.float32]) -> Bits:
    """The rows of sound at ``AUDIO_HZ``, [T, 1]; where there is nothing to hear, zeros."""
    hop = AUDIO_HZ // SOUND_HZ
    if len(wave) < _WINDOW + hop * _LAG:
        return np.zeros((0, 1), np.uint32)
    frequencies = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, SOUND_BITS + 2)
    edges = np.round(frequencies / AUDIO_HZ * _WINDOW).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(wave, _WINDOW)[::hop]
    levels = np.empty((len(windows), SOUND_BITS + 1))
    for start in range(0, len(windows), 512):  # a piece at a time: spectra are large
        piece = windows[start : start + 512] * np.hanning(_WINDOW)
        power = np.abs(np.fft.rfft(piece)) ** 2
        levels[start : start + 512] = np.log(
            np.add.reduceat(power, edges, axis=1)[:, :-1] / _WINDOW + 1e-6
        )
    contrasts = np.diff(levels, axis=1)
    rises = contrasts[_LAG:] > contrasts[:-_LAG]
    rows = (rises @ (1 << np.arange(SOUND_BITS))).astype(np.uint32)
    quiet = np.array([np.mean(window**2) < _QUIET for window in windows])
    rows[quiet[_LAG:] | quiet[:-_LAG]] = 0
    return rows[:, None]
