"""A synthetic archive as a table: one of four cues is on in each video, and the table says which.

``root`` is the table itself, a CSV file; the videos lie beside it. A face that smiles or frowns
comes without a tone, a bright or dull tone with a face that has no mouth. Every participant has one
video of each cue.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ah_ray.toy import cues

CUES = ("smile", "frown", "bright", "dull")


@dataclass(frozen=True)
class CuesSpec:
    """The size of an archive, in participants, and the seed that it follows from."""

    train_participants: int = 24
    val_participants: int = 4
    test_participants: int = 8
    min_seconds: float = 5.0
    max_seconds: float = 8.0
    seed: int = 0

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
        return sum(self.splits.values()) * len(CUES)


def write_cues(
    folder: Path,
    spec: CuesSpec,
    table: str,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the videos, and then their table.

    Args:
        folder: where.
        spec: what to create; equal specs give equal archives.
        table: name of the table.
        workers: processes that encode; by default one per core.
        progress: called with (videos written, videos in all).
    """
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    rows = [
        {"uri": f"videos/p{person:03}_{cue}.mp4", "participant_id": f"p{person:03}",
         "split": split, "label": cue}
        for split, people in _people(spec).items()
        for person in people
        for cue in CUES
    ]  # fmt: skip
    write = partial(_write_video, folder, spec)
    cues.in_processes(write, list(enumerate(rows)), workers, progress)
    with (folder / table).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _people(spec: CuesSpec) -> dict[str, range]:
    """The numbers of the participants of each split."""
    people, first = {}, 0
    for split, count in spec.splits.items():
        people[split] = range(first, first + count)
        first += count
    return people


def _write_video(folder: Path, spec: CuesSpec, numbered: tuple[int, dict[str, str]]) -> None:
    number, row = numbered
    rng, cue = np.random.default_rng([spec.seed, number]), row["label"]
    form = cues.random_format(rng)
    frames = int(rng.uniform(spec.min_seconds, spec.max_seconds) * form.fps)
    samples = round(frames / form.fps * form.sample_rate)
    smiling, bright = np.full(frames, cue == "smile"), np.full(samples, cue == "bright")
    cues.encode(
        folder / row["uri"],
        form,
        cues.faces(rng, smiling, form.width, form.height, mouth=cue in ("smile", "frown")),
        cues.voice(rng, bright, form.sample_rate, tone=cue in ("bright", "dull")),
    )
