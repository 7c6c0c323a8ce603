"""The archive of emotion words follows from its spec and is read as MER2024-OV is."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ah_ray.catalog import load_entry, read_catalog
from ah_ray.media.config import MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.tasks import load_task
from ah_ray.toy.demo import ARCHIVES, make_emotions
from ah_ray.toy.emotions import EMOTIONS, ClipPlan, EmotionsSpec, plan_emotions, write_emotions
from ah_ray.toy.people import CUES
from ah_ray.words.groups import find_grouping

ENTRY = Path(__file__).parents[2] / "data_catalog" / "synthetic_emotions.yaml"
SPEC = EmotionsSpec(train=6, val=2, test=4, min_seconds=2.0, max_seconds=2.2)
MEANING = {word: cue for cue, emotion in EMOTIONS.items() for word in emotion.words}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "emotions"
    make_emotions(str(folder), SPEC)
    return folder


@pytest.fixture(scope="module")
def plans() -> list[ClipPlan]:
    return plan_emotions(EmotionsSpec(train=2000, val=0, test=400))


def digests(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_equal_specs_give_equal_archives(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    show = lambda done, total: seen.append((done, total))  # noqa: E731
    write_emotions(tmp_path, SPEC, workers=1, progress=show)
    assert digests(tmp_path) == digests(folder)
    assert seen == [(done, 12) for done in range(1, 13)]
    assert plan_emotions(SPEC) != plan_emotions(EmotionsSpec(**{**vars(SPEC), "seed": 1}))
    assert make_emotions is ARCHIVES[ENTRY.name]
    before = (folder / "groups.json").stat().st_mtime_ns
    make_emotions(str(folder), SPEC)  # it is there
    assert (folder / "groups.json").stat().st_mtime_ns == before


def test_it_is_read_as_the_published_archives_are(folder: Path) -> None:
    assert (folder / "train.csv").read_text().splitlines()[0] == "name,openset"
    header = (folder / "subtitle_chieng.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "name,chinese,english"
    catalog = read_catalog(load_entry(ENTRY), str(folder), load_task("emotion_labels").answer)
    assert [finding["kind"] for finding in catalog.findings] == ["no_participants"]
    assert Counter(video["split"] for video in catalog.videos) == SPEC.splits
    for plan, video in zip(plan_emotions(SPEC), catalog.videos, strict=True):
        assert video["uri"].endswith(f"video/{plan.name}.mp4")
        assert set(video["labels"]) == set(plan.words)
        assert [part["text"] for part in video["subtitles"]] == [plan.said[0]]
        attributes = dict(video["attributes"])
        assert attributes["chinese"] == plan.said[1]
        face = plan.person.face
        assert int(attributes["label_V"]) == (EMOTIONS[face].polarity if face else 0)


def test_a_clip_has_one_word_for_each_cue_that_is_on(plans: list[ClipPlan]) -> None:
    for plan in plans:
        assert 1 <= len(plan.words) <= 3
        assert tuple(MEANING[word] for word in plan.words) == plan.person.cues
    assert Counter(len(plan.words) for plan in plans)[3] > 600
    for part, cues in CUES.items():
        shown = Counter(getattr(plan.person, part) for plan in plans)
        assert set(shown) == {None, *cues}
        assert min(shown.values()) > 300
    # Annotators use the usual word more often than the others.
    for emotion in EMOTIONS.values():
        used = Counter(word for plan in plans for word in plan.words if word in emotion.words)
        assert used.most_common()[0][0] == emotion.words[0]
        assert min(used[word] for word in emotion.words) > 50


def test_parts_show_their_emotions_independently(plans: list[ClipPlan]) -> None:
    for one, other in itertools.combinations(CUES, 2):
        pairs = Counter((getattr(p.person, one), getattr(p.person, other)) for p in plans)
        assert len(pairs) == 16
        assert min(pairs.values()) > 30


def test_what_is_said_is_neutral_or_true(plans: list[ClipPlan]) -> None:
    feels = {emotion.said: cue for cue, emotion in EMOTIONS.items()}
    telling = [plan for plan in plans if plan.said in feels]
    assert 0.2 < len(telling) / len(plans) < 0.3
    assert all(feels[plan.said] in plan.person.cues for plan in telling)


def test_words_of_a_group_mean_the_same(folder: Path) -> None:
    groups = json.loads((folder / "groups.json").read_text())
    assert groups == [list(emotion.words) for emotion in EMOTIONS.values()]
    assert len(MEANING) == 27  # no word is in two groups
    by_file = find_grouping(str(folder / "groups.json"), "test").views["", ""]
    classes = by_file("any", list(MEANING))
    wheel = find_grouping("wheel", "test").views
    (level,) = [view for (name, _), view in wheel.items() if name == "2"]
    for emotion in EMOTIONS.values():
        assert {classes[word] for word in emotion.words} == {emotion.words[0]}
        # The small wheel has them in one class, too.
        assert len(set(level("any", emotion.words).values())) == 1


def clip_of(folder: Path, plan: ClipPlan, media: MediaConfig) -> DecodedClip:
    path = folder / "video" / f"{plan.name}.mp4"
    ((_, clip),) = decode(str(path), [Span(0.0, 2.0)], media)
    assert isinstance(clip, DecodedClip)
    return clip


def test_clips_are_whole(folder: Path) -> None:
    media = MediaConfig(fps=1, min_frames=2, max_frames=2, min_pixels=1024, max_pixels=1024)
    for plan in plan_emotions(SPEC):
        clip: Any = clip_of(folder, plan, media)
        assert clip.frames.shape == (2, 32, 32, 3)
        assert clip.damage == 0
        assert np.abs(clip.audio).max() > 0.1
