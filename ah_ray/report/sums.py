"""What a run has found and met, counted: pure functions from its tables to plain values."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas
from ah_ray.config import ENSEMBLE

_MOST_LABELS = 40  # that are told of
_BINS = 20


def given(verdicts: pa.Table, options: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """How many videos have each label, by the ensemble and by each member.

    Args:
        verdicts: ``schemas.VERDICTS``.
        options: of a choice, in order; of words those come first that most videos have.

    Returns:
        Counts by label and then by source; ``nothing`` and ``undecided`` after the labels.
    """
    votes = verdicts["members"].combine_chunks().flatten()
    names, labels = pc.struct_field(votes, "member"), pc.struct_field(votes, "labels")
    sources = {ENSEMBLE: _counts(verdicts["labels"])} | {
        name: _counts(labels.filter(pc.equal(names, name)))
        for name in sorted(pc.unique(names).to_pylist())
    }
    total = {label for of in sources.values() for label in of if label}
    ranked = sorted(total, key=lambda label: (-sources[ENSEMBLE][label], label))
    order = [*options, *(label for label in ranked if label not in options)][:_MOST_LABELS]
    last = {"nothing": "", "undecided": None}
    rows = {label: {name: of[label] for name, of in sources.items()} for label in order}
    ends = {word: {name: of[key] for name, of in sources.items()} for word, key in last.items()}
    return rows | {word: row for word, row in ends.items() if any(row.values())}


def _counts(labels: pa.ChunkedArray | pa.Array) -> Counter[str | None]:
    """How often each label is given; nothing as an empty text, undecided as None."""
    values = pc.value_counts(pc.list_flatten(labels)).to_pylist()
    found: Counter[str | None] = Counter({one["values"]: one["counts"] for one in values})
    lengths = pc.list_value_length(labels)
    found[""] = pc.sum(pc.equal(lengths, 0)).as_py() or 0
    found[None] = labels.null_count
    return found


def agreement(verdicts: pa.Table) -> list[tuple[str, str, float, int]]:
    """In what share of the videos that both decide two members say the same, and of how many."""
    lengths = pc.unique(pc.list_value_length(verdicts["members"])).to_pylist()
    if len(lengths) != 1 or lengths[0] < 2:  # there are no verdicts, or those of two ensembles
        return []
    votes = verdicts["members"].combine_chunks().flatten()
    names = pc.struct_field(votes, "member").slice(0, lengths[0]).to_pylist()
    words = pc.binary_join(pc.struct_field(votes, "labels"), ", ").dictionary_encode()
    codes = words.indices.fill_null(-1).to_numpy(zero_copy_only=False).reshape(-1, lengths[0])
    found = []
    for one, other in combinations(range(lengths[0]), 2):
        both = (codes[:, one] >= 0) & (codes[:, other] >= 0)
        same = codes[both, one] == codes[both, other]
        if len(same):
            found.append((names[one], names[other], float(same.mean()), len(same)))
    return found


def chances(verdicts: pa.Table, option: str) -> npt.NDArray[np.int64]:
    """How many videos have which chance of an option: twenty bins from 0 to 1."""
    considered = verdicts["considered"].combine_chunks().flatten()
    of = pc.equal(pc.struct_field(considered, "label"), option)
    known = pc.struct_field(considered, "chance").filter(of).drop_null()
    return np.histogram(known.to_numpy(zero_copy_only=False), _BINS, (0, 1))[0]


def gates(answers: pa.Table, videos: pa.Table) -> dict[str, dict[str, dict[str, float]]]:
    """The mean weight of each expert by what is shown: by expert, member, and label of the video.

    Args:
        answers: rows of ``schemas.PREDICTIONS`` with columns ``member``, ``video_id``, ``gate``.
        videos: with labels (``schemas.VIDEOS``); a clip of another one counts as ``not labelled``.
    """
    answers = answers.filter(pc.is_valid(answers["gate"]))
    if not len(answers):
        return {}
    labels = pa.table(
        {"video_id": videos["video_id"], "label": pc.binary_join(videos["labels"], ", ")}
    )
    names = sorted(key for key, _ in answers["gate"][0].as_py())
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        weights = pc.map_lookup(answers["gate"], name, "first")
        table = answers.select(["member", "video_id"]).append_column("weight", weights)
        means = table.join(labels, "video_id").group_by(["member", "label"])
        for row in means.aggregate([("weight", "mean")]).sort_by("label").to_pylist():
            of = found.setdefault(name, {}).setdefault(row["member"], {})
            of[row["label"] or "not labelled"] = row["weight_mean"]
    return found


def findings_by_kind(findings: pa.Table) -> list[dict[str, Any]]:
    """Of each kind how many there are, what was done, and one of them; the worst first.

    Args:
        findings: ``schemas.FINDINGS``, with a column ``stage``.
    """
    keys = ["stage", "severity", "kind"]
    wanted = [("item_id", "count"), ("action", "min"), ("message", "min")]
    rows = findings.group_by(keys).aggregate(wanted).to_pylist()
    named = [
        {key: row[key] for key in keys}
        | {"count": row["item_id_count"], "action": row["action_min"], "one": row["message_min"]}
        for row in rows
    ]

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return schemas.SEVERITIES.index(row["severity"]), -row["count"], row["kind"], row["stage"]

    return sorted(named, key=place)


def costs_by_stage(costs: pa.Table) -> list[dict[str, Any]]:
    """Seconds and items of each stage over all calls, in the order in which they began.

    Args:
        costs: ``schemas.COSTS``.
    """
    found: dict[str, dict[str, Any]] = defaultdict(lambda: {"done": 0, "seconds": 0.0, "calls": 0})
    for row in costs.sort_by("ended_at").to_pylist():
        of = found[row["stage"]]
        of["unit"] = row["unit"]
        of["done"] += row["done"]
        of["seconds"] += row["seconds"]
        of["calls"] += 1
    return [
        {"stage": stage, **of, "rate": of["done"] / of["seconds"] if of["seconds"] else None}
        for stage, of in found.items()
    ]
