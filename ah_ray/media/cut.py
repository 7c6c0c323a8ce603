"""Cut a source into clip files for training and for people: one ffmpeg run writes all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import ffmpeg
import imageio_ffmpeg

from ah_ray import storage
from ah_ray.errors import ItemError
from ah_ray.media.frames import AUDIO_HZ
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import Span

# One uniform encode for every class of video, visually lossless, so that no clip carries a trace
# of its label in how it was encoded.
_ENCODE = {
    "vcodec": "libx264",
    "crf": 18,
    "preset": "veryfast",
    "bf": 0,  # frames in order of time: the file then states its length to the last frame
    "enc_time_base": "1:90000",  # not the source's frame rate, which would move each frame
    "pix_fmt": "yuv420p",
    "vf": "scale=trunc(iw/2)*2:trunc(ih/2)*2",  # the encoder wants even sides
    "acodec": "aac",
    "movflags": "+faststart",
    "map_metadata": -1,
}
# Sound that ends before the picture is continued with silence, as ``decode`` does.
_SOUND = {"ar": AUDIO_HZ, "ac": 1, "acodec": "pcm_s16le", "af": "aresample=async=1,apad"}
_SHORTER_BY_S = 0.2  # a clip may lack this much of its span (a frame or two at the end)


def cut(uri: str, info: MediaInfo, spans: Mapping[str, Span], folder: str) -> dict[str, ItemError]:
    """Write every clip of one source as ``<clip_id>.mp4`` and ``<clip_id>.wav``.

    The clips are decoded once, cut at exact times and encoded again; the WAV is 16 kHz mono, and
    silent when the source has no audio. Nothing is visible in ``folder`` before it is verified.

    Args:
        uri: the source.
        info: what ``probe`` said of it.
        spans: the clips by their ids.
        folder: where to (any fsspec URI).

    Returns:
        The clips that could not be made (``cut_failed``), by id.

    Raises:
        ItemError: ffmpeg failed on the whole source.
    """
    if not spans:
        return {}
    with tempfile.TemporaryDirectory(prefix="ah_ray_cut_") as scratch:
        source = storage.localize(uri)
        picture = ffmpeg.input(str(source), protocol_whitelist="file")
        silence = ffmpeg.input(f"anullsrc=r={AUDIO_HZ}:cl=mono", f="lavfi")
        sound = silence if info.audio_stream is None else picture[str(info.audio_stream)]
        outputs = []
        for clip_id, span in spans.items():
            # As options of an output these cut frame-accurately after decoding.
            when = {"ss": f"{span.start_s:.6f}", "t": f"{span.duration_s:.6f}"}
            outputs += [
                ffmpeg.output(sound, f"{scratch}/{clip_id}.wav", **_SOUND, **when),
                ffmpeg.output(
                    picture[str(info.video_stream)],
                    sound,
                    f"{scratch}/{clip_id}.mp4",
                    **_ENCODE,
                    **when,
                ),
            ]
        try:
            ffmpeg.merge_outputs(*outputs).global_args("-nostdin", "-v", "error").run(
                cmd=imageio_ffmpeg.get_ffmpeg_exe(),
                capture_stdout=True,
                capture_stderr=True,
                overwrite_output=True,
            )
        except ffmpeg.Error as error:
            lines = error.stderr.decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else "no message"
            raise ItemError("cut_failed", f"{uri}: ffmpeg: {reason}") from error
        failed = {}
        for clip_id, span in spans.items():
            try:
                _verify(Path(scratch, f"{clip_id}.mp4"), span)
            except ItemError as error:
                message = f"{uri} from {span.start_s:.3f} to {span.end_s:.3f} s: {error}"
                failed[clip_id] = ItemError("cut_failed", message)
                continue
            for suffix in (".mp4", ".wav"):
                data = Path(scratch, clip_id + suffix).read_bytes()
                storage.write_bytes(storage.join(folder, clip_id + suffix), data)
        return failed


def _verify(path: Path, span: Span) -> None:
    """Check that a clip file has its streams and its length.

    ffmpeg exits with 0 and writes a file without streams for a span past the end of a source.
    """
    info = probe(str(path))
    if info.duration_s < span.duration_s - max(_SHORTER_BY_S, 2 / (info.fps or 10)):
        raise ItemError("cut_failed", f"only {info.duration_s:.3f} s of {span.duration_s:.3f} s")
    if info.audio_stream is None:
        raise ItemError("cut_failed", "lost its audio")
