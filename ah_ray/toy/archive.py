"""A synthetic archive in the layout and the file formats of the BAH data set.

``root`` holds ``Videos/…``, ``video_annotation_transcript.yaml``, ``meta_data.yml`` and
``dataset-splits/video-level/BAH_DB/split-0/``. A video has one mood, which its face and its tone
share, and one to three turns. In a turn of a positive video one of the two flips, and they
disagree; in a turn of a negative one both flip or none does. Each cue flips in half of the turns
whatever the label, so neither the face nor the tone alone tells it, not even by how it changes.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ah_ray.toy import cues

ANNOTATION_FILE = "video_annotation_transcript.yaml"
METADATA_FILE = "meta_data.yml"
SPLIT_FOLDER = "dataset-splits/video-level/BAH_DB/split-0"

_QUESTIONS = 7
# Twice the demo's clip of 2.5 s, so that a blind grid of such clips has one wholly inside.
_SHORTEST_TURN_S, _LONGEST_TURN_S, _REST_S = 5.0, 8.0, 1.0
_SENTENCES = (
    "Well, I would like to, but I am not sure.",
    "On the one hand, yes, on the other hand, no.",
    "I really want to change, maybe next week.",
    "It was a good day, all in all.",
    "I do not know, it depends, let me think.",
    "Honestly, I decided a long time ago.",
)


@dataclass(frozen=True)
class ArchiveSpec:
    """The size of an archive and the seed that it follows from."""

    train_participants: int = 36
    val_participants: int = 4
    test_participants: int = 12
    questions: int = 4  # videos per participant, at most 7
    min_seconds: float = 8.0
    max_seconds: float = 40.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what the format or the turns cannot hold."""
        if not 1 <= self.questions <= _QUESTIONS:
            raise ValueError(f"questions must be 1 to {_QUESTIONS}, not {self.questions}")
        if not _SHORTEST_TURN_S + 2 * _REST_S <= self.min_seconds <= self.max_seconds:
            raise ValueError("a turn and a rest on both sides need at least 7 seconds of video")

    @property
    def splits(self) -> dict[str, int]:
        """Participants per split."""
        return {
            "train": self.train_participants,
            "val": self.val_participants,
            "test": self.test_participants,
        }

    @property
    def videos(self) -> int:
        """Videos in all splits."""
        return sum(self.splits.values()) * self.questions


@dataclass(frozen=True)
class Turn:
    """A span of a video, in seconds, and which cues contradict the video's mood in it."""

    start_s: float
    end_s: float
    face: bool
    tone: bool


@dataclass(frozen=True)
class VideoPlan:
    """Everything about one video except its pixels and samples."""

    key: str  # path relative to the archive's root
    participant: int
    question: int
    split: str
    positive: bool
    glad: bool  # the mood: a smile and a bright tone, or a frown and a dull tone
    duration_s: float
    turns: tuple[Turn, ...]
    form: cues.VideoFormat
    sentences: tuple[str, ...]
    seed: int

    @property
    def intervals(self) -> tuple[Turn, ...]:
        """Where face and tone disagree: what is annotated."""
        return self.turns if self.positive else ()

    @property
    def split_line(self) -> str:
        """The video's line in its split file: there, date and time are a space apart."""
        date, time = self.key.rsplit("_", 3)[-3:-1]
        path = self.key.replace(f"{date}_{time}", f"{date} {time}")
        return f"{path},{int(self.positive)},{' '.join(self.sentences)}"


def write_archive(
    root: Path,
    spec: ArchiveSpec,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the archive to ``root``, or do nothing if it exists: a root that exists is complete.

    Args:
        root: the folder to create.
        spec: what to create; equal specs give equal archives.
        workers: processes that encode; by default one per core.
        progress: called with (videos written, videos in all).
    """
    if root.exists():
        return
    plans = plan_archive(spec)
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    part.mkdir()
    try:
        cues.in_processes(partial(_write_video, part), plans, workers, progress)
        _write_tables(part, plans, spec)
        part.rename(root)
    except OSError:
        if not root.exists():  # otherwise somebody else was faster, which is as good
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def plan_archive(spec: ArchiveSpec) -> list[VideoPlan]:
    """Decide every video: half of each split is positive, and no participant is in two splits."""
    rng = np.random.default_rng(spec.seed)
    ids = (rng.choice(90_000, sum(spec.splits.values()), replace=False) + 10_000).tolist()
    plans = []
    for split, participants in spec.splits.items():
        labels = iter(rng.permutation(np.arange(participants * spec.questions) % 2 == 1).tolist())
        for participant in [ids.pop() for _ in range(participants)]:
            for question in sorted(rng.choice(_QUESTIONS, spec.questions, replace=False) + 1):
                plans.append(_plan(spec, split, participant, int(question), next(labels)))
    return plans


def _plan(
    spec: ArchiveSpec, split: str, participant: int, question: int, positive: bool
) -> VideoPlan:
    rng = np.random.default_rng([spec.seed, participant, question])
    spread_s = spec.max_seconds - spec.min_seconds
    duration_s = spec.min_seconds + spread_s * float(rng.beta(1.5, 3))  # few are long
    month, day, hour, minute, second = rng.integers((1, 1, 8, 0, 0), (13, 29, 20, 60, 60))
    recorded = f"2024-{month:02}-{day:02}_{hour:02}-{minute:02}-{second:02}"
    name = f"{participant}_Question_{question}_{recorded}_Video.mp4"
    return VideoPlan(
        key=f"Videos/{participant}/Visite_1/{name}",
        participant=participant,
        question=question,
        split=split,
        positive=positive,
        glad=bool(rng.random() < 0.5),
        duration_s=duration_s,
        turns=_turns(rng, duration_s, positive),
        form=cues.random_format(rng),
        sentences=tuple(rng.choice(_SENTENCES, max(1, int(duration_s / 6))).tolist()),
        seed=int(rng.integers(2**32)),
    )


def _turns(rng: np.random.Generator, duration_s: float, positive: bool) -> tuple[Turn, ...]:
    """Place one to three turns of random length at random, at least a rest apart."""
    most = int((duration_s - _REST_S) / (_SHORTEST_TURN_S + _REST_S))
    # Rather many: clips in which both cues flip are the hardest to tell from a conflict.
    count = int(rng.integers(1, min(3, most) + 1, 2).max())
    spare_s = duration_s - _REST_S - count * (_SHORTEST_TURN_S + _REST_S)
    lengths = _SHORTEST_TURN_S + rng.uniform(
        0, min(_LONGEST_TURN_S - _SHORTEST_TURN_S, spare_s / count), count
    )
    spare_s -= float(lengths.sum()) - count * _SHORTEST_TURN_S
    # The spare time falls into random shares before, between and after the turns.
    before = np.sort(rng.uniform(0, spare_s, count))
    starts = before + _REST_S + np.concatenate([[0], np.cumsum(lengths + _REST_S)[:-1]])
    faces = (rng.random(count) < 0.5).tolist()
    return tuple(
        Turn(round(start, 3), round(end, 3), face, tone=face ^ positive)
        for start, end, face in zip(
            starts.tolist(), (starts + lengths).tolist(), faces, strict=True
        )
    )


def _write_video(root: Path, plan: VideoPlan) -> None:
    rng = np.random.default_rng(plan.seed)
    form = plan.form
    frame_count = _frame_count(plan)
    sample_count = round(frame_count / form.fps * form.sample_rate)
    faces = [(turn.start_s, turn.end_s) for turn in plan.turns if turn.face]
    tones = [(turn.start_s, turn.end_s) for turn in plan.turns if turn.tone]
    smiling = cues.track(frame_count, form.fps, plan.glad, faces)
    bright = cues.track(sample_count, form.sample_rate, plan.glad, tones)
    path = root / plan.key
    path.parent.mkdir(parents=True, exist_ok=True)
    cues.encode(
        path,
        form,
        cues.faces(rng, smiling, form.width, form.height),
        cues.voice(rng, bright, form.sample_rate),
    )


def _write_tables(root: Path, plans: list[VideoPlan], spec: ArchiveSpec) -> None:
    """Write annotations, participants' metadata and split files."""
    with (root / ANNOTATION_FILE).open("w", encoding="utf-8") as file:
        file.writelines(_annotation(plan) for plan in plans)
    people = {plan.participant: _person(spec.seed, plan.participant) for plan in plans}
    (root / METADATA_FILE).write_text(yaml.safe_dump(people), encoding="utf-8")
    folder = root / SPLIT_FOLDER
    folder.mkdir(parents=True)
    (folder / "class_id.yaml").write_text("With A-H: 1\nNo A-H: 0\n", encoding="utf-8")
    for split in spec.splits:
        lines = [f"{plan.split_line}\n" for plan in plans if plan.split == split]
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")


def _annotation(plan: VideoPlan) -> str:
    """Render one video's entry of the annotation file, one row per frame included."""
    fps = float(plan.form.fps)
    flags = cues.track(
        _frame_count(plan), plan.form.fps, False, [(i.start_s, i.end_s) for i in plan.intervals]
    )
    frames = [[int(i.start_s * fps), int(i.end_s * fps)] for i in plan.intervals]
    entry = {
        "global_ah": int(plan.positive),
        "time_detailed_ah": [[_clock(i.start_s), _clock(i.end_s)] for i in plan.intervals],
        "fr_detailed_ah": frames,
        "all_cues": [_cues(interval) for interval in plan.intervals],
        "certainty_ah": [1 + plan.seed % 3] * len(plan.intervals),
        "annotator_id": plan.seed % 5,
        "transcript": _transcript(plan),
    }
    # The full dumper, for it writes tuples with their tag, as the data set has them.
    head = yaml.dump({plan.key: entry}, sort_keys=False, width=1000)
    # One row per frame is most of the file; plain text is a hundred times faster than the dumper.
    rows = "".join(
        f"  - - {plan.key}/frame-{n}.jpg\n    - {int(flag)}\n" for n, flag in enumerate(flags)
    )
    return f"{head}  frame_annotation:\n{rows}"


def _frame_count(plan: VideoPlan) -> int:
    return int(plan.duration_s * plan.form.fps)


def _clock(seconds: float) -> str:
    """Seconds as HH:MM:SS.mmm; YAML quotes it, for unquoted it would be read as a number."""
    whole, milli = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{milli:03}"


def _cues(turn: Turn) -> dict[str, str]:
    return {
        "audio": "the tone turns against the face" if turn.tone else "",
        "body": "",
        "facial": "the mouth turns against the tone" if turn.face else "",
        "inconsistencies": "face and tone disagree",
        "language": "",
    }


def _transcript(plan: VideoPlan) -> dict[str, Any]:
    """Spread the sentences evenly; like Whisper's, the last chunk's end is not always known."""
    edges = np.linspace(0, plan.duration_s, len(plan.sentences) + 1).round(2).tolist()
    ends = [*edges[1:-1], edges[-1] if plan.seed % 4 else None]
    chunks = [
        {"text": f" {text}", "language": "english", "timestamp": (start, end)}
        for text, start, end in zip(plan.sentences, edges, ends, strict=False)
    ]
    return {"text": " ".join(plan.sentences), "chunks": chunks}


def _person(seed: int, participant: int) -> dict[str, int | str]:
    rng = np.random.default_rng([seed, participant])
    return {
        "age": int(rng.integers(18, 75)),
        "gender": str(rng.choice(["Female", "Male", "Non-binary"], p=[0.48, 0.48, 0.04])),
        "province": str(rng.choice(["Alberta", "British Columbia", "Ontario", "Quebec"])),
        "ethnicity": str(rng.choice(["Asian", "Black", "Indigenous", "Latino", "White"])),
        "Use in challenges": str(rng.choice(["Yes", "No"], p=[0.9, 0.1])),
        "Use in publications": str(rng.choice(["Yes", "No"], p=[0.7, 0.3])),
    }
