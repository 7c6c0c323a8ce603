"""A synthetic archive in the format of MER2024-OV and MER2025: clips of a person, words for each.

``root`` holds ``video/{name}.mp4``, a CSV file ``name,openset`` for each split, and
``subtitle_chieng.csv`` with what is said. Face, body and voice show different emotions, so nobody
knows all words of a clip who does not both look closely and listen. An annotator has written one
word for each cue that is on, the usual one or a synonym; ``groups.json`` says which words mean the
same, and ``polarity.csv`` how glad each face is, as CH-SIMS does.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from ah_ray.toy import cues, people

GROUPS_FILE = "groups.json"
SUBTITLES_FILE = "subtitle_chieng.csv"
POLARITY_FILE = "polarity.csv"

_USUAL = (0.6, 0.2, 0.2)  # how often an annotator writes each word of an emotion
_TELLING = 0.25  # of the clips, in which what is said tells one of the emotions


@dataclass(frozen=True)
class Emotion:
    """What a cue stands for.

    Attributes:
        words: that mean it, the usual one first.
        polarity: 1 glad, -1 sad, 0 neither.
        said: what somebody may say who feels it, in English and Chinese.
    """

    words: tuple[str, str, str]
    polarity: int
    said: tuple[str, str]


EMOTIONS = {
    "smile": Emotion(("happy", "cheerful", "merry"), 1, ("What a lovely day!", "今天真美好!")),
    "frown": Emotion(("unhappy", "gloomy", "miserable"), -1, ("I feel awful.", "我很难受。")),
    "wide eyes": Emotion(
        ("astonished", "amazed", "stunned"), 0, ("I can't believe it!", "真没想到!")
    ),
    "upright": Emotion(
        ("proud", "confident", "triumphant"), 1, ("I did it myself.", "我自己做到了。")
    ),
    "slumped": Emotion(("tired", "weary", "exhausted"), -1, ("I need to sleep.", "我想睡觉。")),
    "shaking": Emotion(
        ("nervous", "tense", "restless"), -1, ("When do we start?", "什么时候开始?")
    ),
    "bright": Emotion(("excited", "eager", "enthusiastic"), 1, ("Let us go now!", "我们走吧!")),
    "dull": Emotion(("bored", "indifferent", "uninterested"), -1, ("Whatever you like.", "随便。")),
    "trembling": Emotion(
        ("frightened", "terrified", "panicked"), -1, ("Did you hear that noise?", "你听到了吗?")
    ),
}


def synonyms(video_id: str, words: Sequence[str]) -> list[tuple[str, ...]]:
    """The words that mean the same, of any clip: a grouper for the metric ``label_sets``."""
    return [emotion.words for emotion in EMOTIONS.values()]


_NEUTRAL = (
    ("The train leaves at nine.", "火车九点开。"),
    ("The keys are on the table.", "钥匙在桌子上。"),
    ("It is the second door.", "是第二扇门。"),
    ("We had rice and fish.", "我们吃了米饭和鱼。"),
)


@dataclass(frozen=True)
class EmotionsSpec:
    """The size of an archive, in clips, and the seed that it follows from."""

    train: int = 360
    val: int = 40
    test: int = 200
    min_seconds: float = 2.0
    max_seconds: float = 3.0
    seed: int = 0

    @property
    def splits(self) -> dict[str, int]:
        """Clips per split."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def videos(self) -> int:
        """Clips in all splits."""
        return sum(self.splits.values())


@dataclass(frozen=True)
class ClipPlan:
    """Everything about one clip except its pixels and samples."""

    name: str
    split: str
    person: people.Person
    words: tuple[str, ...]  # one for each cue that is on
    said: tuple[str, str]  # in English and Chinese
    seconds: float
    form: cues.VideoFormat
    seed: int


def plan_emotions(spec: EmotionsSpec) -> list[ClipPlan]:
    """Decide every clip."""
    splits = [split for split, count in spec.splits.items() for _ in range(count)]
    return [_plan(spec, number, split) for number, split in enumerate(splits)]


def _plan(spec: EmotionsSpec, number: int, split: str) -> ClipPlan:
    rng = np.random.default_rng([spec.seed, number])
    person = people.random_person(rng, least=1)
    felt = [EMOTIONS[cue] for cue in person.cues]
    said = [*_NEUTRAL[rng.integers(len(_NEUTRAL))]]
    if rng.random() < _TELLING:
        said = [*felt[rng.integers(len(felt))].said]
    return ClipPlan(
        name=f"sample_{number:08}",
        split=split,
        person=person,
        words=tuple(str(rng.choice(emotion.words, p=_USUAL)) for emotion in felt),
        said=(said[0], said[1]),
        seconds=float(rng.uniform(spec.min_seconds, spec.max_seconds)),
        # Members see a few frames of a clip, so more than ten a second would only cost time.
        form=replace(cues.random_format(rng, people.SIZES), fps=Fraction(10)),
        seed=int(rng.integers(2**32)),
    )


def write_emotions(
    folder: Path,
    spec: EmotionsSpec,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the clips, and then their tables.

    Args:
        folder: where.
        spec: what to create; equal specs give equal archives.
        workers: processes that encode; by default one per core.
        progress: called with (clips written, clips in all).
    """
    plans = plan_emotions(spec)
    (folder / "video").mkdir(parents=True, exist_ok=True)
    cues.in_processes(partial(_write_clip, folder), plans, workers, progress)
    groups = json.dumps(synonyms("", ()), indent=1)
    (folder / GROUPS_FILE).write_text(groups + "\n", encoding="utf-8")
    glad = [(p.name, EMOTIONS[p.person.face].polarity if p.person.face else 0) for p in plans]
    _write_table(folder / POLARITY_FILE, ("name", "label_V"), glad)
    said = [(plan.name, plan.said[1], plan.said[0]) for plan in plans]
    _write_table(folder / SUBTITLES_FILE, ("name", "chinese", "english"), said)
    for split in spec.splits:
        words = [(plan.name, str(list(plan.words))) for plan in plans if plan.split == split]
        _write_table(folder / f"{split}.csv", ("name", "openset"), words)


def _write_clip(folder: Path, plan: ClipPlan) -> None:
    film_clip(
        folder / "video" / f"{plan.name}.mp4", plan.person, plan.form, plan.seconds, plan.seed
    )


def film_clip(
    path: Path, person: people.Person, form: cues.VideoFormat, seconds: float, seed: int
) -> None:
    """Write a clip of a person, with picture and sound, to an MP4 file."""
    rng = np.random.default_rng(seed)
    frames = int(seconds * form.fps)
    samples = round(frames / form.fps * form.sample_rate)
    cues.encode(
        path,
        form,
        people.film_person(rng, person, frames, form.width, form.height),
        people.voice(rng, person, samples, form.sample_rate),
    )


def _write_table(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
