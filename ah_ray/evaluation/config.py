"""How sure figures are told to be, and of whom."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ah_ray.evaluation.intervals import DRAWS
from ah_ray.yaml_objects import Count, Frozen


class EvaluateConfig(Frozen):
    """What is told beside the metrics.

    Attributes:
        draws: of the bootstrap over people, for intervals and tests.
        smallest_group: a group of fewer people is not told of: its figure says little, and may say
            it of somebody.
    """

    draws: Annotated[int, Field(ge=1000)] = DRAWS
    smallest_group: Count = 5
