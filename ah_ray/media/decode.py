"""One pass over a source yields, for each of its clips, exactly what the model sees and hears."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.logging
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig, MediaConfig
from ah_ray.media.faces import with_faces
from ah_ray.media.frames import AUDIO_HZ, audio_samples, fit_size, frame_times
from ah_ray.media.packets import SEEK_FROM_S, Clock, Gap, packets, seek
from ah_ray.media.probe import open_media, pick_streams, start_of, stated_end_s, time_left
from ah_ray.media.reading import Mark, Picture, Sound, read
from ah_ray.media.segment import Span
from ah_ray.media.stills import Pixels, read_still

# The first frame may come this late, and the last one stand this long, before a clip that asks
# for a frame beyond it counts as having no picture.
_STILL_S = 0.5


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
    clip_ids: Sequence[str] = (),
) -> Iterator[tuple[int, DecodedClip | ItemError]]:
    """Decode the clips of one source in a single pass.

    Only the clips around the current position are held, at the size the model sees. Pictures that
    neither a clip nor another picture needs are not decoded.

    Args:
        uri: the video, or a picture: then every frame of a clip is that picture.
        spans: its clips, in any order; they may overlap.
        media: frame rate and size, and whether there is sound.
        limits: what the source may cost.
        every_picture: decode all pictures, so that damage is counted in all.
        clip_ids: of the clips, in the order of ``spans``; images that are picked at random follow
            from them.

    Yields:
        Every index in ``spans`` once, with its clip or the error that it ends with. A file that
        breaks in its middle costs the clips from there on, not those before.
    """
    try:
        if (still := read_still(uri, limits)) is not None:
            yield from _repeated(uri, still, spans, media)
            return
    except ItemError as error:
        yield from ((index, error) for index in range(len(spans)))
        return
    upcoming = deque(sorted(range(len(spans)), key=lambda index: spans[index]))
    ids = clip_ids or [""] * len(spans)
    times = [frame_times(span, media, id_) for span, id_ in zip(spans, ids, strict=True)]
    open_clips: dict[int, _Draft] = {}
    marks = _Marks()
    failure: ItemError | None = None
    latest: Picture | None = None
    errors, _ = av.logging.get_last_error()
    stands_s = 0.0  # until when the last picture stands
    try:
        with open_media(uri, limits) as container:
            video, audio = pick_streams(container, uri, limits)
            if "audio" not in media.kinds:
                audio = None
            if upcoming and spans[upcoming[0]].start_s > SEEK_FROM_S:
                seek(container, video, audio, spans[upcoming[0]].start_s)
            seen = heard = -1.0  # how far each stream has been read, in seconds
            needed = None if every_picture else sorted(chain.from_iterable(times))
            items = packets(uri, container, video, audio, needed, limits)
            for item in read(items, container, video, media, time_left(uri, limits)):
                if isinstance(item, Mark):  # of a clip that may not have begun: they are ahead
                    marks.add(item)
                    continue
                if isinstance(item, Picture):
                    seen = item.time_s
                elif isinstance(item, Sound):
                    heard = item.time_s + len(item.samples) / AUDIO_HZ
                elif item.what == "sound":
                    heard = item.until_s
                else:
                    seen = item.until_s
                    stands_s = _stands_s(container, video, latest, errors)
                if not isinstance(item, Gap):
                    reached = seen if isinstance(item, Picture) else heard
                    while upcoming and spans[upcoming[0]].start_s <= reached:
                        index = upcoming.popleft()
                        open_clips[index] = _Draft(spans[index], times[index], media, latest)
                    for draft in open_clips.values():
                        draft.add(item)
                if isinstance(item, Picture):
                    latest = item
                complete = [
                    index
                    for index, draft in open_clips.items()
                    if draft.is_complete(seen, heard, has_audio=audio is not None)
                ]
                for index in complete:
                    yield index, open_clips.pop(index).finish(uri, marks, stands_s)
                if not upcoming and not open_clips:
                    break
            stands_s = _stands_s(container, video, latest, errors)
    except ItemError as error:
        failure = error
    for index in (*open_clips, *upcoming):  # into the latter the last picture may still stand
        draft = open_clips.get(index) or _Draft(spans[index], times[index], media, latest)
        clip = draft.finish(uri, marks, stands_s)
        yield index, failure if failure and isinstance(clip, ItemError) else clip


def _repeated(
    uri: str, still: Pixels, spans: Sequence[Span], media: MediaConfig
) -> Iterator[tuple[int, DecodedClip | ItemError]]:
    """The clips of a picture: it is every frame that they take, and there is nothing to hear.

    Raises:
        ItemError: ``frame_size``.
    """
    height, width, _ = still.shape
    frame = av.VideoFrame.from_ndarray(still, "rgb24")
    frame.time_base = Fraction(1)
    size = fit_size(width, height, media)
    picture = Picture(0.0, frame, size, (0, False), VideoReformatter())
    for index, span in enumerate(spans):
        draft = _Draft(span, frame_times(span, media), media, picture)
        yield index, draft.finish(uri, _Marks(), stands_s=math.inf)


def _stands_s(container: Any, video: Any, latest: Picture | None, errors: int) -> float:
    """Until when the file says that its last picture stands, in seconds from its start.

    0 if it does not say, or is not whole: then nobody knows what came after that picture.

    Args:
        container: the file, read to the end of its pictures.
        video: its video stream.
        latest: its last picture.
        errors: how many libav had met before it.
    """
    start, index = start_of(container), video.index_entries
    last_s = Clock(video, start)(index[-1].timestamp) if len(index) else 0.0
    lacks_some = latest is None or last_s > latest.time_s + _STILL_S
    if lacks_some or av.logging.get_last_error()[0] > errors:
        return 0.0
    return (stated_end_s(container, video) or 0.0) - start


class _Marks:
    """The marks of a file; those of one kind and moment count once."""

    def __init__(self) -> None:
        self.times: defaultdict[str, list[float]] = defaultdict(list)  # each sorted

    def add(self, mark: Mark) -> None:
        times = self.times[mark.what]
        place = bisect_left(times, mark.time_s)
        if times[place : place + 1] != [mark.time_s]:
            times.insert(place, mark.time_s)

    def count(self, span: Span, what: str) -> int:
        times = self.times[what]
        return bisect_left(times, span.end_s) - bisect_left(times, span.start_s)


class _Draft:
    """A clip in the making."""

    def __init__(
        self, span: Span, times: Sequence[float], media: MediaConfig, latest: Picture | None
    ) -> None:
        self.span = span
        self.times = times
        self.faces = media.faces
        self.frames: list[npt.NDArray[np.uint8]] = []
        self.latest = latest
        samples = audio_samples(span.duration_s) if "audio" in media.kinds else 0
        self.audio = np.zeros(samples, np.int16)
        self.gap_s: float | None = None  # a time for which there is no picture
        self.pictures = 0  # that appear in it

    def add(self, item: Picture | Sound) -> None:
        if isinstance(item, Sound):
            start = round((item.time_s - self.span.start_s) * AUDIO_HZ)
            first, last = max(start, 0), min(start + len(item.samples), len(self.audio))
            if first < last:
                self.audio[first:last] = item.samples[first - start : last - start]
            return
        # A frame is shown until the next one appears, so the next one settles what was shown.
        while len(self.frames) < len(self.times) and self.times[len(self.frames)] < item.time_s:
            self._take(self.latest or item, _STILL_S if self.latest is None else None)
        self.latest = item
        self.pictures += self.span.start_s <= item.time_s < self.span.end_s

    def _take(self, picture: Picture, still_s: float | None, stands_s: float = 0.0) -> None:
        time = self.times[len(self.frames)]
        until_s = max(picture.end_s, stands_s)
        if still_s is not None and not picture.time_s - still_s <= time <= until_s + still_s:
            self.gap_s = time
        self.frames.append(picture.pixels)

    def is_complete(self, seen: float, heard: float, has_audio: bool) -> bool:
        return seen >= self.span.end_s and (heard >= self.span.end_s or not has_audio)

    def finish(self, uri: str, marks: _Marks, stands_s: float = 0.0) -> DecodedClip | ItemError:
        if not self.pictures and marks.count(self.span, "packet"):  # nothing stands still: it broke
            message = f"{uri}: no picture can be decoded from {self.span.start_s:.3f} s on"
            return ItemError("no_picture", message)
        while self.latest and len(self.frames) < len(self.times):
            self._take(self.latest, _STILL_S, stands_s)
        if not self.frames or self.gap_s is not None:
            time = self.span.start_s if self.gap_s is None else self.gap_s
            return ItemError("no_picture", f"{uri}: there is no picture at {time:.3f} s")
        fps = len(self.times) / self.span.duration_s
        damage = sum(marks.count(self.span, what) for what in ("broken picture", "broken sound"))
        audio = np.divide(self.audio, 32768, dtype=np.float32)
        frames = np.stack(self.frames)
        if self.faces is not None:
            try:
                frames = with_faces(frames, self.faces, uri)
            except ItemError as error:
                return error
        return DecodedClip(frames, fps, audio, damage)
