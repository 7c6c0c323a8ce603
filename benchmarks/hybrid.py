"""What is forgotten: a model that knows things learns of faces, at once and in three stages.

Takes a finished run of the hybrid demo, for its archive and its base model. From that one base are
trained, with each of some seeds: (a) projector and language model on faces, (b) the three stages of
a model with two experts, (b) with one merger in the place of both, and (a) on both kinds of clips,
as many rows as the stages see: what is due to stages, and what to being reminded. All are asked
about faces and about things, and the base too.

    ah-ray demo --config jobs/hybrid_demo.yaml --run runs/hybrid
    python benchmarks/hybrid.py --run runs/hybrid

Prints a table, then one JSON object: accuracies as means over the seeds, their spread (largest
minus smallest), the gate's mean weight of each expert by kind of input, and the largest difference
of logits between the base and the model with two experts that is made of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.compute as pc
import torch
import yaml
from rich.table import Table

from ah_ray import schemas, tables
from ah_ray.config import RunConfig, load_config
from ah_ray.engines.transformers_engine import load_model, to_model
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.models.architecture import find_architecture
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.evaluate import video_level
from ah_ray.pipelines.ledger import in_splits
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.stages import STAGES
from ah_ray.progress import console

FACES, THINGS = "jobs/hybrid_demo.yaml", "jobs/hybrid_things.yaml"
WAYS = ("plain", "hybrid", "one_merger", "reminded")
BASE = "base"
#: What stands for the parts of a model with two experts in one that has a single merger.
_ONE = {"general": ["aligner"], "emotion": ["aligner"], "gate": []}
_TEXT = "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>What?<|im_end|>\n"


def with_one_merger(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same stages, for a model whose one merger is trained where one of two experts was."""
    return [
        stage | {"trains": [one for part in stage["trains"] for one in _ONE.get(part, [part])]}
        for stage in stages
    ]


def of_faces(run: RunDirectory, source: RunDirectory, seeds: range) -> RunConfig:
    """The demo's config with every way of training, once with each seed, on the demo's archive."""
    recipes = yaml.safe_load(Path(FACES).read_text(encoding="utf-8"))["recipes"]
    recipes["one_merger"] = recipes["staged"] | {
        "stages": with_one_merger(recipes["staged"]["stages"])
    }
    *_, last = recipes["staged"]["stages"]
    at_once = {"name": "at_once", "trains": ["aligner", "language"], "data": last["data"]}
    recipes["reminded"] = recipes["staged"] | {"stages": [at_once | {"epochs": 3}]}
    of = {name: (name, "looks") for name in ("plain", "one_merger", "reminded")}
    members: dict[str, Any] = {BASE: {"model": "looks", "prompt": "short"}}
    for way in WAYS:
        recipe, model = of.get(way, ("staged", None))
        for seed in seeds:
            settings = {"recipe": recipe, "prompt": "short", "overrides": {"seed": seed}}
            members[f"{way}_{seed}"] = settings | ({"model": model} if model else {})
    text = json.dumps(recipes).replace("{run}/archive", f"{source.uri}/archive")
    overrides = [
        f"recipes={text}",
        f"members={json.dumps(members)}",
        f"catalog.root={source.uri}/archive/faces.csv",
        f"model.path={source.uri}/bases/hybrid",
        f"models.looks.path={source.uri}/bases/looks",
    ]
    return load_config(FACES, run.uri, overrides)


def of_things(
    run: RunDirectory, source: RunDirectory, faces: RunDirectory, names: list[str]
) -> RunConfig:
    """The config that asks the members of the other run about things."""
    models: dict[str, Any] = {}
    members: dict[str, Any] = {}
    for name in names:
        hybrid = "qwen2_5_vl_hybrid" if name.startswith("hybrid") else "qwen2_5_vl"
        path = f"{source.uri}/bases/looks" if name == BASE else faces.path("members", name)
        models[name] = {"path": path, "architecture": hybrid, "dtype": "float32"}
        members[name] = {
            "model": name, "prompt": "short", "decoding": "generate", "max_new_tokens": 8,
        }  # fmt: skip
    overrides = [
        f"models={json.dumps(models)}",
        f"members={json.dumps(members)}",
        f"catalog.root={source.uri}/archive/things.csv",
        f"model.path={source.uri}/bases/looks",
    ]
    return load_config(THINGS, run.uri, overrides)


def accuracies(run: RunDirectory, config: RunConfig) -> dict[str, float]:
    """Run all stages; the share of the videos that each member is right about.

    A reply that is no option is wrong.
    """
    for stage in ("catalog", "prepare", "train", "score", "reduce"):
        STAGES[stage](run, config)
    scored = in_splits(run.videos(), config.score.splits, unlabelled=False)
    levels = video_level(scored, run.verdicts(), config.judgement())
    right = {name: (levels[name]["war"] or 0) * levels[name]["n"] for name in config.members}
    return {name: count / len(scored) for name, count in right.items()}


def gates(run: RunDirectory) -> dict[str, float]:
    """The mean weight of each expert over all clips and seeds."""
    shown = tables.read_table(run.path("predictions"), schemas.PREDICTIONS, "member")
    weights: defaultdict[str, list[float]] = defaultdict(list)
    for gate in shown.filter(pc.is_valid(shown["gate"]))["gate"].to_pylist():
        for expert, weight in gate:
            weights[expert].append(weight)
    return {expert: mean(of) for expert, of in weights.items()}


def step0(source: RunDirectory, config: RunConfig, clips: list[DecodedClip]) -> float:
    """The largest difference of logits between the base and its hybrid before any training."""
    found = []
    for name, architecture in (("looks", "qwen2_5_vl"), ("hybrid", "qwen2_5_vl_hybrid")):
        path = f"{source.uri}/bases/{name}"
        settings = ModelConfig(path=path, architecture=architecture, dtype="float32")
        model, of = load_model(path, settings).eval(), find_architecture(architecture)
        model.scored_positions = 10_000  # all of them
        inputs = of.encode(of.load_processor(path), _TEXT, ["video"], clips)
        with torch.inference_mode():
            found.append(model(**to_model(inputs, model, of.times)).logits)
    return float((found[0] - found[1]).abs().max())


def some_clips(run: RunDirectory, config: RunConfig, count: int = 8) -> list[DecodedClip]:
    """The first clips that are scored, as models see them."""
    clips = []
    for row in run.clips(SCORING).to_pylist()[:count]:
        span = Span(row["start_s"], row["end_s"])
        ((_, clip),) = decode(row["source_uri"], [span], config.media, clip_ids=[row["clip_id"]])
        assert isinstance(clip, DecodedClip)
        clips.append(clip)
    return clips


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="runs/hybrid", help="a finished run of the demo")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where its runs stay, to go on from")
    options = parser.parse_args()
    source = RunDirectory.at(options.run)
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or name
        faces, things = (RunDirectory.at(f"{folder}/{run}") for run in ("faces", "things"))
        config = of_faces(faces, source, range(options.seeds))
        emotion = accuracies(faces, config)
        asked = of_things(things, source, faces, list(config.members))
        general = accuracies(things, asked)
        gate = {"faces": gates(faces), "things": gates(things)}
        clips = [*some_clips(faces, config), *some_clips(things, asked)]
        difference = step0(source, config, clips)
        counts = {"faces": len(faces.verdicts()), "things": len(things.verdicts())}
    result: dict[str, Any] = {"step0_max_difference": difference}
    spread: dict[str, float] = {}
    table = Table("", "faces", "things", title=f"right of {counts}, {options.seeds} seeds")
    table.add_row(BASE, f"{emotion[BASE]:.3f}", f"{general[BASE]:.3f}")
    for way in WAYS:
        cells = []
        for task, found in (("emotion", emotion), ("general", general)):
            values = [found[f"{way}_{seed}"] for seed in range(options.seeds)]
            result[f"{task}_{way}"] = mean(values)
            spread[f"{task}_{way}"] = max(values) - min(values)
            cells.append(f"{mean(values):.3f} (spread {spread[f'{task}_{way}']:.3f})")
        table.add_row(way, *cells)
    console.print(table)
    result |= {
        "emotion_base": emotion[BASE],
        "general_base": general[BASE],
        "spread": spread,
        "gate": gate,
        "n": counts,
        "seeds": options.seeds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
