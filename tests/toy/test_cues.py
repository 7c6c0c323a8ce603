"""The cues are visible and audible, also after encoding."""

from __future__ import annotations

import json
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ah_ray.toy import cues
from ah_ray.toy.base import cue_rows, write_cue_clips


def pitch_hz(sound: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(sound)).argmax() * rate / len(sound))


def mouth_is_low(luma: np.ndarray) -> bool:
    """Whether the middle of the mouth, the darkest there, is at the height of a smile's."""
    height, width = luma.shape
    half = min(height, width) / 2
    middle = luma[:, int(width / 2 - 0.1 * half) : int(width / 2 + 0.1 * half)].mean(axis=1)
    frown, smile = (
        middle[int(height / 2 + low * half) : int(height / 2 + high * half)].mean()
        for low, high in ((0.05, 0.25), (0.5, 0.7))
    )
    return bool(smile < frown)


def test_flips_invert_the_mood() -> None:
    assert cues.track(6, 2, True, [(1.0, 2.0)]).tolist() == [1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4", "vp9"])
@pytest.mark.parametrize("size", cues.SIZES)
def test_both_cues_survive_encoding(codec: str, size: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    form = cues.VideoFormat(*size, Fraction(10), codec, 16_000)
    smiling, bright = (
        cues.track(20, 10, True, [(1, 2)]),
        cues.track(32_000, 16_000, False, [(1, 2)]),
    )
    path = tmp_path / "clip.mp4"
    cues.encode(path, form, cues.faces(rng, smiling, *size), cues.voice(rng, bright, 16_000))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == codec
        frames = [f.to_ndarray(format="gray") for f in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [size[::-1]] * 20
    assert [mouth_is_low(frame) for frame in frames] == smiling.tolist()
    with av.open(str(path)) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert pitch_hz(sound[:16_000], 16_000) == pytest.approx(cues.DULL_HZ, rel=0.2)
    assert pitch_hz(sound[17_100:31_000], 16_000) == pytest.approx(cues.BRIGHT_HZ, rel=0.2)


def test_cue_clips_follow_from_the_seed(tmp_path: Path) -> None:
    clips = write_cue_clips(tmp_path / "a", 12, seed=3, workers=1)
    again = write_cue_clips(tmp_path / "b", 12, seed=3, workers=2)
    assert [(c.smiling, c.bright) for c in clips] == [(c.smiling, c.bright) for c in again]
    assert len({(c.smiling, c.bright) for c in clips}) == 4
    for clip, other in zip(clips, again, strict=True):
        assert clip.video.read_bytes() == other.video.read_bytes()
        assert clip.audio.read_bytes() == other.audio.read_bytes()
        with wave.open(str(clip.audio)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            assert 2 <= file.getnframes() / 16_000 <= 2.6


def test_rows_ask_about_each_cue(tmp_path: Path) -> None:
    clips = write_cue_clips(tmp_path, 4, seed=0, workers=1)
    rows = cue_rows(clips)
    assert json.loads(json.dumps(rows)) == rows
    answers = [row["messages"][-1]["content"] for row in rows]
    assert len(answers) == 3 * len(clips)
    for clip, smile, bright, both in zip(clips, *(answers[i::3] for i in range(3)), strict=True):
        assert smile == f"<answer>{'Yes' if clip.smiling else 'No'}</answer>"
        assert bright == f"<answer>{'Yes' if clip.bright else 'No'}</answer>"
        assert ("smile" in both, "bright" in both) == (clip.smiling, clip.bright)
    assert all(row["messages"][1]["content"].startswith("<video><audio>") for row in rows)
