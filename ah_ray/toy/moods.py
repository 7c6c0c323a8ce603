"""Clips of faces and of things, for a model that learns of faces and is not to forget the things.

``root`` is the table of faces, a CSV file, with who they are and what they show. Beside it lie the
table of things, which nobody learns from, and ``things.jsonl``, rows about other things that
somebody may.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ah_ray.media.config import MediaConfig
from ah_ray.schemas import Row
from ah_ray.toy import cues, things

THINGS_TABLE, THINGS_ROWS = "things.csv", "things.jsonl"


@dataclass(frozen=True)
class MoodsSpec:
    """The size of an archive, in clips, and the seed that it follows from."""

    train: int = 300
    test: int = 150
    things: int = 150  # that are asked about
    rows: int = 300  # about others
    seed: int = 0

    @property
    def videos(self) -> int:
        """Clips in all."""
        return self.train + self.test + self.things + self.rows


def write_moods(
    folder: Path,
    spec: MoodsSpec,
    table: str,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the clips, and then their tables.

    Args:
        folder: where.
        spec: what to create; equal specs give equal archives.
        table: name of the table of faces.
        workers: processes that encode; by default one per core.
        progress: called with (clips written, clips in all).
    """
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    made = cues.in_processes(partial(_write, folder, spec), range(spec.videos), workers, progress)
    asked = things.question(things.THINGS_TASK)
    lines = [
        json.dumps(things.row(one["uri"], asked, one["label"])) + "\n"
        for one in made
        if one["split"] == "rows"
    ]
    (folder / THINGS_ROWS).write_text("".join(lines), encoding="utf-8")
    faces = [one for one in made if one["split"] in ("train", "test")]
    asked_about = [one | {"split": "test"} for one in made if one["split"] == "things"]
    for name, rows in ((THINGS_TABLE, asked_about), (table, faces)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _write(folder: Path, spec: MoodsSpec, number: int) -> dict[str, str]:
    rng = np.random.default_rng([7, spec.seed, number])
    sizes = {"train": spec.train, "test": spec.test, "things": spec.things, "rows": spec.rows}
    split = [name for name, count in sizes.items() for _ in range(count)][number]
    uri, seed = f"videos/{number:05}.mp4", int(rng.integers(2**32))
    if split in ("train", "test"):
        label = things.MOODS[number % len(things.MOODS)]
        things.write_mood(folder / uri, label, seed)
    else:
        shown = things.random_things(rng)
        label = shown.label
        things.write_things(folder / uri, shown, seed)
    return {"uri": uri, "participant_id": f"p{number:05}", "split": split, "label": label}


@dataclass(frozen=True)
class Looking:
    """What a model learns before: things, what mouths are like, and what words for moods mean.

    Attributes:
        things: how many clips of things.
        faces: how many clips of faces.
        told: how many faces are told of in words.
        seed: of what they show; none of them is in an archive.
    """

    things: int
    faces: int
    told: int
    seed: int = 0

    def rows(self, folder: Path, media: MediaConfig) -> list[Row]:
        """Write the clips to ``folder``, and give the rows in MS-Swift's format."""
        folder.mkdir(parents=True, exist_ok=True)
        numbers = range(self.things + self.faces)
        shown = cues.in_processes(partial(self._row, folder), numbers)
        moods = things.MOODS
        return shown + [things.told_row(moods[n % len(moods)]) for n in range(self.told)]

    def _row(self, folder: Path, number: int) -> Row:
        rng = np.random.default_rng([8, self.seed, number])
        clip, seed = folder / f"{number:05}.mp4", int(rng.integers(2**32))
        if number < self.things:
            shown = things.random_things(rng)
            things.write_things(clip, shown, seed)
            return things.row(str(clip), things.question(things.THINGS_TASK), shown.label)
        mood = str(rng.choice(things.MOODS))
        things.write_mood(clip, mood, seed)
        return things.mouth_row(str(clip), mood)


def texts() -> Sequence[str]:
    """What a tokenizer learns the words of all questions and replies from."""
    rows = [
        row(mood)
        for mood in things.MOODS
        for row in (partial(things.mouth_row, ""), things.told_row)
    ]
    asked = ((things.THINGS_TASK, things.labels()), (things.MOODS_TASK, things.MOODS))
    rows += [things.row("", things.question(task), one) for task, many in asked for one in many]
    return [turn["content"] for row in rows for turn in row["messages"]] * 10
