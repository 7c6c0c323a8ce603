"""Pictures (JPEG, PNG, WebP) among the videos: each is one frame, which stands for a second.

What a file is its first bytes say, never its name. It is decoded by Pillow, whole or not at all,
and turned as its EXIF says. ``probe`` and ``decode`` ask here before they open a video.
"""

from __future__ import annotations

import io
import re

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ah_ray import storage
from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig
from ah_ray.storage_errors import StorageError

_STARTS = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
_START = 12  # bytes that tell the format
_BYTES_PER_PIXEL = 8  # four channels of 16 bits: no file of a picture needs more

Pixels = npt.NDArray[np.uint8]


def read_still(uri: str, limits: LimitsConfig = LimitsConfig()) -> Pixels | None:
    """The picture in a file as people see it, height x width x RGB; None if it holds none.

    What is transparent lies on white. Of a file that holds several pictures without being a film
    (phones put a small one behind the photo) it is the first.

    Raises:
        ItemError: it is a picture and ``unreadable`` (broken, cut short, or it moves) or
            ``too_large``; or ``storage_error``.
    """
    path = storage.local_path(uri)
    if path and not path.is_file():  # a pipe would never end
        return None
    try:
        size = storage.size(uri)
        if size < _START:
            return None
        (start,) = storage.read_ranges(uri, [(0, _START)])
        name = next((name for name, begins in _STARTS.items() if begins.match(start)), None)
        if name is None:
            return None
        if size > _BYTES_PER_PIXEL * limits.max_pixels:
            message = f"{uri}: the file is larger than a picture that limits.max_pixels allows"
            raise ItemError("too_large", message)
        data = storage.read_bytes(uri)
    except FileNotFoundError:  # who opens it as a video says so
        return None
    except StorageError as error:
        raise ItemError("unreadable" if path else "storage_error", str(error)) from error
    return _decoded(uri, name, data, limits)


def _decoded(uri: str, name: str, data: bytes, limits: LimitsConfig) -> Pixels:
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            if image.width * image.height > limits.max_pixels:  # nothing is decoded yet
                size = f"{image.width}x{image.height}"
                message = f"{uri}: {size} pixels are more than limits.max_pixels allows"
                raise ItemError("too_large", message)
            # A JPEG with a second one behind it is a photo all the same.
            if name != "JPEG" and getattr(image, "is_animated", False):
                message = f"{uri}: is a {name} that moves: convert it to MP4"
                raise ItemError("unreadable", message)
            return _shown(ImageOps.exif_transpose(image))
    except ItemError:
        raise
    except Image.DecompressionBombError as error:
        raise ItemError("too_large", f"{uri}: {error}") from error
    except UnidentifiedImageError as error:
        raise ItemError("unreadable", f"{uri}: begins like a {name} and is none") from error
    except Exception as error:  # of what is broken Pillow says so in any class of error
        raise ItemError("unreadable", f"{uri}: is a broken {name}: {error}") from error


def _shown(image: Image.Image) -> Pixels:
    """The pixels of an image in any mode, RGB."""
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
