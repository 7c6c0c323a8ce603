"""Does looking again, and judging together, help to find emotion words, or does something leak?

Takes a finished run of the labels demo. Beside the members that it has, a further one is trained as
`describer` was, but with the captions shuffled among the clips: what it writes fits a clip by
chance alone, so it has to do worse than the model that was not tuned.

    ah-ray demo --config jobs/labels_demo.yaml --run runs/labels
    python benchmarks/labels.py --run runs/labels

Prints a table, then one JSON object: precision and recall of words on clips that no member has
seen, by the synonyms of the archive, and their mean.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from rich.table import Table

from ah_ray import storage
from ah_ray.config import ENSEMBLE, RunConfig, load_config
from ah_ray.evaluation.judged import Judged, Metrics
from ah_ray.evaluation.label_sets import overlaps
from ah_ray.pipelines.evaluate import combinations_level, video_level
from ah_ray.pipelines.ledger import in_splits
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.stages import STAGES
from ah_ray.progress import console
from ah_ray.toy.emotions import synonyms
from ah_ray.words.groups import find_grouping

ZERO_SHOT, DESCRIBER, TUNED = "visual", "describer", "tuned"
SCORES = ("precision", "recall", "mean")


def scores_of(values: Metrics) -> dict[str, float]:
    """The numbers that are told of a member or of several."""
    return {name: values[f"groups_{name}"] for name in SCORES}


def recall_violations(run: RunDirectory) -> int:
    """How often all members together recall less of a clip than one of them alone."""
    by = f"{synonyms.__module__}:{synonyms.__name__}"
    ((_, view),) = find_grouping(by, "benchmark").views.items()
    truth = {row["video_id"]: row["labels"] for row in run.videos().to_pylist()}

    def recall(video: str, labels: list[str] | None) -> float:
        judged = Judged(frozenset(truth[video]), frozenset(labels or ()), {}, video)
        return overlaps([judged], view)[0][1]

    return sum(
        recall(row["video_id"], row["labels"]) < recall(row["video_id"], member["labels"])
        for row in run.verdicts().to_pylist()
        for member in row["members"]
    )


def with_shuffled_captions(
    source: RunDirectory, config: RunConfig, folder: Path, seed: int
) -> Metrics:
    """Train on the captions of the demo in random order; what comes of that on unseen clips."""
    captions = config.captions_of(DESCRIBER)
    assert captions is not None
    rows = [json.loads(line) for line in storage.read_bytes(captions.file).decode().splitlines()]
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = [row | {"caption": rows[k]["caption"]} for row, k in zip(rows, order, strict=True)]
    file = folder / "captions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in shuffled))
    run = RunDirectory(str(folder / "shuffled"), source.root)
    for table in ("videos", "clips"):
        shutil.copytree(Path(source.uri, table), Path(run.uri, table))
    shutil.copy(source.path("run.yaml"), run.uri)  # says how the clips were made
    describer = config.members[DESCRIBER].model_copy(update={"captions": str(file)})
    members = {DESCRIBER: describer, TUNED: config.members[TUNED]}
    config = config.model_copy(update={"members": members})
    for stage in ("train", "score", "reduce"):
        STAGES[stage](run, config)
    scored = in_splits(run.videos(), config.score.splits, unlabelled=False)
    return video_level(scored, run.verdicts(), config.judgement())[TUNED]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="runs/labels", help="a finished run of the demo")
    parser.add_argument("--config", default="jobs/labels_demo.yaml")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = RunDirectory.at(options.run)
    config = load_config(options.config, source.uri)
    scored = in_splits(source.videos(), config.score.splits, unlabelled=False)
    verdicts, judgement = source.verdicts(), config.judgement()
    by_name = video_level(scored, verdicts, judgement)
    members = {name: scores_of(by_name[name]) for name in by_name if name != ENSEMBLE}
    combinations = {
        name: scores_of(values)
        for name, values in combinations_level(scored, verdicts, judgement).items()
    }
    union = combinations["+".join(sorted(members))]
    with tempfile.TemporaryDirectory() as name:
        shuffled = scores_of(with_shuffled_captions(source, config, Path(name), options.seed))
    table = Table("", *SCORES, title=f"{len(scored)} clips that no member has seen")
    for what, values in (combinations | {f"{TUNED}, captions shuffled": shuffled}).items():
        table.add_row(what, *(f"{values[score]:.3f}" for score in SCORES))
    console.print(table)
    result = {
        "members": members,
        "combinations": combinations,
        "shuffled_captions": shuffled,
        "tuned_minus_zero_shot": members[TUNED]["mean"] - members[ZERO_SHOT]["mean"],
        "union_recall_minus_best": union["recall"] - max(m["recall"] for m in members.values()),
        "union_precision_minus_best": union["precision"]
        - max(m["precision"] for m in members.values()),
        "union_recall_violations": recall_violations(source),
        "shuffled_captions_minus_zero_shot": shuffled["mean"] - members[ZERO_SHOT]["mean"],
        "n": len(scored),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
