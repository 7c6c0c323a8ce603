import json
import os
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from ah_ray.config import MediaConfig, ModelConfig, RecipeConfig
from ah_ray.errors import ConfigError
from ah_ray.training import swift
from ah_ray.training.swift import (
    MEDIA_VARIABLE,
    PLUGIN,
    READER,
    Node,
    SwiftError,
    SwiftJob,
    arguments,
    environment,
    last_lines,
    lora_modules,
    run_swift,
)

LAYERS = [f"thinker.model.layers.{n}.self_attn.{p}_proj" for n in (0, 1) for p in "qkvo"]
OTHERS = [
    "thinker.audio_tower.layers.0.self_attn.q_proj",
    "thinker.model.layers.0.mlp.gate",
    "talker.model.layers.0.self_attn.q_proj",
    "xthinker.model.layers.0.self_attn.q_proj",
]
TARGETS = RecipeConfig(tuner="lora", learning_rate=1).lora_targets
ONE, MANY = Node(), Node(rank=1, count=2, processes=8, address="10.0.0.1", port=1234, use_gpu=True)


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    names = [*LAYERS, *OTHERS]
    for part in (0, 1):
        weights = {f"{name}.weight": np.zeros(1, np.float32) for name in names[part::2]}
        weights[f"{names[part]}.bias"] = np.zeros(1, np.float32)
        save_file(weights, folder / f"model-{part}.safetensors")
    return folder


def job(**recipe) -> SwiftJob:
    values = {"tuner": "full", "learning_rate": 1e-6} | recipe
    media = MediaConfig(min_pixels=131_072, max_pixels=262_145)
    model = ModelConfig(path="base", attention="flash_attention_2")
    return SwiftJob("v1", model, RecipeConfig(**values), media, "rows", "out")


def options(job, node=ONE, model="/model") -> dict[str, list[str]]:
    """The arguments by name."""
    found: dict[str, list[str]] = {}
    for part in arguments(job, node, str(model), "/rows.jsonl", "/output"):
        if part.startswith("--"):
            assert part[2:] not in found
            found[part[2:]] = []
        else:
            found[list(found)[-1]].append(part)
    assert all(found.values())
    return found


# Arguments


def test_a_full_training_states_its_recipe():
    stated = options(job(epochs=2, batch_size=3, accumulation=7, max_length=99, seed=5))
    for name, value in {
        **{"model": "/model", "dataset": "/rows.jsonl", "output_dir": "/output"},
        **{"tuner_type": "full", "num_train_epochs": "2.0", "per_device_train_batch_size": "3"},
        **{"gradient_accumulation_steps": "7", "max_length": "99", "seed": "5", "data_seed": "5"},
        **{"torch_dtype": "bfloat16", "attn_impl": "flash_attention_2", "strict": "true"},
        **{"freeze_vit": "true", "freeze_aligner": "true", "split_dataset_ratio": "0"},
        **{"external_plugins": str(PLUGIN), "lr_scheduler_type": "cosine"},
    }.items():
        assert stated[name] == [value], name
    assert float(stated["learning_rate"][0]) == 1e-6
    assert not {"lora_rank", "target_modules", "deepspeed"} & set(stated)


def test_an_adapter_states_its_modules_by_their_full_names(checkpoint):
    stated = options(job(tuner="lora", lora_rank=4, lora_alpha=9), model=checkpoint)
    assert stated["tuner_type"] == ["lora"]
    assert stated["lora_rank"] == ["4"]
    assert stated["lora_alpha"] == ["9"]
    assert stated["target_modules"] == sorted(LAYERS)


def test_towers_are_trained_when_the_recipe_says_so():
    stated = options(job(train_vision=True, train_aligner=True, gradient_checkpointing=False))
    assert stated["freeze_vit"] == stated["freeze_aligner"] == ["false"]
    assert stated["gradient_checkpointing"] == ["false"]


def test_devices():
    assert options(job())["use_cpu"] == ["true"]
    assert "ddp_backend" not in options(job())
    assert options(job(), Node(processes=2))["ddp_backend"] == ["gloo"]
    assert not {"use_cpu", "ddp_backend"} & set(options(job(), MANY))
    assert options(job(deepspeed="zero3"), MANY)["deepspeed"] == ["zero3"]


def test_extra_arguments_win():
    stated = options(job(extra_args={"strict": False, "neftune_noise_alpha": 5, "seed": 1}))
    assert stated["strict"] == ["false"]
    assert stated["neftune_noise_alpha"] == ["5"]
    assert stated["seed"] == ["1"]


def test_only_whole_names_match(checkpoint):
    assert lora_modules(checkpoint, TARGETS) == sorted(LAYERS)
    assert lora_modules(checkpoint, r".*\.gate") == ["thinker.model.layers.0.mlp.gate"]


def test_a_pattern_that_matches_nothing_shows_a_name(checkpoint, tmp_path):
    with pytest.raises(ConfigError) as caught:
        lora_modules(checkpoint, "all-linear")
    assert "lora_targets" in caught.value.where
    assert "self_attn.q_proj" in caught.value.fix
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError):
        lora_modules(tmp_path / "empty", TARGETS)


# Environment


def test_the_environment_carries_the_media_settings():
    stated = environment(job(), ONE)
    assert MediaConfig.model_validate_json(stated[MEDIA_VARIABLE]) == job().media
    assert stated["FORCE_QWENVL_VIDEO_READER"] == READER
    unit = job().media.size_multiple ** 2
    assert int(stated["VIDEO_MIN_TOKEN_NUM"]) * unit <= job().media.min_pixels
    assert int(stated["VIDEO_MAX_TOKEN_NUM"]) * unit >= job().media.max_pixels
    assert stated["ENABLE_AUDIO_OUTPUT"] == "0"
    assert stated["HF_HUB_OFFLINE"] == "1"
    assert all(isinstance(value, str) for value in stated.values())


def test_one_process_needs_no_rendezvous():
    stated = environment(job(), ONE)
    assert not {"NNODES", "NPROC_PER_NODE", "MASTER_ADDR"} & set(stated)
    assert stated["CUDA_VISIBLE_DEVICES"] == ""


def test_several_processes_find_each_other():
    stated = environment(job(), MANY)
    assert (stated["NNODES"], stated["NODE_RANK"], stated["NPROC_PER_NODE"]) == ("2", "1", "8")
    assert (stated["MASTER_ADDR"], stated["MASTER_PORT"]) == ("10.0.0.1", "1234")
    assert "CUDA_VISIBLE_DEVICES" not in stated


# The child process: a small program stands in for MS-Swift


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Runs ``program`` as `swift sft`; ``output`` is its output folder."""
    monkeypatch.setattr(swift, "_wait", lambda process: time.sleep(0.02))
    package = tmp_path / "fake" / "swift" / "cli"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()

    def run(program: str, on_progress=lambda record: None, **extra: str):
        lines = ["import json, os, sys, time", "from pathlib import Path", program]
        (package / "main.py").write_text("\n".join(lines))
        output = tmp_path / "output"
        variables = {"PYTHONPATH": str(tmp_path / "fake"), **extra}
        return run_swift(["--output_dir", str(output)], variables, output, on_progress)

    run.output = tmp_path / "output"
    return run


MADE = "out = Path(sys.argv[-1]); [(out / f'checkpoint-{n}').mkdir() for n in (9, 10, 8)]\n"


def test_the_last_checkpoint_is_the_result(child):
    assert child(MADE) == child.output / "checkpoint-10"


def test_every_record_with_a_loss_is_reported_in_order(child):
    program = MADE + (
        "with open(out / 'logging.jsonl', 'w') as file:\n"
        "    for n in range(20):\n"
        "        file.write(json.dumps({'loss': n} if n % 5 else {'eval': n}) + '\\n')\n"
        "        file.flush(); time.sleep(0.01)\n"
    )
    records: list = []
    child(program, records.append)
    assert [record["loss"] for record in records] == [n for n in range(20) if n % 5]


def test_a_record_that_is_half_written_waits_for_its_other_half(child):
    program = MADE + (
        "with open(out / 'logging.jsonl', 'w') as file:\n"
        "    file.write('{\"loss\": 1.5, '); file.flush(); time.sleep(0.5)\n"
        "    file.write('\"step\": 1}\\n'); file.flush()\n"
    )
    records: list = []
    child(program, records.append)
    assert records == [{"loss": 1.5, "step": 1}]


def test_a_failure_shows_the_last_lines(child):
    program = (
        "for n in range(50): print('line', n)\n"
        "print(' 10%|#   | 1/10 [00:01<00:09, 1.00it/s]', end='\\r')\n"
        "raise SystemExit('bad argument: --lr')\n"
    )
    with pytest.raises(SwiftError, match="exited with 1") as caught:
        child(program)
    text = str(caught.value)
    assert text.endswith("bad argument: --lr")
    assert "line 49" in text
    assert "line 5\n" not in text
    assert "it/s" not in text


def test_a_killed_child_is_a_failure(child):
    with pytest.raises(SwiftError, match="-9"):
        child("print('working', flush=True); os.kill(os.getpid(), 9)")


def test_no_checkpoint_is_a_failure(child):
    with pytest.raises(SwiftError, match=r"no checkpoint:\nnothing to do"):
        child("print('nothing to do')")


def test_the_child_ends_when_its_watcher_fails(child):
    program = (
        "out = Path(sys.argv[-1]); (out / 'pid').write_text(str(os.getpid()))\n"
        "(out / 'logging.jsonl').write_text('{\"loss\": 1}\\n'); time.sleep(5)\n"
        "(out / 'went on').touch()\n"
    )

    def fail(record):
        raise KeyError("the driver is gone")

    with pytest.raises(KeyError):
        child(program, fail)
    with pytest.raises(ProcessLookupError):
        os.kill(int((child.output / "pid").read_text()), 0)
    assert not (child.output / "went on").exists()


def test_the_child_does_not_inherit_rays_ranks(child, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("KEPT", "yes")
    program = MADE + "(out / 'env').write_text(json.dumps(dict(os.environ)))"
    child(program, MASTER_PORT="2")
    seen = json.loads((child.output / "env").read_text())
    assert "LOCAL_RANK" not in seen
    assert (seen["MASTER_PORT"], seen["KEPT"]) == ("2", "yes")


def test_the_end_of_a_log(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"a\nb\n  5%| 1/2 [00:01, 2.0it/s]\r 10%| 2/2 [00:02, 2.0it/s]\nc \xff\n")
    assert last_lines(log, 2).startswith("b\nc ")
