"""Videos that say what they show: the pixels spell the frame's number, the sound tells the time."""

import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

from ah_ray.media.config import MediaConfig

WIDTH, HEIGHT, COLUMNS, ROWS = 160, 64, 5, 2  # ten black or white blocks
TICKS = 90_000
MEDIA = MediaConfig(
    fps=2, min_frames=2, max_frames=8, min_pixels=1024, max_pixels=WIDTH * HEIGHT, size_multiple=32
)


def picture(number: int) -> np.ndarray:
    """An RGB frame that spells ``number`` in binary."""
    bits = [255 * (number >> place & 1) for place in range(COLUMNS * ROWS)]
    grey = np.kron(np.reshape(bits, (ROWS, COLUMNS)), np.ones((HEIGHT // ROWS, WIDTH // COLUMNS)))
    return np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)


def number_of(pixels: np.ndarray) -> int:
    """The number that a frame of any size spells."""
    height, width = pixels.shape[:2]
    rows = [int((row + 0.5) * height / ROWS) for row in range(ROWS)]
    columns = [int((column + 0.5) * width / COLUMNS) for column in range(COLUMNS)]
    bits = (pixels[np.ix_(rows, columns)].mean(axis=2) > 127).ravel()
    return sum(int(bit) << place for place, bit in enumerate(bits))


def numbers_of(clip) -> list[int]:
    return [number_of(frame) for frame in clip.frames]


def steady(seconds: float, fps: float) -> list[float]:
    """When the frames of a video appear, and where it ends."""
    return [index / fps for index in range(round(seconds * fps) + 1)]


def shown_at(times: list[float], moment: float) -> int:
    """The number of the frame that a player shows at ``moment``."""
    return max((n for n, time in enumerate(times[:-1]) if time <= moment), default=0)


def ramp(seconds: float, full_s: float = 20.0, rate: int = 44_100, channels: int = 2) -> np.ndarray:
    """Sound whose value is the time as a share of ``full_s``."""
    line = np.arange(round(seconds * rate)) / rate / full_s
    return np.tile((line * 32767).astype(np.int16), (channels, 1))


def tone(seconds: float, from_s: float = 0.0, rate: int = 44_100, channels: int = 2) -> np.ndarray:
    """Silence, and from ``from_s`` on a tone of 1 kHz."""
    time = np.arange(round(seconds * rate)) / rate
    wave = np.where(time >= from_s, 0.5 * np.sin(2 * np.pi * 1000 * time), 0)
    return np.tile((wave * 32767).astype(np.int16), (channels, 1))


def write_video(
    path: Path,
    times: list[float],
    sound: np.ndarray | None = None,
    *,
    rate: int = 44_100,
    codec: str = "libx264",
    sound_codec: str = "pcm_s16le",
    draw=picture,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write frames that appear at ``times`` (the last of them is the end), and sound from 0."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        height, width = draw(0).shape[:2]
        video = container.add_stream(codec, rate=Fraction(30))
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS)
        video.codec_context.gop_size = 12
        if codec == "libx264":
            usual = {"crf": "12", "preset": "veryfast"}  # with B-frames, as cameras have
            video.options = usual | (codec_options or {})
        audio = None
        if sound is not None:
            audio = container.add_stream(sound_codec, rate=rate)
            audio.layout = "stereo" if len(sound) == 2 else "mono"
        written = 0
        lasts: dict[int, int] = {}

        def write_picture(frame: av.VideoFrame | None) -> None:
            for packet in video.encode(frame):
                packet.duration = lasts[packet.pts]
                container.mux(packet)

        def write_sound(until: int) -> None:
            nonlocal written
            while audio is not None and written + 1024 <= until:
                write_block(sound[:, written : written + 1024])

        def write_block(block: np.ndarray) -> None:
            nonlocal written
            packed = np.ascontiguousarray(block.T.reshape(1, -1))
            layout = "stereo" if len(block) == 2 else "mono"
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, written, Fraction(1, rate)
            written += block.shape[1]
            container.mux(audio.encode(frame))

        for number, (time, end) in enumerate(pairwise(times)):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            lasts[frame.pts] = round(end * TICKS) - frame.pts
            write_picture(frame)
            write_sound(min(round(end * rate), 0 if sound is None else sound.shape[1]))
        write_picture(None)
        if audio is not None:
            write_sound(sound.shape[1])
            if written < sound.shape[1]:
                write_block(sound[:, written:])
            container.mux(audio.encode())
    return path


def run_ffmpeg(*args: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *args]
    subprocess.run(command, check=True, capture_output=True)
