"""What is around faces is dimmed, and only that; a detector that fails costs its clip alone."""

import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from ah_ray.errors import ConfigError, ItemError
from ah_ray.media.config import MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.faces import DIMMED, dimmed, frontal_faces, with_faces
from ah_ray.media.segment import Span
from ah_ray.models.architecture import require_media
from ah_ray.models.config import ModelConfig
from ah_ray.toy.things import write_mood

BOX = (2, 3, 5, 7)
PLAIN = MediaConfig(fps=2, min_frames=2, max_frames=2, size_multiple=28, audio="none")


def every_other(frames):
    """A face in the first frame, none in the second, and so on."""
    return [[BOX] if number % 2 == 0 else [] for number in range(len(frames))]


def one_too_few(frames):
    return every_other(frames)[1:]


def broken(frames):
    raise RuntimeError("no weights")


@pytest.fixture(autouse=True)
def _ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detectors", sys.modules[__name__])


def named(name: str) -> MediaConfig:
    return PLAIN.model_copy(update={"faces": f"detectors:{name}"})


def test_a_face_stays_and_the_rest_is_dimmed() -> None:
    frame = np.full((10, 10, 3), 200, np.uint8)
    found = dimmed(frame, [BOX])
    assert (found[2:5, 3:7] == 200).all()
    assert (found == 200).sum() == 3 * 4 * 3
    assert found[0, 0, 0] == int(200 * DIMMED)
    assert dimmed(frame, []) is frame
    assert (dimmed(frame, [(-4, -4, 99, 99)]) == frame).all()


def test_a_clip_is_decoded_with_them(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    write_mood(video, "happy", seed=0)

    def read(media: MediaConfig) -> DecodedClip | ItemError:
        ((_, clip),) = decode(str(video), [Span(0.0, 1.0)], media)
        return clip

    plain, faces = read(PLAIN), read(named("every_other"))
    assert isinstance(plain, DecodedClip)
    assert isinstance(faces, DecodedClip)
    assert (faces.frames[0] == dimmed(plain.frames[0], [BOX])).all()
    assert (faces.frames[0] != plain.frames[0]).any()
    assert (faces.frames[1] == plain.frames[1]).all()
    failed = read(named("broken"))
    assert isinstance(failed, ItemError)
    assert failed.kind == "detector_failed"
    assert "no weights" in failed.message


def test_the_one_that_comes_along_finds_a_real_face() -> None:
    astronaut, coffee = data.astronaut(), data.coffee()[:, 44:556]
    nobody = np.zeros((512, 512, 3), np.uint8)
    nobody[:400] = coffee
    seen = np.stack([astronaut, nobody, astronaut[:, ::-1]])
    (box,), none, (mirrored,) = frontal_faces(seen)
    assert none == []
    for found, middle in ((box, 224), (mirrored, 512 - 224)):  # of her face, as one sees it
        top, left, bottom, right = found
        assert (top + bottom) / 2 == pytest.approx(115, abs=12)
        assert (left + right) / 2 == pytest.approx(middle, abs=12)
        assert 80 < bottom - top == right - left < 130
    shown = with_faces(seen, "ah_ray.media.faces:frontal_faces", "a.mp4")
    assert (shown[0, 115, 224] == astronaut[115, 224]).all()
    assert (shown[0, 115, 20] == (astronaut[115, 20] * np.float32(DIMMED)).astype(np.uint8)).all()
    assert (shown[1] == nobody).all()
    assert frontal_faces(np.zeros((1, 16, 40, 3), np.uint8)) == [[]]  # smaller than any face


def test_a_detector_says_of_each_frame_what_there_is() -> None:
    with pytest.raises(ItemError, match="1 lists of boxes for 2 frames"):
        with_faces(np.zeros((2, 4, 4, 3), np.uint8), "detectors:one_too_few", "a.mp4")


def test_one_that_is_not_there_is_told_before_anything_starts() -> None:
    model = ModelConfig(path="base", architecture="qwen2_5_vl")
    require_media(model, named("broken"), "run.yaml")
    with pytest.raises(ConfigError, match=r"(?s)run\.yaml: media\.faces.*nobody"):
        require_media(model, named("nobody"), "run.yaml")
    with pytest.raises(ConfigError, match="is a tuple"):
        require_media(model, named("BOX"), "run.yaml")


def test_media_without_are_the_same_as_before_there_were_any() -> None:
    assert "faces" not in PLAIN.model_dump()
    assert named("broken").model_dump()["faces"] == "detectors:broken"
