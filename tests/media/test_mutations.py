"""Thousands of broken files: each is read as far as it goes, or refused with a kind we know."""

import random
from collections import Counter
from pathlib import Path

import pytest

from ah_ray.errors import ItemError
from ah_ray.findings import KINDS
from ah_ray.media.config import LimitsConfig
from ah_ray.media.cut import cut
from ah_ray.media.decode import decode
from ah_ray.media.probe import MediaInfo, probe
from ah_ray.media.segment import Span
from tests.media.coded_video import MEDIA, run_ffmpeg, steady, tone, write_video

LIMITS = LimitsConfig(timeout_s=30)
FAULTS = {name for name, kind in KINDS.items() if kind.stage == "prepare"} - {"unexpected"}
SPANS = [Span(0.0, 1.2), Span(1.2, 2.4)]
KINDS_OF_FILES = {
    "mp4": ["-c:v", "libx264", "-c:a", "aac"],
    "fragmented.mp4": ["-c:v", "libx264", "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov"],
    "mov": ["-c:v", "mpeg4", "-c:a", "pcm_s16le"],
    "mkv": ["-c:v", "libx264", "-c:a", "flac"],
    "webm": ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"],
    "avi": ["-c:v", "mpeg4", "-bf", "2", "-c:a", "libmp3lame"],
    "live.webm": ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis", "-live", "1"],
    "ts": ["-c:v", "libx264", "-c:a", "aac"],
    "interlaced.ts": ["-c:v", "mpeg2video", "-r", "25", "-flags", "+ildct+ilme", "-c:a", "ac3"],
    "mpg": ["-c:v", "mpeg2video", "-r", "25", "-c:a", "mp2"],
    "flv": ["-c:v", "flv1", "-c:a", "libmp3lame"],
    "wmv": ["-c:v", "wmv2", "-c:a", "wmav2"],
    "ogv": ["-c:v", "libtheora", "-c:a", "libvorbis"],
}


def make(kind: str, folder: Path) -> bytes:
    """A small whole file."""
    raw = folder / "raw.mkv"
    if not raw.exists():
        write_video(raw, steady(2.4, 10), tone(2.4))
    path = folder / f"v.{kind}"
    run_ffmpeg("-i", str(raw), *KINDS_OF_FILES[kind], str(path))
    return path.read_bytes()


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """A copy with a few things changed, as disks, cables and enemies change them."""
    data = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 3, 10])):
        # Headers are at the ends, and are a small part of a file.
        size = len(data)
        near = chance.choice([size, min(size, 2000), -min(size, 2000)])
        at = chance.randrange(size + near, size) if near < 0 else chance.randrange(near)
        length = min(chance.choice([1, 1, 4, 16, 300]), size - at)
        match chance.choice(["bit", "byte", "bytes", "extreme", "gone", "twice", "swap", "cut"]):
            case "bit":
                data[at] ^= 1 << chance.randrange(8)
            case "byte":
                data[at] = chance.randrange(256)
            case "bytes":
                data[at : at + length] = chance.randbytes(length)
            case "extreme":
                data[at : at + length] = bytes([chance.choice([0, 255, 127, 128])]) * length
            case "gone":
                del data[at : at + length]
            case "twice":
                data[at:at] = data[at : at + length]
            case "swap":
                other = chance.randrange(size - length + 1)
                here, there = data[at : at + length], data[other : other + length]
                data[other : other + length], data[at : at + length] = here, there
            case "cut":
                del data[max(at, size // 4) :]
        if not data:
            break
    return bytes(data)


def outcomes(path: Path, folder: Path, cuts: bool) -> list[str]:
    """What becomes of a file: the kinds of its faults, and ``fine`` for what has none."""
    info = MediaInfo(2.4, 160, 64, 10.0, 0, 1)  # as it was when somebody probed it
    found = []
    try:
        info = probe(str(path), LIMITS)
        assert 0 < info.duration_s <= LIMITS.max_duration_s
        found.append("fine")
    except ItemError as error:
        found.append(error.kind)
    results = dict(decode(str(path), SPANS, MEDIA, LIMITS))
    assert sorted(results) == [0, 1]
    for clip in results.values():
        if isinstance(clip, ItemError):
            found.append(clip.kind)
        else:
            found.append("damaged" if clip.damage else "fine")
    if cuts:
        try:
            spans = dict(zip("ab", SPANS, strict=True))
            done = cut(str(path), info, spans, str(folder / "clips"), LIMITS)
            assert done.damage.keys() | done.failed.keys() == spans.keys()
            found += [error.kind for error in done.failed.values()]
        except ItemError as error:
            found.append(error.kind)
    return found


@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_whatever_is_broken_is_a_fault_of_a_known_kind(tmp_path, kind):
    chance = random.Random(kind)
    whole = make(kind, tmp_path)
    path = tmp_path / f"broken.{kind}"
    path.write_bytes(whole)
    assert set(outcomes(path, tmp_path, cuts=True)) == {"fine"}
    counts: Counter[str] = Counter()
    for number in range(100):
        path.write_bytes(mutated(whole, chance))
        counts.update(outcomes(path, tmp_path, cuts=number % 40 == 0))
    assert counts.keys() <= FAULTS | {"fine"}
    assert counts["fine"] > 20  # else nothing but the refusal of headers was tried
    assert counts.total() - counts["fine"] > 20
