"""Faces are left as they are and what is around them is dimmed: the same in training and scoring.

Who finds the faces is a function, ``module:function``: ``frontal_faces`` below, or one of the
user's own. Frames (uint8, frames x height x width x RGB) in, for every frame its boxes out, each as
(top, left, bottom, right) in pixels. Where it finds no face, a frame stays as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ah_ray.errors import ConfigError, ItemError
from ah_ray.names import find

DIMMED = 0.4  # of its brightness is left of what is around faces
# Of the shorter side of a frame: who talks to a camera is larger; what is smaller is rarely a face.
_SMALLEST = 1 / 8
_CASCADE_PX = 24  # a side of what the cascade was trained on

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


def frontal_faces(frames: Frames) -> list[Boxes]:
    """Faces that look towards the camera, in an eighth of a frame's shorter side and more.

    Local binary patterns in a cascade (Liao et al., ICB 2007), trained by OpenCV, as scikit-image
    brings it: nothing is downloaded. It misses profiles, and finds some faces where there are none.
    """
    return [_boxes(frame) for frame in frames]


def _boxes(frame: Frames) -> Boxes:
    """(top, left, bottom, right) of each face of a frame, in pixels."""
    height, width = frame.shape[:2]
    smallest = max(_CASCADE_PX, round(min(height, width) * _SMALLEST))
    if smallest > min(height, width):
        return []
    found = _cascade().detect_multi_scale(
        img=frame,
        scale_factor=1.2,
        step_ratio=1,
        min_size=(smallest, smallest),
        max_size=(height, width),
    )
    return [
        (face["r"], face["c"], face["r"] + face["height"], face["c"] + face["width"])
        for face in found
    ]


@functools.cache
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]


def dimmed(frame: Frames, boxes: Boxes) -> Frames:
    """A frame with all dimmed but what is in the boxes; without boxes as it is."""
    if not len(boxes):
        return frame
    result = (frame * np.float32(DIMMED)).astype(np.uint8)
    for box in boxes:
        top, left, bottom, right = (max(0, round(float(edge))) for edge in box)
        result[top:bottom, left:right] = frame[top:bottom, left:right]
    return result
