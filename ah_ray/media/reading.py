"""The pictures and the sound of an open file, decoded in its order; clips are made of them."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import av
import av.filter
import av.logging
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from ah_ray.media.config import MediaConfig
from ah_ray.media.frames import AUDIO_HZ, AUDIO_JUMP_S, DEINTERLACE, fit_size
from ah_ray.media.packets import REORDER, Clock, Gap
from ah_ray.media.probe import orientation, shown_size, start_of, states_times

_SOUND_S = 0.25  # of sound are resampled and handed on at a time
# Sound of which nothing can be decoded for so long is not waited for.
_DEAF_S = 10.0


@dataclass(frozen=True)
class Picture:
    """A decoded frame and when it appears, in seconds from the start of the file."""

    time_s: float
    frame: av.VideoFrame
    size: tuple[int, int]
    orientation: tuple[int, bool]
    scaler: Any  # one for all pictures of a source, for setting one up is not free

    @property
    def end_s(self) -> float:
        """Until when the file says that the frame stands; ``time_s`` when it does not say."""
        return self.time_s + float((self.frame.duration or 0) * self.frame.time_base)

    @cached_property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The frame as it is shown, at ``size`` (width, height)."""
        turns, mirrored = self.orientation
        width, height = self.size[::-1] if turns % 2 else self.size
        scaled = self.scaler.reformat(
            self.frame, width=width, height=height, format="rgb24", interpolation="BICUBIC"
        )
        pixels = scaled.to_ndarray()
        if mirrored:
            pixels = pixels[:, ::-1]
        return np.rot90(pixels, turns) if turns else pixels


@dataclass(frozen=True)
class Sound:
    """Consecutive 16 kHz samples and when they start, in seconds from the start of the file."""

    time_s: float
    samples: npt.NDArray[np.int16]


@dataclass(frozen=True)
class Mark:
    """What is known of a moment of a file, in seconds from its start."""

    time_s: float
    what: Literal["packet", "broken picture", "broken sound"]  # packet: one of the picture


def read(
    packets: Iterator[tuple[Any, bool]],
    container: Any,
    video: Any,
    media: MediaConfig,
    check_time: Callable[[], float],
) -> Iterator[Picture | Sound | Mark | Gap]:
    """The frames, the resampled sound and the marks of a file, in the order of ``packets``."""
    start = start_of(container)
    pictures = _Pictures(container, video, media, start)
    sounds = _Sounds(start)
    clocks = {stream.index: Clock(stream, start) for stream in container.streams}
    for packet, needed in packets:
        check_time()
        if isinstance(packet, Gap):
            yield from (pictures if packet.what == "pictures" else sounds).rest()
            yield packet
            continue
        of_video = packet.stream is video
        moment = packet.dts if packet.pts is None or not pictures.stated else packet.pts
        if moment is not None and not packet.size:  # the picture before it, once more
            continue
        if of_video:
            pictures.expect(packet, needed)
        errors, _ = av.logging.get_last_error()
        frames = None
        with contextlib.suppress(av.FFmpegError):
            frames = packet.decode()
        broken = frames is None or av.logging.get_last_error()[0] > errors
        if not (needed or of_video):  # heard before
            continue
        if moment is not None:
            time_s = clocks[packet.stream_index](moment)
            if of_video and needed:
                yield Mark(time_s, "packet")
            if broken:
                yield Mark(time_s, "broken picture" if of_video else "broken sound")
            if not of_video and time_s > sounds.next_s + _DEAF_S:
                yield Gap("sound", time_s)
        for frame in frames or ():
            if isinstance(frame, av.VideoFrame):
                yield from pictures.take(frame)
            elif frame.time is not None:
                yield from sounds.take(frame)
    yield from pictures.rest()
    yield from sounds.rest()


class _Pictures:
    """Makes ``Picture`` of frames; pictures of two fields become pictures of one moment."""

    def __init__(self, container: Any, video: Any, media: MediaConfig, start: float) -> None:
        self.video, self.media, self.start = video, media, start
        self.size: tuple[int, int] | None = None
        self.scaler = VideoReformatter()
        # By the rotation that libav speaks of. A frame of which the matrix was asked for is kept
        # until Python looks for cycles, so not all are.
        self.orientations: dict[int, tuple[int, bool]] = {}
        self.filter: av.filter.Graph | None = None  # from the first interlaced picture on
        self.kind: tuple[str, int, int] | None = None  # of picture that the filter was made for
        self.stated = states_times(container)
        self.places: deque[int] = deque(maxlen=REORDER)  # where packets came, of unstated times
        self.held: int | None = None  # pictures that the decoder still has, at the end

    def expect(self, packet: Any, needed: bool) -> None:
        """Prepare the decoder for a packet."""
        context = self.video.codec_context
        spare = not needed and self.filter is None  # a filter looks at all pictures
        context.skip_frame = "NONREF" if spare else "DEFAULT"
        if packet.dts is not None:
            self.places.append(packet.dts)
        elif not packet.size:
            self.held = context.reorder_depth

    def take(self, frame: av.VideoFrame) -> Iterator[Picture | Mark]:
        """What is made of a frame, and of those that waited for it."""
        if not self.stated:
            frame.pts = self._place()
        if frame.time is None:
            return
        if self.size is None:
            self.size = fit_size(*shown_size(frame, self.video), self.media)
        if frame.is_corrupt:
            yield Mark(frame.time - self.start, "broken picture")
        kind = frame.format.name, frame.width, frame.height
        if kind != self.kind:  # a filter reads beyond pictures that are smaller than its first
            yield from self.rest()
        if self.filter is None and frame.interlaced_frame:
            self.filter, self.kind = _deinterlacer(frame), kind
        if self.filter is None:
            yield self._picture(frame)
        else:
            self.filter.push(frame)
            yield from self._filtered()

    def _picture(self, frame: av.VideoFrame) -> Picture:
        assert self.size is not None
        if frame.rotation not in self.orientations:
            self.orientations[frame.rotation] = orientation(frame)
        turned = self.orientations[frame.rotation]
        return Picture(frame.time - self.start, frame, self.size, turned, self.scaler)

    def _place(self) -> int | None:
        """The place of the next frame: as many packets back as the decoder holds pictures."""
        if self.held is None:
            held = self.video.codec_context.reorder_depth
        else:
            self.held = held = max(self.held - 1, 0)
        return self.places[-1 - min(held, len(self.places) - 1)] if self.places else None

    def rest(self) -> Iterator[Picture]:
        """What is left at the end, or before pictures of another kind."""
        if self.filter is not None:
            self.filter.push(None)
            yield from self._filtered()
            self.filter = None

    def _filtered(self) -> Iterator[Picture]:
        assert self.filter is not None
        with contextlib.suppress(av.BlockingIOError, av.EOFError):  # wants more, or had its last
            while True:
                frame = self.filter.pull()
                yield self._picture(frame)


def _deinterlacer(first: av.VideoFrame) -> av.filter.Graph:
    """One picture for each two fields, as ``cut`` makes them; others pass as they are."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format, time_base=first.time_base
    )
    steps = [source, graph.add("bwdif", **DEINTERLACE)]
    graph.link_nodes(*steps, graph.add("buffersink")).configure()
    return graph


class _Sounds:
    """Makes ``Sound`` of audio frames, many at a time: they are short, and a call costs more.

    Where the time jumps, or the kind of sound changes, another resampler begins.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.gathered = av.AudioFifo()
        self.resampler: av.AudioResampler | None = None
        self.kind: tuple[str, str, int] | None = None
        self.due_s = 0.0  # the time of the next frame, and
        self.next_s = 0.0  # of the next samples, unless the time jumps

    def take(self, frame: av.AudioFrame) -> Iterator[Sound]:
        """What is made of a frame, and of those that waited for it."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self.kind or abs(frame.time - self.due_s) > AUDIO_JUMP_S:
            yield from self.rest()
            self.gathered = av.AudioFifo()
            self.resampler = av.AudioResampler("s16", "mono", AUDIO_HZ)
            self.kind, self.due_s, self.next_s = kind, frame.time, frame.time - self.start
        self.due_s += frame.samples / frame.sample_rate
        frame.pts = None  # their times have been looked at
        self.gathered.write(frame)
        if self.gathered.samples >= _SOUND_S * frame.sample_rate:
            yield from self._resampled(self.gathered.read())

    def rest(self) -> Iterator[Sound]:
        """What is left before the end, before a gap, or before another kind of sound."""
        if self.resampler is not None:
            if self.gathered.samples:
                yield from self._resampled(self.gathered.read())
            yield from self._resampled(None)
            self.resampler = self.kind = None

    def _resampled(self, frame: av.AudioFrame | None) -> Iterator[Sound]:
        assert self.resampler is not None
        for piece in self.resampler.resample(frame):
            yield Sound(self.next_s, np.frombuffer(piece.planes[0], np.int16, piece.samples))
            self.next_s += piece.samples / AUDIO_HZ
