"""What a report shows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ah_ray.yaml_objects import Count, Frozen


class ReportConfig(Frozen):
    """What a report shows.

    Attributes:
        thumbnails: of how many videos, the strongest first, the page holds pictures of the clip
            that decided; with 0 no picture leaves the archive.
        videos: how many videos it lists at most, the strongest first.
    """

    thumbnails: Annotated[int, Field(ge=0)] = 0
    videos: Count = 10_000
