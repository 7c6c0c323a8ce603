from collections import Counter
from pathlib import Path

import pytest

from ah_ray.catalog import load_entry, read_catalog
from ah_ray.media.probe import probe
from ah_ray.tasks import load_task
from ah_ray.toy.single_cues import CUES, CuesSpec, write_cues

SPEC = CuesSpec(
    train_participants=1, val_participants=1, test_participants=1, min_seconds=0.5, max_seconds=0.6
)
ENTRY = Path(__file__).parents[2] / "data_catalog" / "synthetic_cues.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cues")
    write_cues(folder, SPEC, "videos.csv", workers=1)
    return folder


def test_every_participant_has_one_video_of_each_cue(folder):
    answer = load_task("cues").answer
    catalog = read_catalog(load_entry(ENTRY), str(folder / "videos.csv"), answer)
    assert catalog.findings == []
    assert len(catalog.videos) == SPEC.videos == 12
    found = Counter((v["split"], v["participant_id"], *v["labels"]) for v in catalog.videos)
    people = zip(SPEC.splits, ("p000", "p001", "p002"), strict=True)
    assert found == Counter((*person, cue) for person in people for cue in CUES)
    assert answer.options == CUES


def test_its_videos_have_picture_and_sound(folder):
    for path in (folder / "videos").iterdir():
        info = probe(str(path))
        assert 0.3 < info.duration_s < 0.9
        assert info.audio_stream is not None
