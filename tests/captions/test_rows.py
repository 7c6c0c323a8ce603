import json
import random
from pathlib import Path

import pytest

from ah_ray.captions.rows import Source, seen_captions
from ah_ray.errors import ConfigError

LINE = {
    "clip_id": "c1", "video_id": "v1", "participant_id": "1", "split": "train",
    "source_uri": "archive/v1.mp4", "content": "h1", "start_s": 0.0, "end_s": 2.5,
    "captioner": "one", "caption": "A man smiles.", "made_from": "m",
}  # fmt: skip


def write(folder: Path, *lines: dict | str) -> Source:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "captions.jsonl").write_text("".join(f"{text}\n" for text in texts))
    return Source(str(folder), ("val",))


def test_captions_are_virtual_clips_and_some_are_held_back(tmp_path):
    other = {"split": "val", "source_uri": "s3://b/v.mp4", "subtitle": "Hi!"}
    source = write(tmp_path, LINE, LINE | other)
    (clip,), (other,) = source.read("members.m.captions")
    assert clip["source_uri"] == f"{tmp_path}/archive/v1.mp4"
    assert (clip["media_uri"], clip["audio_uri"], clip["labels"]) == (None, None, None)
    assert clip["caption"] == "A man smiles."
    assert (clip["subtitle"], other["subtitle"]) == (None, "Hi!")
    assert other["source_uri"] == "s3://b/v.mp4"
    assert Source(source.file, ("val",)).read("") == ([clip], [other])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", r"captions.jsonl, line 2: is no JSON"),
        ("[]", r"captions.jsonl, line 2"),
        (LINE | {"caption": ""}, r"line 2: caption: .* at least 1 character"),
        (LINE | {"start_s": "soon"}, r"line 2: start_s: "),
        ({k: v for k, v in LINE.items() if k != "video_id"}, r"line 2: video_id: is missing"),
        (LINE | {"source_uri": "../../secret.mp4"}, r"line 2: source_uri: .* leaves"),
        (LINE | {"captoin": "x"}, r"line 2: captoin: unknown key"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path, line, problem):
    with pytest.raises(ConfigError, match=problem):
        write(tmp_path, LINE, line).read("members.m.captions")


def test_there_must_be_some_to_train_on(tmp_path):
    with pytest.raises(ConfigError, match=r"members.m.captions: there is no .*/captions.jsonl"):
        Source(str(tmp_path)).read("members.m.captions")
    with pytest.raises(ConfigError, match="has no caption to train on"):
        write(tmp_path, LINE | {"split": "val"}).read("members.m.captions")


def test_a_video_is_made_from_all_its_captions_in_any_order(tmp_path):
    rows = [LINE, LINE | {"captioner": "two"}, LINE | {"clip_id": "c2"}]
    rows.append(LINE | {"clip_id": "c3", "video_id": "v2", "split": "val"})
    training, held_back = write(tmp_path, *rows).read("")
    seen = seen_captions(training, held_back)
    assert [(row["video_id"], row["role"]) for row in seen] == [
        ("v1", "training"), ("v2", "validation"),
    ]  # fmt: skip
    assert (seen[0]["content"], seen[0]["participant_id"]) == ("h1", "1")
    random.Random(1).shuffle(training)
    assert seen_captions(training, held_back) == seen
    training[0]["caption"] += " He laughs."
    assert seen_captions(training, held_back)[0]["made_from"] != seen[0]["made_from"]
    assert seen_captions(training, held_back)[1] == seen[1]
    held_back[0]["subtitle"] = "Hi!"
    assert seen_captions(training, held_back)[1]["made_from"] != seen[1]["made_from"]
