"""What the tiny model learns first: to name the cues, in the format of the answers.

From random weights the conflict of two cues is not learned at all; once both cues are known, a
short fine-tuning is enough. So the base is trained on questions about one cue at a time, and on
naming both, which makes it hold both at once: without that, some fine-tunings stay at telling one
of the two conflicts.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ah_ray.media.frames import AUDIO_HZ
from ah_ray.tasks import Prompt, swift_row
from ah_ray.toy import cues
from ah_ray.training.recipe import FullConfig, RecipeConfig

SYSTEM_TEXT = "You watch a short clip and compare what is seen with what is heard."

SMILE_QUESTION = "Does the face smile?"
BRIGHT_QUESTION = "Is the tone bright?"
BOTH_QUESTION = "Face and tone?"

#: Both cues are known after about 120 of the 244 steps that these make; the rest is reserve.
CUE_CLIPS = 1300
RECIPE = RecipeConfig(
    full=FullConfig(vision=True, aligner=True),
    learning_rate=3e-3,
    epochs=1,
    batch_size=16,
    global_batch_size=16,
    max_length=1024,
    gradient_checkpointing=False,
    log_every_steps=10,
)


@dataclass(frozen=True)
class CueClip:
    """One clip on disk and what it shows; face and tone are independent."""

    video: Path
    audio: Path  # 16 kHz mono, 16 bit
    smiling: bool
    bright: bool


def write_cue_clips(
    folder: Path,
    count: int,
    seed: int,
    *,
    workers: int | None = None,
    sizes: Sequence[tuple[int, int]] = cues.SIZES,
    frames: tuple[int, int] = (20, 26),
) -> list[CueClip]:
    """Write ``count`` clips, each as a video file and a sound file.

    Args:
        folder: for the files.
        count: of clips.
        seed: of what they show.
        workers: processes; by default one per core.
        sizes: width and height of the pictures, of which each clip has one.
        frames: the fewest and the most of a clip; there are ten a second.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write = partial(_write_clip, folder, seed, sizes, frames)
    return cues.in_processes(write, range(count), workers)


def _write_clip(
    folder: Path,
    seed: int,
    sizes: Sequence[tuple[int, int]],
    counts: tuple[int, int],
    number: int,
) -> CueClip:
    rng = np.random.default_rng([seed, number])
    # Training reads two frames of a clip, so more than ten a second would only cost time.
    form = replace(cues.random_format(rng, sizes), fps=Fraction(10), sample_rate=AUDIO_HZ)
    frame_count = int(rng.integers(*counts, endpoint=True))
    smiling, bright = (bool(cue) for cue in rng.integers(2, size=2))
    sound = cues.voice(rng, np.full(frame_count * AUDIO_HZ // 10, bright), AUDIO_HZ)
    clip = CueClip(folder / f"{number:05}.mp4", folder / f"{number:05}.wav", smiling, bright)
    frames = cues.faces(rng, np.full(frame_count, smiling), form.width, form.height)
    cues.encode(clip.video, form, frames, sound)
    with wave.open(str(clip.audio), "wb") as file:
        file.setparams((1, 2, AUDIO_HZ, len(sound), "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return clip


def cue_rows(clips: list[CueClip]) -> list[dict[str, Any]]:
    """Ask about each cue of each clip and about both: three training rows per clip.

    The rows are in MS-Swift's format.
    """
    return [
        _row(clip, question, answer)
        for clip in clips
        for question, answer in (
            (SMILE_QUESTION, "Yes" if clip.smiling else "No"),
            (BRIGHT_QUESTION, "Yes" if clip.bright else "No"),
            (BOTH_QUESTION, _name(clip)),
        )
    ]


def _name(clip: CueClip) -> str:
    return f"{'smile' if clip.smiling else 'frown'}, {'bright' if clip.bright else 'dull'}"


def _row(clip: CueClip, question: str, answer: str) -> dict[str, Any]:
    prompt = Prompt(system=SYSTEM_TEXT, user=question)
    return swift_row(prompt, f"<answer>{answer}</answer>", str(clip.video), str(clip.audio))
