"""Faces are left as they are and what is around them is dimmed: the same in training and scoring.

Who finds the faces is a function of the user's own, ``module:function``: frames (uint8, frames x
height x width x RGB) in, for every frame its boxes out, each as (top, left, bottom, right) in
pixels. Where it finds no face, a frame stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ah_ray.errors import ConfigError, ItemError
from ah_ray.names import find

DIMMED = 0.4  # of its brightness is left of what is around faces

Frames = npt.NDArray[np.uint8]
Boxes = Sequence[Sequence[float]]
Detector = Callable[[Frames], Sequence[Boxes]]


def find_detector(name: str, where: str = "media.faces") -> Detector:
    """The function ``module:function``.

    Raises:
        ConfigError: there is none.
    """
    found: Any = find(name, {}, where)
    if not callable(found):
        fix = "name a function that finds faces in frames"
        raise ConfigError(where, f"{name} is a {type(found).__name__}", fix)
    detector: Detector = found
    return detector


def with_faces(frames: Frames, name: str, uri: str) -> Frames:
    """The frames with all dimmed but the faces that a detector finds.

    Args:
        frames: as the model would see them.
        name: of the detector.
        uri: of the video, for the error.

    Raises:
        ItemError: the detector failed, or does not say of each frame which boxes there are.
    """
    try:
        found = find_detector(name)(frames)
        if len(found) != len(frames):
            raise ValueError(f"{len(found)} lists of boxes for {len(frames)} frames")
        return np.stack([dimmed(*pair) for pair in zip(frames, found, strict=True)])
    except Exception as error:  # a detector of one's own may do anything
        message = f"{uri}: {name}: {type(error).__name__}: {error}"
        raise ItemError("detector_failed", message) from error


def dimmed(frame: Frames, boxes: Boxes) -> Frames:
    """A frame with all dimmed but what is in the boxes; without boxes as it is."""
    if not len(boxes):
        return frame
    result = (frame * np.float32(DIMMED)).astype(np.uint8)
    for box in boxes:
        top, left, bottom, right = (max(0, round(float(edge))) for edge in box)
        result[top:bottom, left:right] = frame[top:bottom, left:right]
    return result
