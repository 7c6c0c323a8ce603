"""``cluster.yaml`` is what Ray's cluster launcher accepts."""

from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = Path(__file__).parents[1] / "cluster.yaml"


def test_rays_own_validation_accepts_it() -> None:
    validate_config(prepare_config(yaml.safe_load(CLUSTER.read_text())))


def test_rays_own_validation_would_refuse_a_wrong_key() -> None:
    config = yaml.safe_load(CLUSTER.read_text()) | {"max_wokers": 3}
    with pytest.raises(Exception, match="max_wokers"):
        validate_config(prepare_config(config))
