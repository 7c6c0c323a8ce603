"""Open untrusted media within limits, and say what is in it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import av
import av.container
import av.logging
import numpy as np
from av.sidedata.sidedata import Type

from ah_ray import storage
from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig
from ah_ray.media.segment import STILL
from ah_ray.media.stills import read_still
from ah_ray.storage_errors import StorageError

av.logging.set_level(av.logging.PANIC)  # what libav calls errors is counted, but not printed

# Only demuxers of self-contained files, and only the protocol of the file itself: a playlist or
# a concat script with a video's name must not make a worker read other files or addresses.
SAFE_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,asf,ogg",
    "protocol_whitelist": "file",
}


# Formats that do not state how long they are, so that libav guesses and may lack seconds.
_UNSTATED = ("flv", "mpeg", "mpegts")
# Where a file does not say when its picture ends, so much of its end is read, in seconds.
_END_S = 20.0


@dataclass(frozen=True)
class MediaInfo:
    """What a video file holds.

    Attributes:
        duration_s: from the start of the file to the end of its picture, in seconds.
        width: of the picture as it is shown (rotated, with square pixels), in pixels.
        height: likewise.
        fps: average frame rate in Hz; 0 when the file does not say.
        video_stream: index of the video stream that is used.
        audio_stream: index of the audio stream that is used; None when there is none.
        still: it is a picture (``stills``), and its length but a convention.
    """

    duration_s: float
    width: int
    height: int
    fps: float
    video_stream: int
    audio_stream: int | None
    still: bool = False


@contextmanager
def open_media(
    uri: str, limits: LimitsConfig = LimitsConfig()
) -> Iterator[av.container.InputContainer]:
    """Open a video for reading.

    Raises:
        ItemError: ``missing``, ``unreadable``, ``storage_error`` or ``timeout``; also when the
            body fails on the media.
    """
    path = storage.local_path(uri)
    source: Any = None
    try:
        if path and path.exists() and not path.is_file():  # a pipe or device would never end
            raise ItemError("unreadable", f"{uri}: is no regular file")
        source = str(path) if path else storage.open_read(uri)
        with av.open(
            source,
            options=dict(SAFE_OPTIONS),
            metadata_errors="replace",  # untrusted metadata need not be UTF-8
            timeout=limits.timeout_s,
        ) as container:
            yield container
    except FileNotFoundError as error:
        raise ItemError("missing", f"{uri}: there is no such file") from error
    except av.ExitError as error:
        raise ItemError("timeout", f"{uri}: not read within {limits.timeout_s:.0f} s") from error
    except (av.FFmpegError, ValueError) as error:
        raise ItemError("unreadable", f"{uri}: {_reason(error)}") from error
    except StorageError as error:
        raise ItemError("storage_error", str(error)) from error
    except OSError as error:
        raise ItemError("unreadable", f"{uri}: {error.strerror or error}") from error
    finally:
        if path is None and source is not None:
            source.close()


def _reason(error: av.FFmpegError | ValueError) -> str:
    """What libav says of a file, with the format that it takes it for."""
    reason = str(getattr(error, "strerror", None) or error)
    _, name, said = getattr(error, "log", None) or (0, "", "")  # the last line of libav's log
    if name == "image2":  # by its name alone
        return "begins neither like a picture (JPEG, PNG, WebP) nor like a video"
    if "not on whitelist" in said:
        return f"looks like {name}, which is none of the formats that are read: convert it to MP4"
    return f"{reason} ({name}: {said.strip()})" if said else reason


def time_left(uri: str, limits: LimitsConfig) -> Callable[[], float]:
    """A function that tells the seconds left for a source.

    It raises ``ItemError`` (``timeout``) when there are none.
    """
    end = time.monotonic() + limits.timeout_s

    def left() -> float:
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise ItemError("timeout", f"{uri}: not done within {limits.timeout_s:.0f} s")
        return seconds

    return left


def pick_streams(
    container: av.container.InputContainer, uri: str, limits: LimitsConfig = LimitsConfig()
) -> tuple[Any, Any]:
    """The video and the audio stream (or None) of a file, to be decoded by one thread each.

    Of several, the one that ffmpeg calls best: the container's default, then the one with the
    highest bit rate. ``cut`` names the same streams. As many sources are worked on at a time as
    there are CPUs, so threads of one decoder would only be in the way.

    Raises:
        ItemError: ``no_video``, ``unreadable``, or ``too_large`` for what its header says.
    """
    video, audio = container.streams.best("video"), container.streams.best("audio")
    if video is None:
        raise ItemError("no_video", f"{uri}: holds no video stream")
    for stream in (video, audio):
        if stream is not None and stream.codec_context is None:
            raise ItemError("unreadable", f"{uri}: has {stream.type} that no decoder is known for")
    if container.format.name == "asf" and video.codec_context.name in ("h264", "hevc"):
        codec = video.codec_context.name
        message = f"{uri}: {codec} in ASF does not say when pictures appear: convert it to MP4"
        raise ItemError("unreadable", message)
    width, height = video.codec_context.width, video.codec_context.height
    if width * height > limits.max_pixels:
        message = f"{uri}: {width}x{height} pixels are more than limits.max_pixels allows"
        raise ItemError("too_large", message)
    # Later pictures may be larger than the header says.
    video.codec_context.options = {"max_pixels": str(limits.max_pixels)}
    for stream in (video, audio):
        if stream is not None:
            stream.codec_context.thread_count = 1
    return video, audio


def demux(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of some streams in the order of the file, and an empty one at each one's end.

    Where a stream appears in mid-file, PyAV wants one of it at the end too and does not find it.
    """
    with suppress(IndexError):
        yield from container.demux(streams)


def start_of(container: av.container.InputContainer) -> float:
    """Where the file's clock starts, in seconds; every time of ours counts from here."""
    return float((container.start_time or 0) / av.time_base)


def rewind(container: av.container.InputContainer) -> None:
    """Go back to the start of a file."""
    start = container.start_time or 0
    try:
        container.seek(start)
    except av.FFmpegError:  # FLV: there is no picture yet
        container.seek(start, backward=False)


def states_times(container: Any) -> bool:
    """Whether a file says when its pictures appear: AVI has but their places in a row."""
    return bool(container.format.name != "avi")


def orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """How a frame is shown: quarter turns to the left, and whether it is mirrored before them.

    Phones turn their pictures, and mirror those of a front camera, by a matrix beside them.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return 0, False
    a, b, _, c, d = (int(number) for number in np.frombuffer(matrix, np.int32)[:5])
    mirrored = a * d < b * c
    turns = round(frame.rotation / 90) + (2 if mirrored else 0)
    return turns % 4, mirrored


def shown_size(frame: av.VideoFrame, stream: Any) -> tuple[int, int]:
    """Width and height of a frame as a player shows it: square pixels, turned."""
    ratio = stream.sample_aspect_ratio
    width, height = frame.width, frame.height
    if ratio:
        width = round(width * float(ratio))
    turns, _ = orientation(frame)
    return (height, width) if turns % 2 else (width, height)


def _matroska_duration(stream: Any) -> float | None:
    """The length that Matroska keeps per stream as a tag like 00:00:04.000000000, in seconds."""
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    hours, minutes, seconds = map(float, tag.groups())
    return hours * 3600 + minutes * 60 + seconds


def probe(uri: str, limits: LimitsConfig = LimitsConfig()) -> MediaInfo:
    """Read a file's headers and its first frame; of a picture, all of it.

    Raises:
        ItemError: ``missing``, ``unreadable``, ``storage_error``, ``timeout``, ``no_video``,
            ``no_duration``, ``too_long`` or ``too_large``.
    """
    if (still := read_still(uri, limits)) is not None:
        height, width, _ = still.shape
        return MediaInfo(STILL.duration_s, width, height, 0.0, 0, None, still=True)
    with open_media(uri, limits) as container:
        video, audio = pick_streams(container, uri, limits)
        left = time_left(uri, limits)
        first = _first_frame(container, video, left)
        if first is None:
            raise ItemError("unreadable", f"{uri}: the video stream holds no frame")
        duration_s = _duration_s(container, video, left)
        if not 0 < duration_s < float("inf"):
            raise ItemError("no_duration", f"{uri}: has no length")
        if duration_s > limits.max_duration_s:
            message = f"{uri}: {duration_s:.0f} s are more than limits.max_duration_s allows"
            raise ItemError("too_long", message)
        width, height = shown_size(first, video)
        return MediaInfo(
            duration_s=duration_s,
            width=width,
            height=height,
            fps=float(video.average_rate or 0),
            video_stream=video.index,
            audio_stream=None if audio is None else audio.index,
        )


def _first_frame(container: Any, video: Any, left: Callable[[], float]) -> av.VideoFrame | None:
    """The first frame that can be decoded; a broken start does not cost the whole file."""
    for packet in demux(container, video):
        left()
        with suppress(av.FFmpegError):
            for frame in packet.decode():
                return frame
    return None


def stated_end_s(container: Any, video: Any) -> float | None:
    """When the file says that its picture ends, on its own clock; None if it does not say."""
    if container.format.name in _UNSTATED:
        return None
    if video.duration is not None:
        return float((video.start_time or 0) + video.duration) * float(video.time_base)
    if (stated := _matroska_duration(video)) is not None:
        return stated
    if container.duration is None:
        return None
    return start_of(container) + float(container.duration / av.time_base)


def _duration_s(container: Any, video: Any, left: Callable[[], float]) -> float:
    """From the start of the file to the end of its picture, as stated or else as it is."""
    stated, start = stated_end_s(container, video), start_of(container)
    if stated is not None and 0 < stated - start < float("inf"):
        return stated - start
    return _last_end_s(container, video, left) - start


def _last_end_s(container: Any, video: Any, left: Callable[[], float]) -> float:
    """When the last picture ends, on the file's clock; read from its packets.

    From those at the end of the file if libav has a guess where that is, else from all.
    """
    start, end = container.start_time or 0, 0.0
    with suppress(av.FFmpegError):
        if container.duration is not None:
            near = start + container.duration - round(_END_S * av.time_base)
            container.seek(max(near, start))
        end = _end_of_packets(container, video, left)
    if not end:
        rewind(container)
        end = _end_of_packets(container, video, left)
    return end


def _end_of_packets(container: Any, video: Any, left: Callable[[], float]) -> float:
    """When the last picture ends of those that follow in the file; 0 when none does."""
    last, length, stated = None, 0, states_times(container)
    for packet in demux(container, video):
        left()
        moment = packet.pts if stated else packet.dts
        if moment is not None and (last is None or moment >= last):
            last, length = moment, packet.duration or 0
    if last is None:
        return 0.0
    length_s = float(length * video.time_base) or 1 / float(video.average_rate or 25)
    return float(last * video.time_base) + length_s
