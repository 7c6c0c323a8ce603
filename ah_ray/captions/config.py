"""Which videos are captioned, and which captions are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ah_ray.names import Named
from ah_ray.yaml_objects import Frozen


class AugmentConfig(Frozen):
    """What becomes of captions. Who writes them, of what, stands under ``members``.

    Attributes:
        splits: the splits whose clips are captioned; videos without a split are, too. Never one
            that is evaluated.
        filters: what a caption must pass, in order (``captions.filters``).
        near_duplicates: a caption that passes them is dropped when it is so similar to an earlier
            one of the archive: the share of pairs of neighbouring words that both have, of all
            that they have, about (MinHash). Null to keep such captions.
    """

    splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("train",)
    filters: tuple[Named, ...] = ()
    near_duplicates: Annotated[float, Field(gt=0, le=1)] | None = None
