"""What of a checkpoint is brought to a machine, and when."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ah_ray import storage
from ah_ray.checkpoints import local_checkpoint, local_config, require_checkpoint
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.registry import plan_passes
from ah_ray.engines.vllm_engine import serves_adapters
from ah_ray.ensemble import EngineGroup
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import Member, MemberCard
from ah_ray.models.config import ModelConfig
from tests.s3 import S3Server, new_bucket, s3_server

CONFIG = b'{"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 4}'


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def base(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint in object storage."""
    monkeypatch.setenv("AH_RAY_CACHE", str(tmp_path / "cache"))
    uri = f"{new_bucket()}/base"
    storage.write_bytes(f"{uri}/config.json", CONFIG)
    storage.write_bytes(f"{uri}/model.safetensors", b"59 GiB")
    return uri


def downloads(server: S3Server) -> set[str]:
    return {
        path.rsplit("/", 1)[-1]
        for (method, path), count in server.requests.items()
        if method == "GET" and "?" not in path and count
    }


def adapter_on(base: str) -> MemberCard:
    return MemberCard(
        name="a", weights="adapter", task="cue_conflict", prompt="short",
        model=ModelConfig(path=base), media=MediaConfig(), segmentation=SegmentationConfig(),
    )  # fmt: skip


def test_planning_passes_brings_nothing_but_the_config(
    server: S3Server, base: str, tmp_path: Path
) -> None:
    card = adapter_on(base)
    members = [Member(str(tmp_path / n), card.model_copy(update={"name": n})) for n in "ab"]
    for member in members:
        (tmp_path / member.name).mkdir()
        (tmp_path / member.name / "adapter_config.json").write_text('{"r": 8}')
    server.requests.clear()
    require_checkpoint(base, "model.path")
    passes = plan_passes(members, ScoreConfig(engine="vllm"))
    assert [group.name for group in passes] == ["a", "b"], "vLLM's CPU build serves no experts"
    assert downloads(server) == {"config.json"}
    assert local_config(base).read_bytes() == CONFIG
    assert (local_checkpoint(base) / "model.safetensors").read_bytes() == b"59 GiB"
    assert downloads(server) == {"config.json", "model.safetensors"}


def test_adapters_on_fused_experts_are_merged_for_vllm_on_any_device(
    base: str, tmp_path: Path
) -> None:
    card = adapter_on(base)
    settings = '{"r": 8, "target_parameters": ["mlp.experts.gate_up_proj"]}'
    (tmp_path / "adapter_config.json").write_text(settings)
    group = EngineGroup(base, (Member(str(tmp_path), card),))
    assert not serves_adapters(group, ScoreConfig(engine="vllm", gpus_per_actor=1))


def test_who_is_alone_on_experts_is_merged_and_several_share_them(
    base: str, tmp_path: Path
) -> None:
    card = adapter_on(base)
    members = [Member(str(tmp_path / n), card.model_copy(update={"name": n})) for n in "ab"]
    tuned = "base_model.model.thinker.model.layers.0.self_attn.q_proj.lora_A.weight"
    for member in members:
        folder = tmp_path / member.name
        folder.mkdir()
        (folder / "adapter_config.json").write_text('{"r": 8}')
        save_file({tuned: np.zeros((8, 8), np.float32)}, folder / "adapter_model.safetensors")
    settings = ScoreConfig(engine="vllm", gpus_per_actor=1)
    assert not serves_adapters(EngineGroup(base, (members[0],)), settings)
    assert serves_adapters(EngineGroup(base, tuple(members)), settings)


def test_what_is_no_checkpoint_is_refused(base: str) -> None:
    with pytest.raises(ConfigError, match="there is no checkpoint"):
        require_checkpoint(f"{base}/none", "model.path")
