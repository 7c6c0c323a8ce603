"""The two cues: a cartoon face that smiles or frowns, and a tone that is bright or dull.

What draws, sings and encodes them also makes the videos of ``people``.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Made = TypeVar("Made")

BRIGHT_HZ = 1200.0
DULL_HZ = 300.0

#: Frame sizes as (width, height) in pixels; all even, as 4:2:0 video needs.
SIZES = ((160, 120), (128, 128), (192, 108), (120, 160))
FRAME_RATES = (Fraction(10), Fraction(12), Fraction(15000, 1001), Fraction(20), Fraction(25))
SAMPLE_RATES = (16_000, 22_050, 44_100, 48_000)

#: Per codec: encoder, the fastest settings that keep the mouth legible, share of the videos.
_ENCODERS: dict[str, tuple[str, dict[str, str], float]] = {
    "h264": ("libx264", {"preset": "ultrafast", "crf": "30"}, 0.5),
    "mpeg4": ("mpeg4", {"b": "300000"}, 0.3),
    "hevc": (
        "libx265",
        {
            "preset": "ultrafast",
            "crf": "32",
            "x265-params": "log-level=none:pools=none:frame-threads=1",
        },
        0.1,
    ),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "b": "300000"}, 0.1),
}

INK = np.array([60.0, 20.0, 30.0])  # eyes and mouth, RGB
#: RGB of 0…255 to Y - 16, U - 128, V - 128 (BT.601, limited range).
_TO_YUV = np.array([[0.257, 0.504, 0.098], [-0.148, -0.291, 0.439], [0.439, -0.368, -0.071]])

POSES = 6  # head positions drawn per video; frames pick among them
_NOISES = 8  # noise planes drawn per video; frames pick among them


@dataclass(frozen=True)
class VideoFormat:
    """What a file is besides its content: pixels, frames per second, codec, audio samples per s."""

    width: int
    height: int
    fps: Fraction
    codec: str
    sample_rate: int


def random_format(
    rng: np.random.Generator, sizes: Sequence[tuple[int, int]] = SIZES
) -> VideoFormat:
    """Draw a format; the caller's content has no influence on it, so it tells nothing about it."""
    width, height = sizes[int(rng.integers(len(sizes)))]
    return VideoFormat(
        width=width,
        height=height,
        fps=FRAME_RATES[rng.integers(len(FRAME_RATES))],
        codec=str(rng.choice(list(_ENCODERS), p=[share for _, _, share in _ENCODERS.values()])),
        sample_rate=SAMPLE_RATES[rng.integers(len(SAMPLE_RATES))],
    )


def track(
    count: int, rate: Fraction | int, mood: bool, flips: Sequence[tuple[float, float]] = ()
) -> NDArray[np.bool_]:
    """One cue over time: ``mood`` for ``count`` steps at ``rate`` per s, inverted within ``flips``.

    Step ``i`` happens at ``i / rate`` s; flips are half-open spans ``(start_s, end_s)``.
    """
    times = np.arange(count) / float(rate)
    inverted = np.zeros(count, bool)
    for start_s, end_s in flips:
        inverted |= (times >= start_s) & (times < end_s)
    return inverted ^ mood


def faces(
    rng: np.random.Generator,
    smiling: NDArray[np.bool_],
    width: int,
    height: int,
    mouth: bool = True,
) -> Iterator[NDArray[np.uint8]]:
    """Draw one frame per entry of ``smiling`` [T], as yuv420p planes [height * 3 / 2, width].

    Position, size and colour of the head vary by video, its sway, brightness and noise by frame.
    Without a ``mouth`` the face neither smiles nor frowns.
    """
    wall = rng.uniform((40, 40, 40), (120, 120, 120))
    skin = rng.uniform((190, 140, 90), (250, 200, 150))
    centres = rng.uniform(-0.05, 0.05, 2) + rng.uniform(-0.03, 0.03, (POSES, 2))
    scales = rng.uniform(0.82, 0.98) * rng.uniform(0.97, 1.03, POSES)

    @cache
    def drawn(pose: int, smile: bool) -> NDArray[np.int16]:
        shown = smile if mouth else None
        return _draw(width, height, centres[pose], scales[pose], shown, wall, skin)

    return film(rng, len(smiling), width, height, lambda pose, i: drawn(pose, bool(smiling[i])))


def film(
    rng: np.random.Generator,
    count: int,
    width: int,
    height: int,
    still: Callable[[int, int], NDArray[np.int16]],
) -> Iterator[NDArray[np.uint8]]:
    """Film ``count`` stills: each gets noise and a light that flickers.

    Args:
        rng: decides both, and the poses.
        count: of frames.
        width: of a frame, in pixels.
        height: the same.
        still: the yuv420p planes [height * 3 / 2, width] of a pose (0 to 5) in a frame.
    """
    noise = np.zeros((_NOISES, height * 3 // 2, width), np.int16)
    noise[:, :height] = 6 * rng.standard_normal((_NOISES, height, width), np.float32)  # luma only
    light = rng.uniform(-15, 15) + rng.normal(0, 4, count)
    # A slow walk over the poses and some noise plane per frame.
    walk = (np.cumsum(rng.random(count) < 0.2) % POSES).tolist()
    grain = rng.integers(_NOISES, size=count)
    for i, pose in enumerate(walk):
        planes = still(pose, i) + noise[grain[i]]
        planes[:height] += np.int16(light[i])
        yield np.clip(planes, 0, 255).astype(np.uint8)


def _draw(
    width: int,
    height: int,
    centre: NDArray[np.float64],
    scale: float,
    smile: bool | None,
    wall: NDArray[np.float64],
    skin: NDArray[np.float64],
) -> NDArray[np.int16]:
    """Draw one still face as yuv420p planes; ``centre`` and ``scale`` are in half shorter sides.

    It smiles, frowns, or (None) has no mouth.
    """
    half = min(width, height) / 2
    x = (((np.arange(width) + 0.5 - width / 2) / half - centre[0]) / scale)[None, :]
    y = (((np.arange(height) + 0.5 - height / 2) / half - centre[1]) / scale)[:, None]
    head = x**2 + y**2 < 1
    eyes = (np.abs(x) - 0.38) ** 2 + (y + 0.35) ** 2 < 0.13**2
    # A thick parabola: its corners are up in a smile and down in a frown, around one mean height.
    bend = (0.5 - 2.2 * x**2) * (0.5 if smile else -0.5)
    mouth = (np.abs(x) < 0.62) & (np.abs(y - 0.4 - bend) < 0.12) & (smile is not None)
    region = head.astype(np.intp)  # 0 wall, 1 skin, 2 ink
    region[eyes | (mouth & head)] = 2
    return paint(region, np.stack([wall, skin, INK]))


def paint(region: NDArray[np.intp], colours: NDArray[np.float64]) -> NDArray[np.int16]:
    """The yuv420p planes [H * 3 / 2, W] of an image.

    Args:
        region: which colour each pixel has [H, W].
        colours: RGB of 0…255 [colours, 3].
    """
    luma, *chroma = (_TO_YUV @ colours.T).astype(np.int16)
    coarse = region[::2, ::2]
    planes = [16 + luma[region], *(128 + colour[coarse] for colour in chroma)]
    drawn: NDArray[np.int16] = np.concatenate([plane.ravel() for plane in planes])
    return drawn.reshape(-1, region.shape[1])


def voice(
    rng: np.random.Generator, bright: NDArray[np.bool_], sample_rate: int, tone: bool = True
) -> NDArray[np.float32]:
    """Sing one tone, bright or dull per sample of ``bright`` [N]; mono in -1…1, [N].

    Vibrato, a swell like syllables, an overtone and noise keep it from being a test signal.
    Without the ``tone`` there is the noise alone.
    """
    return sing(rng, np.where(bright, BRIGHT_HZ, DULL_HZ), sample_rate, tone=tone)


def sing(
    rng: np.random.Generator,
    pitch_hz: NDArray[np.float64],
    sample_rate: int,
    vibrato: float = 0.03,
    tone: bool = True,
) -> NDArray[np.float32]:
    """Sing one tone of about a pitch per sample [N]; mono in -1…1, [N].

    Args:
        rng: decides what makes one singer unlike another.
        pitch_hz: the pitch of each sample.
        sample_rate: samples per second.
        vibrato: by which share the pitch goes up and down.
        tone: without it there is the noise alone.
    """
    times = np.arange(len(pitch_hz), dtype=np.float32) / np.float32(sample_rate)

    def wobble(slowest_hz: float, fastest_hz: float) -> NDArray[np.float32]:
        turns = rng.uniform(slowest_hz, fastest_hz) * times + rng.random()
        wave: NDArray[np.float32] = np.sin((2 * np.pi * (turns % 1)).astype(np.float32))
        return wave

    pitch_hz = pitch_hz * rng.uniform(0.9, 1.1)
    pitch_hz *= 1 + vibrato * wobble(4, 7)
    turns = np.cumsum(pitch_hz) / sample_rate  # continuous where the pitch jumps
    phase = (2 * np.pi * (turns % 1)).astype(np.float32)
    sung = np.sin(phase) + np.float32(rng.uniform(0.1, 0.3)) * np.sin(2 * phase)
    loudness = np.float32(rng.uniform(0.2, 0.5)) * (0.6 + 0.4 * wobble(2, 4))
    hiss = 0.02 * rng.standard_normal(len(times), np.float32)
    return np.clip(loudness * sung * tone + hiss, -1, 1)


def encode(
    path: Path,
    form: VideoFormat,
    frames: Iterable[NDArray[np.uint8]],
    wave: NDArray[np.float32],
) -> None:
    """Write yuv420p ``frames`` and the mono ``wave`` (AAC) to an MP4 file."""
    encoder, options, _ = _ENCODERS[form.codec]
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream(encoder, rate=form.fps, options=options)
        video.width, video.height, video.pix_fmt = form.width, form.height, "yuv420p"
        video.thread_count = 1  # processes share the cores, and one thread is reproducible
        audio = container.add_stream(
            "aac", rate=form.sample_rate, layout="mono", options={"aac_coder": "fast"}
        )
        heard = 0
        for i, planes in enumerate(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
            until = round((i + 1) / form.fps * form.sample_rate)  # keeps the streams interleaved
            sound = av.AudioFrame.from_ndarray(wave[None, heard:until], "fltp", "mono")
            sound.sample_rate, sound.pts = form.sample_rate, heard
            container.mux(audio.encode(sound))
            heard = until
        for stream in (video, audio):
            container.mux(stream.encode())


def in_processes(
    work: Callable[[Item], Made],
    items: Sequence[Item],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Made]:
    """What ``work`` makes of each item, in order.

    Args:
        work: can be pickled.
        items: the same.
        workers: processes; by default one per core.
        progress: called with (items done, items in all).
    """
    # Spawned, not forked: the caller may run threads (Ray, torch) that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    made = []
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
        for done, result in enumerate(pool.map(work, items), start=1):
            made.append(result)
            if progress is not None:
                progress(done, len(items))
    return made
