"""Does the ensemble learn from face and voice, or does something leak?

Takes a finished demo run and trains further members as its v3 was: one on the same clips with
their labels shuffled, one on videos without sound, one on videos with a black picture. The label is
the disagreement of face and voice, so none of the three can learn it; the baseline is chance.

    python benchmarks/learning.py --run runs/demo

Prints a table, then one JSON object: video-level accuracy on participants no member has seen.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
from rich.table import Table

from ah_ray import schemas, storage, tables
from ah_ray.config import ENSEMBLE, RunConfig, load_config
from ah_ray.evaluation.metrics import Metrics
from ah_ray.pipelines.evaluate import video_level
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.pipelines.stages import STAGES
from ah_ray.progress import console

MEMBER = "v3"
NO_SOUND = ("-c:v", "copy", "-an")
NO_PICTURE = ("-vf", "drawbox=t=fill:color=black", "-preset", "ultrafast", "-c:a", "copy")


def shuffled_run(source: RunDirectory, folder: Path, seed: int) -> RunDirectory:
    """A run with the manifests of ``source``, but with its training labels in random order.

    What its tables name relative to ``source`` stays there.
    """
    run = RunDirectory(str(folder / "shuffled"), source.root)
    for table in ("videos", "clips"):
        shutil.copytree(Path(source.uri, table), Path(run.uri, table))
    clips = source.clips(TRAINING)
    order = np.random.default_rng(seed).permutation(len(clips))
    labels = clips["labels"].take(pa.array(order))
    clips = clips.set_column(clips.schema.get_field_index("labels"), "labels", labels)
    storage.remove(run.clips_path(TRAINING))
    path = storage.join(run.clips_path(TRAINING), "part-0.parquet")
    tables.write_table(run.stored(clips), path)
    return run


def altered_run(
    source: RunDirectory, folder: Path, name: str, options: Sequence[str]
) -> RunDirectory:
    """A run on copies of the videos of ``source`` that ffmpeg makes with ``options``."""
    run = RunDirectory.at(str(folder / name))
    videos = source.videos()
    copies = [f"{folder}/{name}-videos/{i}.mp4" for i in videos["video_id"].to_pylist()]
    Path(copies[0]).parent.mkdir()

    def copy(original: str, target: str) -> None:
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", original]
        subprocess.run([*ffmpeg, *options, target], check=True)

    with ThreadPoolExecutor() as pool:
        list(pool.map(copy, videos["uri"].to_pylist(), copies))
    videos = videos.set_column(videos.schema.get_field_index("uri"), "uri", pa.array(copies))
    # Their contents are no longer those that the catalog has read.
    videos = videos.drop_columns(["content"]).append_column(
        "content", pa.nulls(len(videos), "string")
    )
    run.write_videos(videos.select(schemas.VIDEOS.names))
    return run


def accuracy_of(run: RunDirectory, config: RunConfig) -> Metrics:
    """Train, score and reduce; what the member does on unseen participants."""
    console.print(f"[bold]{run.uri.rsplit('/', 1)[-1]}[/]")
    for stage in ("prepare", "train", "score", "reduce"):
        STAGES[stage](run, config)
    return video_level(run.videos(), run.verdicts(), config.judgement())[MEMBER]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="runs/demo", help="a finished run of the demo")
    parser.add_argument("--config", default="jobs/demo.yaml")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = RunDirectory.at(options.run)
    config = load_config(
        options.config,
        source.uri,
        # There is nothing to choose: every member is what its whole training made of it.
        ["train.validation_splits=[]"],
    )
    config = config.model_copy(update={"members": {MEMBER: config.members[MEMBER]}})
    real = video_level(source.videos(), source.verdicts(), config.judgement())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        without = {
            "shuffled_labels": accuracy_of(shuffled_run(source, folder, options.seed), config),
            "video_only": accuracy_of(altered_run(source, folder, "video", NO_SOUND), config),
            "audio_only": accuracy_of(altered_run(source, folder, "audio", NO_PICTURE), config),
        }
    named = {"lora": real["v1"], "full": real[MEMBER], "ensemble": real[ENSEMBLE], **without}
    shown = ("accuracy", "macro_f1", "average_precision")
    table = Table("", "accuracy", "macro F1", "AP", "n", title="video level, unseen participants")
    for what, values in named.items():
        cells = [f"{values[key]:.3f}" for key in shown]
        table.add_row(what.replace("_", " "), *cells, str(values["n"]))
    console.print(table)
    result = {what: values["accuracy"] for what, values in named.items()}
    print(json.dumps(result | {"n": real[ENSEMBLE]["n"]}))


if __name__ == "__main__":
    main()
