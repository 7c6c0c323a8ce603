"""One pass over a source yields, for each of its clips, exactly what the model sees and hears."""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import av
import av.filter
import av.logging
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from ah_ray.config import LimitsConfig, MediaConfig
from ah_ray.errors import ItemError
from ah_ray.media.frames import AUDIO_HZ, DEINTERLACE, audio_samples, fit_size, frame_times
from ah_ray.media.probe import open_media, pick_streams, shown_size, start_of, time_left
from ah_ray.media.segment import Span

av.logging.set_level(av.logging.PANIC)  # what libav calls errors is counted, but not printed

# The first frame may come this late, and the last one stand this long, before a clip that asks
# for a frame beyond it counts as having no picture.
_STILL_S = 0.5
# Timestamps that jump by less are rounding (Matroska counts milliseconds), not silence.
_AUDIO_JUMP_S = 0.05
_SOUND_S = 0.25  # of sound are resampled and handed on at a time
_ROUNDING_S = 0.001
# A stream that lags the other by more than this has ended or is missing: do not wait for it.
_LAG_S = 10.0
# Clips that start later than this are not read up to but sought, with a run-up that is longer
# than any decoder needs to find into its stream.
_SEEK_FROM_S, _RUN_UPS_S = 30.0, (10.0, 60.0)
# Codecs in which it is sure that no other picture needs one that is marked as no reference. (In
# HEVC one of a higher temporal layer may.) Decoding such a picture can be left out.
_SPARING_CODECS = frozenset({"h264", "mpeg2video", "mpeg4", "vp8"})
# Packets of pictures are out of order by fewer places than this (H.264 allows 16).
_REORDER = 32


@dataclass(frozen=True)
class DecodedClip:
    """What the model gets of one clip.

    Attributes:
        frames: uint8, frames x height x width x RGB.
        fps: the rate at which the frames were taken, in Hz.
        audio: float32 in [-1, 1), mono at 16 kHz; silence where the source has none, and nothing
            where the model gets none.
        damage: of how many pictures and pieces of sound libav says that they are broken, as far
            as they had to be decoded.
    """

    frames: npt.NDArray[np.uint8]
    fps: float
    audio: npt.NDArray[np.float32]
    damage: int = 0


def decode(
    uri: str,
    spans: Sequence[Span],
    media: MediaConfig,
    limits: LimitsConfig = LimitsConfig(),
    every_picture: bool = False,
) -> Iterator[tuple[int, DecodedClip | ItemError]]:
    """Decode the clips of one source in a single pass.

    Only the clips around the current position are held, at the size the model sees. Pictures that
    neither a clip nor another picture needs are not decoded.

    Args:
        uri: the video.
        spans: its clips, in any order; they may overlap.
        media: frame rate and size, and whether there is sound.
        limits: what the source may cost.
        every_picture: decode all pictures, so that damage is counted in all.

    Yields:
        Every index in ``spans`` once, with its clip or the error that it ends with. A file that
        breaks in its middle costs the clips from there on, not those before.
    """
    upcoming = deque(sorted(range(len(spans)), key=lambda index: spans[index]))
    open_clips: dict[int, _Draft] = {}
    marks = _Marks()
    failure: ItemError | None = None
    try:
        with open_media(uri, limits) as container:
            video, audio = pick_streams(container, uri, limits)
            if "audio" not in media.kinds:
                audio = None
            if upcoming and spans[upcoming[0]].start_s > _SEEK_FROM_S:
                _seek(container, video, spans[upcoming[0]].start_s)
            seen = heard = -1.0  # how far each stream has been read, in seconds
            latest: _Picture | None = None
            times = sorted(moment for span in spans for moment in frame_times(span, media))
            packets = _packets(container, video, audio, None if every_picture else times)
            for item in _read(packets, container, video, media, time_left(uri, limits)):
                if isinstance(item, _Picture):
                    seen = item.time_s
                elif isinstance(item, _Sound):
                    heard = item.time_s + len(item.samples) / AUDIO_HZ
                else:  # of a clip that may not have begun: packets are ahead of their pictures
                    marks.add(item)
                    continue
                while upcoming and spans[upcoming[0]].start_s <= max(seen, heard):
                    index = upcoming.popleft()
                    open_clips[index] = _Draft(spans[index], media, latest)
                for draft in open_clips.values():
                    draft.add(item)
                if isinstance(item, _Picture):
                    latest = item
                complete = [
                    index
                    for index, draft in open_clips.items()
                    if draft.is_complete(seen, heard, has_audio=audio is not None)
                ]
                for index in complete:
                    yield index, open_clips.pop(index).finish(uri, marks)
                if not upcoming and not open_clips:
                    break
    except ItemError as error:
        failure = error
    for index, draft in open_clips.items():
        clip = draft.finish(uri, marks)
        yield index, failure if failure and isinstance(clip, ItemError) else clip
    for index in upcoming:
        start = f"{uri}: ends before {spans[index].start_s:.3f} s"
        yield index, failure or ItemError("no_picture", start)


@dataclass(frozen=True)
class _Picture:
    """A decoded frame and when it appears, in seconds from the start of the file."""

    time_s: float
    frame: av.VideoFrame
    size: tuple[int, int]
    scaler: Any  # one for all pictures of a source, for setting one up is not free

    @property
    def end_s(self) -> float:
        """Until when the file says that the frame stands; ``time_s`` when it does not say."""
        return self.time_s + float((self.frame.duration or 0) * self.frame.time_base)

    @cached_property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The frame as it is shown, at ``size`` (width, height)."""
        turns = self.frame.rotation // 90
        width, height = self.size[::-1] if turns % 2 else self.size
        scaled = self.scaler.reformat(
            self.frame, width=width, height=height, format="rgb24", interpolation="BICUBIC"
        )
        pixels = scaled.to_ndarray()
        return np.rot90(pixels, turns) if turns else pixels


@dataclass(frozen=True)
class _Sound:
    """Consecutive 16 kHz samples and when they start, in seconds from the start of the file."""

    time_s: float
    samples: npt.NDArray[np.int16]


@dataclass(frozen=True)
class _Mark:
    """What is known of a moment of a file, in seconds from its start."""

    time_s: float
    what: Literal["packet", "broken picture", "broken sound"]  # packet: one of the picture


class _Marks:
    """The marks of a file; those of one kind and moment count once."""

    def __init__(self) -> None:
        self.times: defaultdict[str, list[float]] = defaultdict(list)  # each sorted

    def add(self, mark: _Mark) -> None:
        times = self.times[mark.what]
        place = bisect_left(times, mark.time_s)
        if times[place : place + 1] != [mark.time_s]:
            times.insert(place, mark.time_s)

    def count(self, span: Span, what: str) -> int:
        times = self.times[what]
        return bisect_left(times, span.end_s) - bisect_left(times, span.start_s)


class _Draft:
    """A clip in the making."""

    def __init__(self, span: Span, media: MediaConfig, latest: _Picture | None) -> None:
        self.span = span
        self.times = frame_times(span, media)
        self.frames: list[npt.NDArray[np.uint8]] = []
        self.latest = latest
        samples = audio_samples(span.duration_s) if "audio" in media.kinds else 0
        self.audio = np.zeros(samples, np.int16)
        self.gap_s: float | None = None  # a time for which there is no picture
        self.pictures = 0  # that appear in it

    def add(self, item: _Picture | _Sound) -> None:
        if isinstance(item, _Sound):
            start = round((item.time_s - self.span.start_s) * AUDIO_HZ)
            first, last = max(start, 0), min(start + len(item.samples), len(self.audio))
            if first < last:
                self.audio[first:last] = item.samples[first - start : last - start]
            return
        # A frame is shown until the next one appears, so the next one settles what was shown.
        while len(self.frames) < len(self.times) and self.times[len(self.frames)] < item.time_s:
            self._take(self.latest or item, still_s=_STILL_S if self.latest is None else None)
        self.latest = item
        self.pictures += self.span.start_s <= item.time_s < self.span.end_s

    def _take(self, picture: _Picture, still_s: float | None) -> None:
        time = self.times[len(self.frames)]
        if still_s is not None and not (
            picture.time_s - still_s <= time <= picture.end_s + still_s
        ):
            self.gap_s = time
        self.frames.append(picture.pixels)

    def is_complete(self, seen: float, heard: float, has_audio: bool) -> bool:
        sound_in = not has_audio or heard >= self.span.end_s or seen > self.span.end_s + _LAG_S
        picture_in = seen >= self.span.end_s or heard > self.span.end_s + _LAG_S
        return sound_in and picture_in

    def finish(self, uri: str, marks: _Marks) -> DecodedClip | ItemError:
        if not self.pictures and marks.count(self.span, "packet"):  # nothing stands still: it broke
            message = f"{uri}: no picture can be decoded from {self.span.start_s:.3f} s on"
            return ItemError("no_picture", message)
        while self.latest and len(self.frames) < len(self.times):
            self._take(self.latest, still_s=_STILL_S)
        if not self.frames or self.gap_s is not None:
            time = self.span.start_s if self.gap_s is None else self.gap_s
            return ItemError("no_picture", f"{uri}: there is no picture at {time:.3f} s")
        fps = len(self.times) / self.span.duration_s
        damage = sum(marks.count(self.span, what) for what in ("broken picture", "broken sound"))
        audio = np.divide(self.audio, 32768, dtype=np.float32)
        return DecodedClip(np.stack(self.frames), fps, audio, damage)


class _Clock:
    """Says what a timestamp of a stream means, in seconds from the start of the file.

    There are hundreds of packets in a second, and arithmetic with libav's fractions costs as much
    as decoding a small picture.
    """

    def __init__(self, stream: Any, start: float) -> None:
        self.numerator, self.denominator = stream.time_base.as_integer_ratio()
        self.start = start

    def __call__(self, timestamp: int) -> float:
        seconds: float = timestamp * self.numerator / self.denominator
        return seconds - self.start


def _seek(container: Any, video: Any, first_s: float) -> None:
    """Move to where the picture that is shown at ``first_s`` can be decoded from.

    A container without an index of key pictures may land where none follows in time; it is tried
    from further back, and at last from the start.
    """
    start = start_of(container)
    for run_up_s in (*_RUN_UPS_S, first_s):
        position = round((first_s - min(run_up_s, first_s) + start) * av.time_base)
        with contextlib.suppress(av.FFmpegError):
            container.seek(position)
            first = next(container.decode(video), None)
            if first is not None and first.time is not None and first.time - start <= first_s:
                container.seek(position)
                return
    container.seek(round(start * av.time_base))


def _packets(
    container: Any, video: Any, audio: Any, times: Sequence[float] | None
) -> Iterator[tuple[Any, bool]]:
    """The packets in file order, each with whether a clip may need its picture.

    A picture is shown until the next one appears, which may come earlier or later in the file; so
    packets are held back until that is known.

    Args:
        container: the open file.
        video: its video stream.
        audio: its audio stream, or None.
        times: when clips take pictures, in seconds from the start of the file, sorted; None when
            every picture is needed.
    """
    clock = _Clock(video, start_of(container))
    # AVI states no times of pictures, only the order of packets.
    sparing = video.codec_context.name in _SPARING_CODECS and container.format.name != "avi"
    waiting: deque[tuple[Any, float | None]] = deque()
    released: deque[float] = deque()
    moments: list[float] = []  # of the pictures among both, sorted

    def release() -> tuple[Any, bool]:
        packet, moment = waiting.popleft()
        if moment is None or times is None:
            return packet, True
        following = bisect_right(moments, moment)
        until = moments[following] if following < len(moments) else float("inf")
        released.append(moment)
        if len(released) > _REORDER:
            del moments[bisect_left(moments, released.popleft())]
        index = bisect_left(times, moment - _ROUNDING_S)
        return packet, index < len(times) and times[index] < until + _ROUNDING_S

    for packet in container.demux([stream for stream in (video, audio) if stream is not None]):
        if times is None or not sparing:
            yield packet, True
            continue
        of_video = packet.stream is video and packet.pts is not None
        moment = clock(packet.pts) if of_video else None
        waiting.append((packet, moment))
        if moment is not None:
            insort(moments, moment)
        while len(moments) - len(released) > _REORDER:
            yield release()
    while waiting:
        yield release()


def _read(
    packets: Iterator[tuple[Any, bool]],
    container: Any,
    video: Any,
    media: MediaConfig,
    check_time: Callable[[], float],
) -> Iterator[_Picture | _Sound | _Mark]:
    """The frames, the resampled sound and the marks of a file, in file order."""
    start = start_of(container)
    pictures = _Pictures(video, media, start)
    sounds = _Sounds(start)
    clocks = {stream.index: _Clock(stream, start) for stream in container.streams}
    for packet, needed in packets:
        check_time()
        of_video = packet.stream is video
        if of_video:  # deinterlacing looks at the pictures before and after
            spare = not needed and pictures.filter is None
            video.codec_context.skip_frame = "NONREF" if spare else "DEFAULT"
        errors, _ = av.logging.get_last_error()
        frames = None
        with contextlib.suppress(av.FFmpegError):
            frames = packet.decode()
        broken = frames is None or av.logging.get_last_error()[0] > errors
        moment = packet.dts if packet.pts is None else packet.pts
        if moment is not None:
            time_s = clocks[packet.stream_index](moment)
            if of_video and needed and packet.pts is not None:
                yield _Mark(time_s, "packet")
            if broken:
                yield _Mark(time_s, "broken picture" if of_video else "broken sound")
        for frame in frames or ():
            if frame.time is not None:
                yield from (pictures if isinstance(frame, av.VideoFrame) else sounds).take(frame)
    yield from pictures.rest()
    yield from sounds.rest()


class _Pictures:
    """Makes ``_Picture`` of frames; pictures of two fields become pictures of one moment."""

    def __init__(self, video: Any, media: MediaConfig, start: float) -> None:
        self.video, self.media, self.start = video, media, start
        self.size: tuple[int, int] | None = None
        self.scaler = VideoReformatter()
        self.filter: av.filter.Graph | None = None  # from the first interlaced picture on

    def take(self, frame: av.VideoFrame) -> Iterator[_Picture | _Mark]:
        if self.size is None:
            self.size = fit_size(*shown_size(frame, self.video), self.media)
        if frame.is_corrupt:
            yield _Mark(frame.time - self.start, "broken picture")
        if self.filter is None and frame.interlaced_frame:
            self.filter = _deinterlacer(self.video)
        if self.filter is None:
            yield _Picture(frame.time - self.start, frame, self.size, self.scaler)
        else:
            self.filter.push(frame)
            yield from self._filtered()

    def rest(self) -> Iterator[_Picture]:
        if self.filter is not None:
            self.filter.push(None)
            yield from self._filtered()

    def _filtered(self) -> Iterator[_Picture]:
        assert self.filter is not None
        assert self.size is not None
        with contextlib.suppress(av.BlockingIOError, av.EOFError):  # wants more, or had its last
            while True:
                frame = self.filter.pull()
                yield _Picture(frame.time - self.start, frame, self.size, self.scaler)


def _deinterlacer(video: Any) -> av.filter.Graph:
    """One picture for each two fields, as ``cut`` makes them; others pass as they are."""
    graph = av.filter.Graph()
    steps = [graph.add_buffer(template=video), graph.add("bwdif", **DEINTERLACE)]
    graph.link_nodes(*steps, graph.add("buffersink")).configure()
    return graph


class _Sounds:
    """Makes ``_Sound`` of audio frames, many at a time: they are short, and a call costs more.

    Where the time jumps, or the kind of sound changes, another resampler begins.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.gathered = av.AudioFifo()
        self.resampler: av.AudioResampler | None = None
        self.kind: tuple[str, str, int] | None = None
        self.due_s = 0.0  # the time of the next frame, and
        self.next_s = 0.0  # of the next samples, unless the time jumps

    def take(self, frame: av.AudioFrame) -> Iterator[_Sound]:
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self.kind or abs(frame.time - self.due_s) > _AUDIO_JUMP_S:
            yield from self.rest()
            self.gathered = av.AudioFifo()
            self.resampler = av.AudioResampler("s16", "mono", AUDIO_HZ)
            self.kind, self.due_s, self.next_s = kind, frame.time, frame.time - self.start
        self.due_s += frame.samples / frame.sample_rate
        frame.pts = None  # their times have been looked at
        self.gathered.write(frame)
        if self.gathered.samples >= _SOUND_S * frame.sample_rate:
            yield from self._resampled(self.gathered.read())

    def rest(self) -> Iterator[_Sound]:
        """What is left before the end, or before another kind of sound."""
        if self.resampler is not None:
            if self.gathered.samples:
                yield from self._resampled(self.gathered.read())
            yield from self._resampled(None)

    def _resampled(self, frame: av.AudioFrame | None) -> Iterator[_Sound]:
        assert self.resampler is not None
        for piece in self.resampler.resample(frame):
            yield _Sound(self.next_s, np.frombuffer(piece.planes[0], np.int16, piece.samples))
            self.next_s += piece.samples / AUDIO_HZ
