"""The name of a clip that has no file of its own: its source and its times in one URI.

Written as W3C's *Media Fragments URI 1.0* has it (temporal dimension, in seconds):
``s3://bucket/video.mp4#t=5.000000,10.000000``.
"""

from __future__ import annotations

import re

from ah_ray.media.segment import Span

_FRAGMENT = re.compile(r"(?P<source>.*)#t=(?P<start>\d+\.\d{6}),(?P<end>\d+\.\d{6})", re.DOTALL)


def with_times(source: str, span: Span) -> str:
    """The URI of a part of ``source``."""
    return f"{source}#t={span.start_s:.6f},{span.end_s:.6f}"


def split_times(uri: str) -> tuple[str, Span | None]:
    """The source that ``uri`` names, and which part of it; None when it is the whole file.

    >>> split_times(with_times("a.mp4", Span(1.5, 4.0)))
    ('a.mp4', Span(start_s=1.5, end_s=4.0))
    """
    match = _FRAGMENT.fullmatch(uri)
    if match is None:
        return uri, None
    return match["source"], Span(float(match["start"]), float(match["end"]))
