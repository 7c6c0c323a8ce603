"""What the tiny model learns first: to name each cue alone, in the answers' format.

From random weights the conflict of two cues is not learned at all; once both cues are known, a
short fine-tuning is enough. So the base is trained on questions about one cue at a time.
"""

from __future__ import annotations

import multiprocessing
import os
import wave
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ah_ray.toy import cues

SYSTEM_TEXT = "You watch a short clip and compare what is seen with what is heard."

SMILE_QUESTION = "Does the face smile?"
BRIGHT_QUESTION = "Is the tone bright?"
FROWN_QUESTION = "Does the face frown?"
DULL_QUESTION = "Is the tone dull?"
QUESTIONS = (SMILE_QUESTION, BRIGHT_QUESTION, FROWN_QUESTION, DULL_QUESTION)

_AUDIO_HZ = 16_000


@dataclass(frozen=True)
class CueClip:
    """One clip on disk and what it shows; face and tone are independent."""

    video: Path
    audio: Path  # 16 kHz mono, 16 bit
    smiling: bool
    bright: bool


def write_cue_clips(
    folder: Path, count: int, seed: int, *, workers: int | None = None
) -> list[CueClip]:
    """Write ``count`` clips of 2 to 2.6 s, each as a video file and a sound file."""
    folder.mkdir(parents=True, exist_ok=True)
    # Spawned, not forked: the caller may run threads (Ray, torch) that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
        return list(pool.map(partial(_write_clip, folder, seed), range(count), chunksize=50))


def _write_clip(folder: Path, seed: int, number: int) -> CueClip:
    rng = np.random.default_rng([seed, number])
    width, height = cues.SIZES[rng.integers(len(cues.SIZES))]
    # Training reads two frames of a clip, so more than ten a second would only cost time.
    form = cues.VideoFormat(width, height, Fraction(10), "h264", _AUDIO_HZ)
    frame_count = int(rng.integers(20, 27))
    smiling, bright = (bool(cue) for cue in rng.integers(2, size=2))
    sound = cues.voice(rng, np.full(frame_count * _AUDIO_HZ // 10, bright), _AUDIO_HZ)
    clip = CueClip(folder / f"{number:05}.mp4", folder / f"{number:05}.wav", smiling, bright)
    frames = cues.faces(rng, np.full(frame_count, smiling), width, height)
    cues.encode(clip.video, form, frames, sound)
    with wave.open(str(clip.audio), "wb") as file:
        file.setparams((1, 2, _AUDIO_HZ, len(sound), "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return clip


def cue_rows(clips: list[CueClip]) -> list[dict[str, Any]]:
    """Ask about each cue of each clip: two training rows per clip, in MS-Swift's format."""
    return [
        _row(clip, question, answer)
        for number, clip in enumerate(clips)
        for question, answer in _questions(clip, number)
    ]


def _questions(clip: CueClip, number: int) -> list[tuple[str, bool]]:
    return [(SMILE_QUESTION, clip.smiling), (BRIGHT_QUESTION, clip.bright)]


def _row(clip: CueClip, question: str, answer: bool) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": SYSTEM_TEXT},
            {"role": "user", "content": f"<video><audio>{question}"},
            {"role": "assistant", "content": f"<answer>{'Yes' if answer else 'No'}</answer>"},
        ],
        "videos": [str(clip.video)],
        "audios": [str(clip.audio)],
    }
