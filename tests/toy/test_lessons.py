"""Base models of demos are taught the questions that members are asked, with answers that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ah_ray.config import load_config
from ah_ray.media.config import MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.tasks import load_task
from ah_ray.toy.bases import BASES
from ah_ray.toy.emotions import EMOTIONS
from ah_ray.toy.lessons import CAPTIONS_TASK, Lesson, School
from ah_ray.toy.people import CUES
from ah_ray.toy.sentences import PHRASES, seen

JOBS = ("demo", "cues", "labels_demo", "labels_demo_captions")
BLIND = MediaConfig(picture="none", audio="none")  # no clips are written
USUAL = {emotion.words[0]: cue for cue, emotion in EMOTIONS.items()}
TASK = load_task("cartoon_emotions")
DESCRIBE = load_task("cartoon_captions").prompts["short"].user


def taught(name: str) -> list[tuple[str, str]]:
    """What a base reads and replies."""
    rows = BASES[name].rows(Path(), BLIND)
    return [(row["messages"][1]["content"], row["messages"][2]["content"]) for row in rows]


def listed(reply: str) -> set[str]:
    """The cues of the words of a reply."""
    reading = TASK.answer.read(reply)
    assert reading is not None
    return {USUAL[word] for word in reading.labels}


def stated(sentence: str) -> set[str]:
    """The cues that a sentence states."""
    said = sentence.lower().replace("her", "{their}").replace("his", "{their}")
    return {cue for cue, phrases in PHRASES.items() if any(phrase in said for phrase in phrases)}


@pytest.mark.parametrize("job", JOBS)
def test_every_model_of_a_demo_is_a_base_that_knows_its_question(job: str) -> None:
    config = load_config(f"jobs/{job}.yaml", "run")
    for member in config.members:
        name = config.model_of(member).path.rpartition("/")[2]
        base = BASES[name]
        begin = base.begin if callable(base.begin) else BASES[base.begin].begin
        assert callable(begin)
        if name != "base":
            user = config.question(member).prompt.user
            frame = user.partition("{")[0], user.rpartition("}")[2]
            reads = [asked for asked, _ in taught(name)]
            assert any(asked.startswith(frame[0]) and asked.endswith(frame[1]) for asked in reads)


@pytest.mark.parametrize(
    ("base", "unknown"),
    [
        ("general", {"frown", "wide eyes", *CUES["voice"]}),
        ("trimodal", {*CUES["face"]}),
        ("captioner_1", {*CUES["voice"]}),
        ("captioner_2", {*CUES["voice"]}),
    ],
)
def test_a_base_is_taught_all_but_what_it_shall_not_know(base: str, unknown: set[str]) -> None:
    told: set[str] = set()
    for asked, reply in taught(base):
        told |= stated(reply) if asked == DESCRIBE else listed(reply)
    assert told == EMOTIONS.keys() - unknown


def test_the_namer_is_taught_to_list_what_a_sentence_states() -> None:
    lessons = taught("namer")
    assert len({listed_ for _, listed_ in lessons}) == 16  # a face or none, a body or none
    for asked, reply in lessons[:300]:
        assert listed(reply) == stated(asked)


def test_rows_name_what_the_model_gets_of_clips_that_are_there(tmp_path: Path) -> None:
    school = School((Lesson("short", seen), Lesson("short", seen, CAPTIONS_TASK)), people=2, seed=9)
    media = MediaConfig(picture="images", images=2, square=56, size_multiple=28, audio="none")
    rows = school.rows(tmp_path, media)
    assert [len(row["images"]) for row in rows] == [2] * 4
    for number in range(2):
        path = tmp_path / f"{number:05}.mp4"
        assert rows[2 * number]["images"][1].startswith(f"{path}#t=0.000000,1.000000&image=1,")
        ((_, clip),) = decode(str(path), [Span(0.0, 1.0)], media, clip_ids=["any"])
        assert isinstance(clip, DecodedClip)
        assert clip.frames.shape == (2, 56, 56, 3)
    other: Any = replace(school, seed=8).rows(tmp_path, BLIND)
    assert [row["messages"] for row in rows] != [row["messages"] for row in other]
