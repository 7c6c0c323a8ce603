"""The name of a clip that has no file of its own, and of one of a clip's images, as one URI.

Times are written as W3C's *Media Fragments URI 1.0* has them (temporal dimension, in seconds):
``s3://bucket/video.mp4#t=5.000000,10.000000``. An image is named by its place among those of the
clip and by the clip's id, which may decide when it is taken: ``…#t=5.000000,10.000000&image=0,ID``,
or ``clip.mp4#image=0,ID`` of a file.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ah_ray.media.segment import Span

_TIMES = re.compile(r"#t=(?P<start>\d+\.\d{6}),(?P<end>\d+\.\d{6})")
_IMAGE = re.compile(r"[#&]image=(?P<number>\d+),(?P<clip_id>[^,&#]+)")
_URI = re.compile(
    rf"(?P<clip>(?P<source>.*?)({_TIMES.pattern})?)(?P<image>{_IMAGE.pattern})?", re.DOTALL
)


class NamedImage(NamedTuple):
    """One of the images of a clip.

    Attributes:
        clip: the URI of a file, or of a part of one.
        number: its place among the images, from 0.
        clip_id: what they are picked by.
    """

    clip: str
    number: int
    clip_id: str


def with_times(source: str, span: Span) -> str:
    """The URI of a part of ``source``."""
    return f"{source}#t={span.start_s:.6f},{span.end_s:.6f}"


def with_image(clip: str, number: int, clip_id: str) -> str:
    """The URI of an image of ``clip``, which is a file or a part of one.

    >>> with_image("a.mp4#t=1.500000,4.000000", 2, "9f")
    'a.mp4#t=1.500000,4.000000&image=2,9f'
    """
    return f"{clip}{'#' if split_times(clip)[1] is None else '&'}image={number},{clip_id}"


def split_times(uri: str) -> tuple[str, Span | None]:
    """The source that ``uri`` names, and which part of it; None when it is the whole file.

    >>> split_times(with_times("a.mp4", Span(1.5, 4.0)))
    ('a.mp4', Span(start_s=1.5, end_s=4.0))
    """
    part = _parts(uri)
    if part["start"] is None:
        return part["source"], None
    return part["source"], Span(float(part["start"]), float(part["end"]))


def split_image(uri: str) -> NamedImage | None:
    """The image that ``uri`` names; None when it names none.

    >>> split_image("a.mp4#image=2,9f")
    NamedImage(clip='a.mp4', number=2, clip_id='9f')
    """
    part = _parts(uri)
    if part["image"] is None:
        return None
    return NamedImage(part["clip"], int(part["number"]), part["clip_id"])


def split_fragment(uri: str) -> tuple[str, str]:
    """The source that ``uri`` names, and what of it, as it is written."""
    source: str = _parts(uri)["source"]
    return source, uri.removeprefix(source)


def _parts(uri: str) -> re.Match[str]:
    match = _URI.fullmatch(uri)
    assert match is not None, "it matches any text"
    return match
