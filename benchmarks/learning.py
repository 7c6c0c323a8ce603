"""Does the ensemble learn, or does something leak? Video-level accuracy on unseen participants.

Takes a finished demo run and trains one more member on the same clips with their labels shuffled.
Whatever that member gets right it cannot have learned; the baseline is chance.

    python benchmarks/learning.py --run runs/demo

Prints a table, then one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.table import Table

from ah_ray import storage
from ah_ray.config import load_config
from ah_ray.members import read_ensemble
from ah_ray.pipelines.evaluate import ENSEMBLE, video_level
from ah_ray.pipelines.reduce import reduce
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.pipelines.score import score
from ah_ray.pipelines.train import train
from ah_ray.progress import console


def shuffled_run(source: RunDirectory, folder: Path, seed: int) -> RunDirectory:
    """A run with the manifests of ``source``, but with its training labels in random order."""
    for table in ("videos", "clips"):
        shutil.copytree(Path(source.uri, table), folder / table)
    clips = source.clips(TRAINING)
    order = np.random.default_rng(seed).permutation(len(clips))
    labels = clips["label"].take(pa.array(order))
    clips = clips.set_column(clips.schema.get_field_index("label"), "label", labels)
    run = RunDirectory.at(str(folder))
    storage.remove(run.clips_path(TRAINING))
    storage.write_table(clips, storage.join(run.clips_path(TRAINING), "part-0.parquet"))
    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="runs/demo", help="a finished run of the demo")
    parser.add_argument("--config", default="jobs/demo.yaml")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = RunDirectory.at(options.run)
    real = video_level(source.videos(), source.verdicts())
    with tempfile.TemporaryDirectory() as folder:
        run = shuffled_run(source, Path(folder), options.seed)
        config = load_config(options.config, source.uri)
        config = config.model_copy(update={"members": {"v3": config.members["v3"]}})
        train(run, config)
        members = read_ensemble(run.path("members"))
        score(run, members, config.score, config.limits)
        reduce(run, members, config.reduce)
        shuffled = video_level(run.videos(), run.verdicts())
    table = Table("trained on", "member", "accuracy", "n")
    rows = [("labels", name, values) for name, values in real.items()]
    for labels, name, values in [*rows, ("shuffled labels", "v3", shuffled["v3"])]:
        table.add_row(labels, name, f"{values['accuracy']:.3f}", str(values["n"]))
    console.print(table)
    result = {
        "lora": real["v1"]["accuracy"],
        "full": real["v3"]["accuracy"],
        "ensemble": real[ENSEMBLE]["accuracy"],
        "shuffled_labels": shuffled["v3"]["accuracy"],
        "n": real[ENSEMBLE]["n"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
