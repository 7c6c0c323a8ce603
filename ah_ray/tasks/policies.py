"""What the rules do with answers that are not there."""

from __future__ import annotations

from typing import Literal

from ah_ray.yaml_objects import Frozen


class ReduceConfig(Frozen):
    """What happens to answers that are not there; every case is counted in the verdicts.

    Attributes:
        invalid: an unparseable clip answer is left out, or counts as the negative or positive.
        missing: a clip without an answer (error or absent) is left out or counts as the negative.
        tie: an even vote goes to the mean score (at least 0.5 is positive), to the positive, to
            the negative, or stays undecided.
    """

    invalid: Literal["exclude", "negative", "positive"] = "exclude"
    missing: Literal["exclude", "negative"] = "exclude"
    tie: Literal["score", "positive", "negative", "undecided"] = "score"
