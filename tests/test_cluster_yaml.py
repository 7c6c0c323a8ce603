"""``cluster.yaml``, as far as it can be tried without an account: Ray's checks, a simulated AWS."""

from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.validate import validate_parameters
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster.yaml"


def prepared() -> dict[str, Any]:
    return prepare_config(yaml.safe_load(CLUSTER.read_text()))


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `ray up` would start machines from."""
    monkeypatch.setenv("HOME", str(tmp_path))  # gets the key to the machines
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "simulated")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        return bootstrap_aws(prepared())


def test_rays_own_validation_accepts_it() -> None:
    validate_config(prepared())


def test_rays_own_validation_would_refuse_a_wrong_key() -> None:
    config = yaml.safe_load(CLUSTER.read_text()) | {"max_wokers": 3}
    with pytest.raises(Exception, match="max_wokers"):
        validate_config(prepare_config(config))


def test_every_node_has_an_image_a_role_a_disk_and_what_aws_wants(up: dict[str, Any]) -> None:
    shape = boto3.client("ec2", "us-east-1").meta.service_model.operation_model("RunInstances")
    gigabytes = {"head": 100, "cpu": 100, "gpu": 1000}
    assert up["available_node_types"].keys() == gigabytes.keys()
    for kind, node in up["available_node_types"].items():
        conf = dict(node["node_config"])
        assert conf.pop("SubnetIds")
        validate_parameters(conf | {"MinCount": 1, "MaxCount": 1}, shape.input_shape)
        assert conf["ImageId"].startswith("resolve:ssm:/aws/service/"), "Ray's choice is too old"
        role = "ah-ray-head" if kind == "head" else "ah-ray-worker"
        assert conf["IamInstanceProfile"] == {"Name": role}
        (disk,) = conf["BlockDeviceMappings"]
        assert disk["Ebs"]["VolumeSize"] >= gigabytes[kind]
        assert disk["Ebs"]["Encrypted"]
        assert disk["Ebs"]["DeleteOnTermination"]


def test_every_node_can_show_the_token_and_tells_ray_nothing(up: dict[str, Any]) -> None:
    assert "/home/ubuntu/.ray/auth_token" in up["file_mounts"]
    for starts in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = up[starts][-1]
        assert "RAY_AUTH_MODE=token" in start
        assert "RAY_USAGE_STATS_ENABLED=0" in start
        assert start.index("export") < start.index("ray start")


def test_gpu_nodes_alone_install_cuda(up: dict[str, Any]) -> None:
    head, worker = up["head_setup_commands"], up["worker_setup_commands"]
    gpu = up["available_node_types"]["gpu"]["worker_setup_commands"]
    for kind, pins in ((head, "cpu"), (worker, "cpu"), (gpu, "gpu")):
        assert kind[0] == gpu[0]  # the same Python
        assert kind[1].endswith(f"requirements/{pins}.txt")
        assert len(kind) == 2


def test_no_node_builds_anything() -> None:
    for pins in ("cpu.txt", "gpu.txt"):
        assert "\nflash-attn==" not in (ROOT / "requirements" / pins).read_text()


def test_head_and_gpu_nodes_run_the_same_versions_of_what_crosses_between_them() -> None:
    def pins(name: str) -> dict[str, str]:
        lines = (ROOT / "requirements" / name).read_text().splitlines()
        pinned = (tuple(line.split(" ")[0].split("==")) for line in lines if "==" in line)
        return dict(pinned)

    cpu, gpu = pins("cpu.txt"), pins("gpu.txt")
    assert cpu["boto3"] == gpu["boto3"], "the autoscaler on the head needs it"
    crossing = (
        "ray",
        "cloudpickle",
        "numpy",
        "pyarrow",
        "pydantic",
        "pydantic-core",
        "fsspec",
        "av",
    )
    for package in crossing:
        assert cpu[package] == gpu[package]
