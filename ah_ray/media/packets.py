"""The packets of a source in the order in which they are needed; nothing is decoded for clips."""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import av

from ah_ray.media.config import LimitsConfig
from ah_ray.media.probe import demux, open_media, rewind, start_of, states_times

_ROUNDING_S = 0.001
# Clips that start later than this are not read up to but sought, with a run-up that is longer
# than any decoder needs to find into its stream.
SEEK_FROM_S, _RUN_UPS_S = 30.0, (10.0, 60.0)
# A stream that lags the other by more than this is read apart from it, and of sound so much is
# decoded again for the decoder to find into it.
_LAG_S, _SOUND_RUN_UP_S = 10.0, 1.0
_PAUSE_S = 2.0  # no packet of sound lasts so long
# Codecs in which it is sure that no other picture needs one that is marked as no reference. (In
# HEVC one of a higher temporal layer may.) Decoding such a picture can be left out.
_SPARING_CODECS = frozenset({"h264", "mpeg2video", "mpeg4", "vp8"})
# Packets of pictures are out of order by fewer places than this (H.264 allows 16).
REORDER = 32


@dataclass(frozen=True)
class Gap:
    """From where a stream has been read to, nothing of it comes before ``until_s``."""

    what: Literal["pictures", "sound"]
    until_s: float  # infinite at the end of the stream


class Clock:
    """Says what a timestamp of a stream means, in seconds from the start of the file.

    There are hundreds of packets in a second, and arithmetic with libav's fractions costs as much
    as decoding a small picture.
    """

    def __init__(self, stream: Any, start: float) -> None:
        self.numerator, self.denominator = stream.time_base.as_integer_ratio()
        self.start = start

    def __call__(self, timestamp: int) -> float:
        """The seconds of a timestamp."""
        seconds: float = timestamp * self.numerator / self.denominator
        return seconds - self.start

    def order(self, packet: Any) -> float | None:
        """When a packet is decoded; None when the file does not say."""
        if packet.dts is None:
            return None if packet.pts is None else self(packet.pts)
        return self(packet.dts)


def seek(container: Any, video: Any, audio: Any, first_s: float) -> None:
    """Move to where picture and sound of ``first_s`` can be decoded from.

    A container without an index of key pictures may land where none follows in time, and where the
    picture pauses, sound of the pause may be stored before; it is tried from further back, and at
    last from the start.
    """
    start = start_of(container)
    for run_up_s in (*_RUN_UPS_S, first_s):
        position = round((first_s - min(run_up_s, first_s) + start) * av.time_base)
        with contextlib.suppress(av.FFmpegError, IndexError):
            container.seek(position)
            first = next(container.decode(video), None)
            if first is None or first.time is None or first.time - start > first_s:
                continue
            container.seek(position)
            if audio is not None and not _hears(container, video, audio, start, first_s):
                continue
            container.seek(position)
            return
    rewind(container)


def _hears(container: Any, video: Any, audio: Any, start: float, first_s: float) -> bool:
    """Whether no sound from ``first_s`` on is stored before where a container is."""
    clocks = {stream.index: Clock(stream, start) for stream in (video, audio)}
    for packet in demux(container, video, audio):
        moment = clocks[packet.stream_index].order(packet)
        if moment is not None and packet.stream is audio:
            return moment <= first_s
        if moment is not None and moment > first_s + _LAG_S:
            break
    return True  # it has ended or lags: what there is comes later in the file


def packets(
    uri: str,
    container: Any,
    video: Any,
    audio: Any,
    times: Sequence[float] | None,
    limits: LimitsConfig,
) -> Iterator[tuple[Any, bool]]:
    """The packets and gaps of a file, each packet with whether a clip may need what it holds.

    A picture is shown until the next one appears, which may come earlier or later in the file; so
    packets are held back until that is known.

    Args:
        uri: the file.
        container: the open file.
        video: its video stream.
        audio: its audio stream, or None.
        times: when clips take pictures, in seconds from the start of the file, sorted; None when
            every picture is needed.
        limits: what the file may cost.
    """
    clock = Clock(video, start_of(container))
    sparing = video.codec_context.name in _SPARING_CODECS and states_times(container)
    waiting: deque[tuple[Any, bool, float | None]] = deque()
    released: deque[float] = deque()
    moments: list[float] = []  # of the pictures among both, sorted

    def release() -> tuple[Any, bool]:
        item, needed, moment = waiting.popleft()
        if moment is None or times is None:
            return item, needed
        following = bisect_right(moments, moment)
        until = moments[following] if following < len(moments) else float("inf")
        released.append(moment)
        if len(released) > REORDER:
            del moments[bisect_left(moments, released.popleft())]
        index = bisect_left(times, moment - _ROUNDING_S)
        return item, index < len(times) and times[index] < until + _ROUNDING_S

    for item, is_new in _demux(uri, container, video, audio, limits):
        if times is None or not sparing:
            yield item, is_new
            continue
        of_video = not isinstance(item, Gap) and item.stream is video and item.pts is not None
        moment = clock(item.pts) if of_video else None
        waiting.append((item, is_new, moment))
        if moment is not None:
            insort(moments, moment)
        while len(moments) - len(released) > REORDER:
            yield release()
    while waiting:
        yield release()


def _demux(
    uri: str, container: Any, video: Any, audio: Any, limits: LimitsConfig
) -> Iterator[tuple[Any, bool]]:
    """Packets and gaps, no stream far ahead of the other, each with whether it is new.

    That is the order of the file, until one stream lags: it pauses, has ended, or is stored far
    behind the other. From there on each is read by its own opening of the file, so that one need
    not be held in memory until the other comes.
    """
    if audio is None:
        yield from ((packet, True) for packet in demux(container, video))
        return
    clocks = {stream.index: Clock(stream, start_of(container)) for stream in (video, audio)}
    reached: dict[int, float] = {}
    for packet in demux(container, video, audio):
        yield packet, True
        if packet.pts is None and packet.dts is None:
            continue
        moment = clocks[packet.stream_index].order(packet)
        assert moment is not None
        if not reached:
            reached = dict.fromkeys(clocks, moment)
        reached[packet.stream_index] = max(moment, reached[packet.stream_index])
        if abs(reached[video.index] - reached[audio.index]) > _LAG_S:
            break
    else:
        return
    heard_s = reached[audio.index]
    with open_media(uri, limits) as other:
        sounds = _sounds(other, audio.index, clocks[audio.index], heard_s)
        sound_s, sound = next(sounds)
        for packet in demux(container, video):
            moment = clocks[video.index].order(packet)
            while moment is not None and sound_s <= moment:
                yield sound, sound_s > heard_s
                sound_s, sound = next(sounds)
            yield packet, True
        yield Gap("pictures", float("inf")), True
        while sound_s < float("inf"):
            yield sound, sound_s > heard_s
            sound_s, sound = next(sounds)


def _sounds(
    container: Any, index: int, clock: Clock, heard_s: float
) -> Iterator[tuple[float, Any]]:
    """The sound from ``heard_s`` on, with a run-up: packets and gaps, and when to hand them on.

    After the last gap comes nothing at an infinite time.
    """
    stream = container.streams[index]
    stream.codec_context.thread_count = 1
    if (from_s := heard_s - _SOUND_RUN_UP_S) > 0:
        _seek_sound(container, stream, clock, from_s)
    last_s = from_s
    for packet in demux(container, stream):
        moment = clock.order(packet)
        if moment is not None and moment > last_s + _PAUSE_S:
            yield last_s, Gap("sound", moment)
        last_s = last_s if moment is None else moment
        yield last_s, packet
    yield last_s, Gap("sound", float("inf"))
    yield float("inf"), None


def _seek_sound(container: Any, stream: Any, clock: Clock, from_s: float) -> None:
    """Move to where all sound from ``from_s`` on is still to come, or else to the start.

    It is sought by the sound itself: by key pictures one lands behind the sound of a pause of the
    picture.
    """
    position = int((from_s + clock.start) / stream.time_base)
    with contextlib.suppress(av.FFmpegError, IndexError):
        container.seek(position, stream=stream)
        moments = (clock.order(packet) for packet in demux(container, stream))
        first_s = next((moment for moment in moments if moment is not None), None)
        if first_s is not None and first_s <= from_s:
            container.seek(position, stream=stream)
            return
    rewind(container)
