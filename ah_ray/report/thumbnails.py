"""Pictures of the moments that decided, small and in the page itself."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig, MediaConfig
from ah_ray.media.decode import decode
from ah_ray.media.segment import Span

# Three of them tell a movement; of this size a face is recognised and a page stays small.
_SHOWN = MediaConfig(
    picture="images", images=3, audio="none", size_multiple=2, min_pixels=1, max_pixels=200 * 150
)
_QUALITY = 75


def thumbnails(uri: str, start_s: float, end_s: float, limits: LimitsConfig) -> list[str]:
    """Three pictures of a stretch of a video as ``data:`` URIs; none where none can be decoded.

    Of what does not move, as a picture, it is one.

    Args:
        uri: the video.
        start_s: where the stretch begins, in seconds.
        end_s: where it ends.
        limits: what decoding may cost.
    """
    [(_, clip)] = decode(uri, [Span(start_s, end_s)], _SHOWN, limits)
    if isinstance(clip, ItemError):
        return []
    moves = (clip.frames != clip.frames[0]).any()
    return [_data_uri(frame) for frame in (clip.frames if moves else clip.frames[:1])]


def _data_uri(frame: npt.NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
