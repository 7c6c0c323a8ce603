"""What the stages check before they do anything."""

import pyarrow as pa
import pytest

from ah_ray import schemas
from ah_ray.errors import ConfigError
from ah_ray.pipelines.stages import require_answered


@pytest.mark.parametrize("missing", [[0, 0], [0, 2], []])
def test_a_baseline_answers_every_clip_or_is_refused(missing):
    rows = [
        {"video_id": str(number), "members": [{"member": "prior", "clips_missing": count}]}
        for number, count in enumerate(missing)
    ]
    baseline = pa.Table.from_pylist(rows, schema=schemas.VERDICTS)
    if not any(missing):
        require_answered(baseline, "predictions/member=prior")
        return
    with pytest.raises(ConfigError, match=r"(?s)member=prior: 2 clips .*ah-ray score"):
        require_answered(baseline, "predictions/member=prior")
