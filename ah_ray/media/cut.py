"""Cut a source into clip files for training and for people: one ffmpeg run writes many of them."""

from __future__ import annotations

import ctypes
import resource
import signal
import subprocess
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import ffmpeg
import imageio_ffmpeg

from ah_ray import storage
from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig, MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.frames import AUDIO_HZ, AUDIO_JUMP_S, DEINTERLACE
from ah_ray.media.probe import (
    SAFE_OPTIONS,
    MediaInfo,
    demux,
    open_media,
    pick_streams,
    start_of,
    states_times,
    time_left,
)
from ah_ray.media.segment import Span
from ah_ray.storage_errors import StorageError

_LIBC = ctypes.CDLL(None)  # here: a forked process must not load anything

# One uniform encode for every class of video, visually lossless, so that no clip carries a trace
# of its label in how it was encoded.
_ENCODE = {
    "vcodec": "libx264",
    "crf": 18,
    "preset": "veryfast",
    "bf": 0,  # frames in order of time: the file then states its length to the last frame
    "enc_time_base": "1:90000",  # not the source's frame rate, which would move each frame
    "fps_mode": "passthrough",  # every frame once, at its time
    "pix_fmt": "yuv420p",
    "acodec": "aac",
    "movflags": "+faststart",
    "map_metadata": -1,
}
# Sound keeps its times: where they jump there is silence.
_FILL = {"async": 1, "first_pts": 0, "min_hard_comp": AUDIO_JUMP_S}
# As many sources are cut at a time as there are CPUs; more threads would be in each other's way.
_ONE_THREAD = {"threads": 1}
# An ffmpeg run holds an encoder per clip to its end, with some 60 bytes per pixel of the picture,
# and looks at each of its clips for every frame.
_BYTES_PER_PIXEL, _BYTES_PER_RUN, _CLIPS_PER_RUN = 60, 6 * 10**8, 64
# A run that starts later than this seeks to so much before the key picture of its first clip.
_SEEK_FROM_S, _BEFORE_S = 30.0, 1.0
# A frame is where its clip starts if it appears less than this after it.
_SAME_S = 0.0005
# What of the picture is looked at to count damage does not matter, so it is as small as can be.
_TINY = MediaConfig(fps=0.5, min_frames=2, max_frames=2, min_pixels=1, max_pixels=1024)


class CutClips(NamedTuple):
    """What became of the clips of a source.

    Attributes:
        damage: of each clip that was written, how many errors the decoder met inside it.
        failed: why each of the others could not be made (``cut_failed``).
        warning: what ffmpeg said of the source, one line; empty when it had nothing to say.
    """

    damage: dict[str, int]
    failed: dict[str, ItemError]
    warning: str


def cut(
    uri: str,
    info: MediaInfo,
    spans: Mapping[str, Span],
    folder: str,
    limits: LimitsConfig = LimitsConfig(),
) -> CutClips:
    """Write every clip of one source as ``<clip_id>.mp4`` and ``<clip_id>.wav``.

    The clips are decoded once, cut at exact times and encoded again: a clip starts with the
    picture that is shown at its start, like what ``decode`` takes. The WAV is 16 kHz mono, and
    silent when the source has no audio. Nothing is visible in ``folder`` before it is verified.

    Args:
        uri: the source.
        info: what ``probe`` said of it.
        spans: the clips by their ids.
        folder: where to (any fsspec URI).
        limits: what the source may cost.

    Raises:
        ItemError: ffmpeg failed on the whole source (``cut_failed``), it took too long
            (``timeout``), or the storage failed (``storage_error``).
    """
    result = CutClips({}, {}, "")
    if not spans:
        return result
    with tempfile.TemporaryDirectory(prefix="ah_ray_cut_") as name:
        scratch = Path(name)
        source = storage.local_path(uri) or _download(uri, scratch / "source")
        left = time_left(uri, limits)
        times = _picture_times(source, limits, left)

        def run(group: Mapping[str, Span]) -> str:
            command = _command(source, info, group, times, scratch, limits)
            return _ffmpeg(command, uri, limits, left)

        said = ""
        for group in _runs(spans, info):
            try:
                said += run(group)
            except ItemError as error:
                if error.kind != "cut_failed":
                    raise
                # A clip that gets no picture ends ffmpeg for all of them.
                found = _damage(source, group, limits)
                shown = {name: group[name] for name in group if isinstance(found[name], int)}
                if not 0 < len(shown) < len(group):
                    raise
                said += f"{error}\n{run(shown)}"
        for clip_id, span in spans.items():
            try:
                _verify(scratch / f"{clip_id}.mp4", span)
            except ItemError as error:
                message = f"{uri} from {span.start_s:.3f} to {span.end_s:.3f} s: {error}"
                result.failed[clip_id] = ItemError("cut_failed", message)
                continue
            result.damage[clip_id] = 0
        if said:
            # ffmpeg does not say where it met an error, so the few sources that have some are
            # decoded once more to count them in each clip.
            kept = {clip_id: spans[clip_id] for clip_id in result.damage}
            for clip_id, damage in _damage(source, kept, limits).items():
                if isinstance(damage, int):
                    result.damage[clip_id] = damage
                else:
                    del result.damage[clip_id]
                    result.failed[clip_id] = ItemError("cut_failed", damage.message)
        for clip_id in result.damage:
            for suffix in (".mp4", ".wav"):
                _publish(scratch / f"{clip_id}{suffix}", folder)
        return result._replace(warning=next(iter(said.strip().splitlines()), ""))


def _damage(
    source: Path, spans: Mapping[str, Span], limits: LimitsConfig
) -> dict[str, int | ItemError]:
    """How damaged each clip is, or why nothing of it can be shown."""
    names = list(spans)
    clips = decode(str(source), list(spans.values()), _TINY, limits, every_picture=True)
    return {
        names[index]: clip.damage if isinstance(clip, DecodedClip) else clip
        for index, clip in clips
    }


def _download(uri: str, target: Path) -> Path:
    """The source itself: ffmpeg reads it out of order, and archives may be larger than disks."""
    try:
        storage.download(uri, target)
    except FileNotFoundError as error:
        raise ItemError("missing", f"{uri}: there is no such file") from error
    except StorageError as error:
        raise ItemError("storage_error", str(error)) from error
    return target


def _publish(file: Path, folder: str) -> None:
    try:
        storage.write_bytes(storage.join(folder, file.name), file.read_bytes())
    except StorageError as error:
        raise ItemError("storage_error", str(error)) from error


class _Times(NamedTuple):
    """When the pictures of a file appear, in seconds.

    Attributes:
        shown: of every picture, sorted.
        keys: of those that decoding can start with and ffmpeg can seek to, sorted.
        late_s: by how much ffmpeg shows all pictures too late: where a file states no times (AVI),
            it counts from when the decoder hands out the first.
        early_s: by how much ffmpeg takes everything too early: its clock of MPEG-TS and MPEG-PS
            starts with the streams that it is asked for, ours with the file.
    """

    shown: list[float]
    keys: list[float]
    late_s: float = 0.0
    early_s: float = 0.0


def _picture_times(path: Path, limits: LimitsConfig, left: Callable[[], float]) -> _Times:
    """Read from the packets; nothing is decoded for that."""
    shown, keys, late_s = [], [], 0.0
    with open_media(str(path), limits) as container:
        used = [stream for stream in pick_streams(container, str(path), limits) if stream]
        video, start, stated = used[0], start_of(container), states_times(container)
        starts = [float(s.start_time * s.time_base) for s in used if s.start_time is not None]
        counts_from_used = starts and container.format.name in ("mpegts", "mpeg")
        early_s = min(starts) - start if counts_from_used else 0.0
        for packet in demux(container, video):
            left()
            moment = packet.pts if stated else packet.dts
            if moment is not None:
                shown.append(float(moment * packet.time_base) - start)
                if stated and packet.is_keyframe:  # ffmpeg loses count of AVI's empty packets
                    keys.append(shown[-1])
        held = video.codec_context.reorder_depth
        if not stated and 0 < held < len(shown):
            late_s = shown[held] - shown[0]
    return _Times(sorted(shown), sorted(keys), late_s, early_s)


def _runs(spans: Mapping[str, Span], info: MediaInfo) -> Iterator[dict[str, Span]]:
    """The clips in order of time, as many together as one ffmpeg run can hold."""
    fitting = _BYTES_PER_RUN // (_BYTES_PER_PIXEL * info.width * info.height)
    ordered = iter(sorted(spans.items(), key=lambda item: item[1]))
    while group := dict(islice(ordered, min(max(fitting, 1), _CLIPS_PER_RUN))):
        yield group


def _command(
    source: Path,
    info: MediaInfo,
    spans: Mapping[str, Span],
    times: _Times,
    scratch: Path,
    limits: LimitsConfig,
) -> list[str]:
    """The ffmpeg command that writes ``spans`` of a source whose pictures appear at ``times``."""
    firsts = {clip_id: _shown_at(span.start_s, times.shown) for clip_id, span in spans.items()}
    # Not every container finds the key picture by itself.
    index = bisect_right(times.keys, min(firsts.values()))
    begin_s = times.keys[index - 1] - _BEFORE_S if index else 0.0
    sought = begin_s > _SEEK_FROM_S
    offset_s = begin_s if sought else 0.0
    seek = {"ss": f"{begin_s:.6f}"} if sought else {"itsoffset": f"{times.early_s:.6f}"}
    bounds = {"max_pixels": limits.max_pixels}  # of later pictures too
    picture = ffmpeg.input(str(source), **SAFE_OPTIONS, **_ONE_THREAD, **bounds, **seek)
    sound = picture[str(info.audio_stream)]
    if info.audio_stream is None:
        sound = ffmpeg.input(f"anullsrc=r={AUDIO_HZ}:cl=mono", f="lavfi")
    # Turned, deinterlaced and resampled once, then shared by all clips. Sound that starts late or
    # ends before the picture is continued with silence, as ``decode`` does.
    pictures = picture[str(info.video_stream)].filter("setpts", f"PTS-{times.late_s:.6f}/TB")
    pictures = pictures.filter("bwdif", **DEINTERLACE)
    pictures = pictures.filter("scale", "trunc(iw/2)*2", "trunc(ih/2)*2").split()  # x264 wants even
    sounds = sound.filter("aresample", **_FILL).filter("apad").asplit()
    voices = sounds[len(spans)].filter("aresample", AUDIO_HZ)
    voices = voices.filter("aformat", channel_layouts="mono", sample_fmts="s16").asplit()
    outputs = []
    for index, (clip_id, span) in enumerate(spans.items()):
        start_s, end_s = span.start_s - offset_s, span.end_s - offset_s
        trimmed = pictures[index].filter(
            "trim", start=f"{firsts[clip_id] - offset_s - _SAME_S:.6f}", end=f"{end_s:.6f}"
        )
        clip_picture = trimmed.filter("setpts", f"max(PTS-{start_s:.6f}/TB,0)")
        clip_sound = sounds[index].filter("atrim", start=f"{start_s:.6f}", end=f"{end_s:.6f}")
        first_sample = round(start_s * AUDIO_HZ)
        voice = voices[index].filter(
            "atrim",
            start_sample=first_sample,
            end_sample=first_sample + round(span.duration_s * AUDIO_HZ),
        )
        restart = ("asetpts", "PTS-STARTPTS")
        outputs += [
            ffmpeg.output(voice.filter(*restart), f"{scratch}/{clip_id}.wav", acodec="pcm_s16le"),
            ffmpeg.output(
                clip_picture,
                clip_sound.filter(*restart),
                f"{scratch}/{clip_id}.mp4",
                **_ENCODE,
                **_ONE_THREAD,
            ),
        ]
    arguments = ["-nostdin", "-y", "-v", "error", "-filter_complex_threads", "1"]
    arguments += ["-dts_delta_threshold", "1e9"]  # a long pause in MPEG-TS is a pause
    command: list[str] = (
        ffmpeg.merge_outputs(*outputs)
        .global_args(*arguments)
        .compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    )
    return command


def _ffmpeg(
    command: Sequence[str], uri: str, limits: LimitsConfig, left: Callable[[], float]
) -> str:
    """Run ffmpeg within the limits; the errors it spoke of although it went on."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=_die_with_parent,
    ) as child:
        memory, (_, most) = limits.max_memory_mb * 2**20, resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:  # who started us may have set a lower one
            memory = min(memory, most)
        resource.prlimit(child.pid, resource.RLIMIT_AS, (memory, memory))
        try:
            _, output = child.communicate(timeout=left())
        except subprocess.TimeoutExpired as error:
            child.kill()
            message = f"{uri}: not cut within {limits.timeout_s:.0f} s"
            raise ItemError("timeout", message) from error
        except BaseException:
            child.kill()
            raise
    said = output.decode(errors="replace")
    if child.returncode:
        lines = said.strip().splitlines()
        reason = lines[-1] if lines else f"ended with {child.returncode}"
        raise ItemError("cut_failed", f"{uri}: ffmpeg: {reason}")
    return said


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent is gone, even by SIGKILL."""
    _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _shown_at(moment_s: float, shown_s: Sequence[float]) -> float:
    """When the picture appears that is shown at a moment; the moment itself if none is yet."""
    index = bisect_right(shown_s, moment_s + _SAME_S)
    return min(shown_s[index - 1], moment_s) if index else moment_s


def _verify(path: Path, span: Span) -> None:
    """Check that a clip file has its streams, two pictures and its length within one picture.

    ffmpeg exits with 0 and writes a file without streams for a span past the end of a source.
    """
    with open_media(str(path)) as container:
        video, audio = pick_streams(container, str(path))
        if audio is None:
            raise ItemError("cut_failed", "lost its audio")
        packets = [packet for packet in demux(container, video) if packet.pts is not None]
        times = [float(packet.pts * packet.time_base) for packet in packets]
        last_s = float((packets[-1].duration or 0) * packets[-1].time_base) if packets else 0.0
    if len(times) < 2:
        raise ItemError("cut_failed", f"holds {len(times)} pictures")
    picture_s = max(last_s, *(later - earlier for earlier, later in pairwise(times)))
    length_s = times[-1] + last_s
    if abs(length_s - span.duration_s) > picture_s + _SAME_S:
        raise ItemError("cut_failed", f"{length_s:.3f} s of {span.duration_s:.3f} s")
