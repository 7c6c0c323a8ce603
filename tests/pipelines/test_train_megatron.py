"""A training by Megatron up to where it would start; nothing of it runs here."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from ah_ray import schemas, tables
from ah_ray.config import load_config
from ah_ray.errors import ConfigError
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.pipelines.train import train
from ah_ray.pipelines.train_dry_run import dry_run
from ah_ray.preflight import train_wish, verdict
from ah_ray.toy.model import write_tiny_checkpoint
from ah_ray.training.arguments import megatron_parser
from ah_ray.training.megatron_trainer import missing_packages, thinker_of
from ah_ray.training.process import SwiftError
from ah_ray.training.sizing import GIB, megatron_memory

ROOT = Path(__file__).parents[2]
JOB = "jobs/paper_megatron.yaml"
CLIPS = 90


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Qwen3-Omni with two layers of four experts each."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_checkpoint(folder)
    return str(folder)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A catalog and a manifest of training clips: virtual ones, of files that nobody reads."""
    run = RunDirectory.at(str(tmp_path / "run"))
    videos = [
        {"video_id": split, "uri": f"/archive/{split}.mp4", "split": split, "labels": ["Yes"]}
        | {"participant_id": split}
        for split in ("train", "val", "test")
    ]
    clips: list[dict[str, Any]] = [
        {"clip_id": str(n), "video_id": "train", "participant_id": "train", "split": "train"}
        | {"source_uri": "/archive/train.mp4", "start_s": 5.0 * n, "end_s": 5.0 * n + 5}
        | {"labels": [("No", "Yes")[n % 2]]}
        for n in range(CLIPS)
    ]
    tables.write_rows(videos, schemas.VIDEOS, run.path("videos", "part-0.parquet"))
    tables.write_rows(clips, schemas.CLIPS, f"{run.clips_path(TRAINING)}/part-0.parquet")
    return run


def test_what_every_node_would_run_is_printed(
    run: RunDirectory, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "recipes.full.megatron={expert_parallel: 4, tensor_parallel: 2}"
    overrides = [f"model.path={base}", "train.nodes=2", sizes]
    config = load_config(JOB, run.uri, overrides, ["v2"])
    dry_run(run, config)
    printed = capsys.readouterr().out
    said = " ".join(printed.split())
    # 90 clips are 128 rows: whole steps of 64, of eight copies of the model.
    assert "v2: 128 rows, 64 clips per optimizer step (4 passes of 8 x 2), 2 epochs: 4" in said
    assert "v2: trainer megatron has never been run" in said
    assert ("not installed, which Megatron needs" in said) == bool(missing_packages())
    share = megatron_memory(thinker_of(base), config.recipe("v2"), 16, 2 * 4096)
    assert f"memory of the fullest GPU: {share.total / GIB:.1f} GiB (weights" in said
    assert "passes of 2 x 4,096 tokens" in said
    assert "computed and not measured" in said
    parser, _ = megatron_parser()
    nodes = re.split(r"# v2, node \d of 2\n", printed)[1:]
    assert len(nodes) == 2
    for rank, text in enumerate(nodes):
        words = shlex.split(text.replace("\\\n", ""))
        start = words.index("megatron")
        variables = dict(word.split("=", 1) for word in words[:start])
        assert (variables["NODE_RANK"], variables["NPROC_PER_NODE"]) == (str(rank), "8")
        assert words[start + 1] == "sft"
        told = parser.parse_args(words[start + 2 :])
        assert (told.expert_model_parallel_size, told.tensor_model_parallel_size) == (4, 2)
        assert (told.num_train_epochs, told.save_steps) == (2, 2)
        assert told.model == base
        assert told.output_dir.startswith(f"{run.uri}/train/v2/")
        assert told.finetune
    assert not (Path(run.uri) / "train").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["recipes.full.megatron={expert_parallel: 8}"],
         r"recipes: megatron\.expert_parallel: is 8.*4 experts.*\n  fix: one of 1, 2, 4$"),
        (["train.use_gpu=false"], r"recipes\.full \(member v2\)\.trainer: megatron needs GPUs"),
        (["recipes.full.deepspeed=zero3"], r"recipes\.full \(member v2\)\.deepspeed"),
        (["train.processes_per_node=6"], r"megatron\.expert_parallel: 8 x .* the 6 processes"),
        (["recipes.full.trainer=swift"], "set trainer to megatron"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_starts(
    run: RunDirectory, base: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dry_run(run, load_config(JOB, run.uri, [f"model.path={base}", *overrides], ["v2"]))


def test_an_adapter_has_the_parameters_that_megatron_trains(
    run: RunDirectory, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = "recipes.full={trainer: megatron, lora: {}, learning_rate: 1, best_by: loss}"
    counted = {}
    for trainer in ("megatron", "swift"):
        recipe = adapter.replace("megatron", trainer)
        dry_run(run, load_config(JOB, run.uri, [f"model.path={base}", recipe], ["v2"]))
        said = " ".join(capsys.readouterr().out.split())
        (count,) = re.findall(r"parameters that are trained: ([\d,]+) \(lora\)", said)
        counted[trainer] = int(count.replace(",", ""))
        assert ("no validation loss" in said) == (trainer == "megatron")
    # Of each layer, what reads the input of queries, keys and values is one and not three.
    hidden, layers, rank = 64, 2, 8
    assert counted["swift"] - counted["megatron"] == 2 * rank * hidden * layers


@pytest.fixture
def eight_gpus() -> Iterator[None]:
    ray.init(address="local", num_cpus=40, num_gpus=8, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.skipif(not missing_packages(), reason="Megatron is installed")
def test_a_node_without_megatron_ends_before_anything_is_loaded(
    run: RunDirectory, base: str, eight_gpus: None
) -> None:
    overrides = [f"model.path={base}", "recipes.full.megatron={expert_parallel: 4}"]
    overrides += ["train.validation_splits=[]", "train.max_failures=0", "recipes.full.best_by=loss"]
    with pytest.raises(SwiftError) as caught:
        train(run, load_config(JOB, run.uri, overrides, ["v2"]))
    said = str(caught.value)
    assert "training of v2 failed 1 times; newest complete checkpoint: none" in said
    missing = ", ".join(missing_packages())
    assert f"recipes: trainer: megatron needs {missing}, not installed on this node" in said
    assert "fix: install that on every node (docs/training.md), or set trainer to swift" in said
    assert not list(Path(run.uri).rglob("checkpoint-*"))
    assert not Path(run.path("members", "v2")).exists()


def test_eight_gpus_of_a_node_are_enough() -> None:
    wish = train_wish(load_config(JOB, "run").train)
    assert verdict(wish, [{"CPU": 32.0, "GPU": 8.0}]) is None
    assert verdict(wish, [{"CPU": 32.0, "GPU": 4.0}]) is not None
