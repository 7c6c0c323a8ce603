"""Open untrusted media and say what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import av.container

from ah_ray import storage
from ah_ray.errors import ItemError

# Only demuxers of self-contained files, and only the protocol of the file itself: a playlist or
# a concat script with a video's name must not make a worker read other files or addresses.
_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts",
    "protocol_whitelist": "file",
}


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
    """

    duration_s: float
    width: int
    height: int
    fps: float
    video_stream: int
    audio_stream: int | None


@contextmanager
def open_media(uri: str) -> Iterator[av.container.InputContainer]:
    """Open a video for reading.

    Raises:
        ItemError: ``missing`` or ``unreadable``; also when the body fails on the media.
    """
    path = storage.local_path(uri)
    source: Any = None
    try:
        source = str(path) if path else storage.open_read(uri)
        # Untrusted metadata need not be UTF-8.
        with av.open(source, options=dict(_OPTIONS), metadata_errors="replace") as container:
            yield container
    except FileNotFoundError as error:
        raise ItemError("missing", f"{uri}: there is no such file") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ItemError("unreadable", f"{uri}: {reason}") from error
    finally:
        if path is None and source is not None:
            source.close()


def pick_streams(container: av.container.InputContainer) -> tuple[Any, Any]:
    """The video and the audio stream (or None) of a file.

    Of several, the one that ffmpeg calls best: the container's default, then the one with the
    highest bit rate. ``cut`` names the same streams.

    Raises:
        ItemError: there is no video stream.
    """
    video = container.streams.best("video")
    if video is None:
        raise ItemError("no_video", f"{container.name}: holds no video stream")
    return video, container.streams.best("audio")


def start_of(container: av.container.InputContainer) -> float:
    """Where the file's clock starts, in seconds; every time of ours counts from here."""
    return float((container.start_time or 0) / av.time_base)


def shown_size(frame: av.VideoFrame, stream: Any) -> tuple[int, int]:
    """Width and height of a frame as a player shows it: square pixels, rotated."""
    ratio = stream.sample_aspect_ratio
    width, height = frame.width, frame.height
    if ratio:
        width = round(width * float(ratio))
    return (height, width) if frame.rotation % 180 else (width, height)


def _matroska_duration(stream: Any) -> float | None:
    """The length that Matroska keeps per stream as a tag like 00:00:04.000000000, in seconds."""
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    hours, minutes, seconds = map(float, tag.groups())
    return hours * 3600 + minutes * 60 + seconds


def probe(uri: str) -> MediaInfo:
    """Read a file's headers and its first frame.

    Raises:
        ItemError: ``missing``, ``unreadable``, ``no_video`` or ``no_duration``.
    """
    with open_media(uri) as container:
        video, audio = pick_streams(container)
        start = start_of(container)
        first = next(container.decode(video), None)
        if first is None:
            raise ItemError("unreadable", f"{uri}: the video stream holds no frame")
        if video.duration is not None:
            end = ((video.start_time or 0) + video.duration) * float(video.time_base)
        elif (stated := _matroska_duration(video)) is not None:
            end = stated
        elif container.duration is not None:
            end = start + container.duration / av.time_base
        else:
            raise ItemError("no_duration", f"{uri}: the file does not say how long it is")
        width, height = shown_size(first, video)
        return MediaInfo(
            duration_s=end - start,
            width=width,
            height=height,
            fps=float(video.average_rate or 0),
            video_stream=video.index,
            audio_stream=None if audio is None else audio.index,
        )
