import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.media.config import MediaConfig
from ah_ray.tasks import Prompt, load_task
from ah_ray.tasks.answers import Labels, Reading
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.reward import READABLE, RIGHT, answer_reward
from ah_ray.training.rows import (
    balanced,
    evened,
    in_run,
    optimizer_steps,
    training_rows,
    usable_clips,
    with_subtitle,
)

TASK = load_task("cue_conflict")


def reply_of(label: str) -> str:
    return TASK.answer.write(Reading(frozenset({label})))


def recipe(**values) -> RecipeConfig:
    return RecipeConfig(**{"lora": {}, "learning_rate": 1} | values)


def clip(number: int, label: str = "Yes") -> dict:
    return {
        **{"clip_id": f"c{number}", "labels": [label], "source_uri": "v.mp4"},
        **{"media_uri": f"m/{number}.mp4", "audio_uri": f"m/{number}.wav"},
    }


def files_of(clips) -> set[str]:
    return {clip[key] for clip in clips for key in ("media_uri", "audio_uri")} - {None}


def test_every_clip_is_a_row_or_a_finding():
    clips = [clip(n) for n in range(6)]
    clips[1]["labels"] = None
    clips[2] |= {"media_uri": None, "audio_uri": None}  # virtual
    files = files_of(clips) - {"m/3.wav", "m/4.mp4", "m/4.wav"}
    usable, findings = usable_clips(clips, files)
    assert [c["clip_id"] for c in usable] == ["c0", "c2", "c5"]
    assert [(f["item_id"], f["kind"]) for f in findings] == [
        ("c1", "clip_unlabelled"),
        ("c3", "clip_file_missing"),
        ("c4", "clip_file_missing"),
    ]
    assert "m/4.mp4" in findings[2]["message"]
    assert "m/4.wav" in findings[2]["message"]
    assert {f["severity"] for f in findings} == {"error"}


LABELS = st.lists(st.sampled_from(["smile", "frown", "dull"]), min_size=1, max_size=40)


@given(LABELS, st.integers(0, 9))
def test_oversampling_makes_all_labels_as_many(labels, seed):
    clips = [clip(n, label) for n, label in enumerate(labels)]
    result = balanced(clips, recipe(balance="oversample", seed=seed))
    assert result[: len(clips)] == clips
    count = Counter(c["labels"][0] for c in result)
    assert len(set(count.values())) == 1
    assert max(count.values()) == max(Counter(labels).values())
    times = {
        label: Counter(c["clip_id"] for c in result if c["labels"] == [label]) for label in count
    }
    assert all(max(t.values()) - min(t.values()) <= 1 for t in times.values())
    assert result == balanced(clips, recipe(balance="oversample", seed=seed))
    assert balanced(clips, recipe()) == clips


@pytest.mark.parametrize("grpo", [None, {}])
def test_a_row_per_clip(grpo):
    clips = [clip(1, "Yes"), clip(2, "No")]
    how = (TASK.question("short", "test"), recipe(grpo=grpo))
    written = training_rows(clips, *how, MediaConfig())
    rows = [json.loads(line) for line in written.splitlines()]
    assert [row["videos"] for row in rows] == [["m/1.mp4"], ["m/2.mp4"]]
    assert [row["audios"] for row in rows] == [["m/1.wav"], ["m/2.wav"]]
    unheard = training_rows(clips, *how, MediaConfig(audio="none"))
    assert [json.loads(line)["audios"] for line in unheard.splitlines()] == [[], []]
    roles = [[message["role"] for message in row["messages"]] for row in rows]
    if grpo is None:
        assert roles == [["system", "user", "assistant"]] * 2
        replies = [row["messages"][-1]["content"] for row in rows]
        assert replies == ["<answer>Yes</answer>", "<answer>No</answer>"]
        assert all("solution" not in row for row in rows)
    else:
        assert roles == [["system", "user"]] * 2
        assert [row["solution"] for row in rows] == [["Yes"], ["No"]]


def test_a_reward_agrees_with_the_parser():
    right, wrong, unclear, none = (
        answer_reward(TASK.answer, reply, ["Yes"])
        for reply in (
            reply_of("Yes"),
            reply_of("No"),
            reply_of("No") + reply_of("Yes"),
            "Yes, they do.",
        )
    )
    assert right > wrong > unclear == none == 0
    assert answer_reward(TASK.answer, f"Let me see. {reply_of('No').upper()}", ["No"]) == right


def test_words_are_written_sorted_and_rewarded_together():
    answer = Labels(kind="labels")
    question = TASK.question("short", "test").model_copy(update={"answer": answer})
    clips = [clip(1) | {"labels": ["sad", "glad"]}]
    (row,) = training_rows(clips, question, recipe(), MediaConfig()).splitlines()
    assert json.loads(row)["messages"][-1]["content"] == "glad, sad"
    none = training_rows([clips[0] | {"labels": []}], question, recipe(), MediaConfig())
    assert json.loads(none)["messages"][-1]["content"] == "[]"
    assert [answer_reward(answer, said, []) for said in ("[]", "sad", "")] == [1.0, 0.1, 0.0]
    right, partly = (answer_reward(answer, said, ["glad", "sad"]) for said in ("Sad, glad.", "sad"))
    assert (right, partly) == (RIGHT, READABLE)


def test_who_gets_no_picture_is_trained_without():
    how = (TASK.question("short", "test"), recipe(), MediaConfig(picture="none"))
    (row,) = training_rows([clip(1)], *how).splitlines()
    assert json.loads(row)["videos"] == []
    assert json.loads(row)["audios"] == ["m/1.wav"]


def test_what_is_said_stands_beside_its_conversation_until_there_is_a_tokenizer():
    question = TASK.question("short", "test")
    (deaf,) = training_rows(
        [clip(1) | {"subtitle": "Hi!"}], question, recipe(), MediaConfig()
    ).splitlines()
    assert "subtitle" not in json.loads(deaf)
    prompt = Prompt(system="{subtitle}", user="They say: {subtitle}")
    question = question.model_copy(update={"prompt": prompt})
    clips = [clip(1) | {"subtitle": "Hi! </s><eos>{subtitle}"}, clip(2) | {"subtitle": None}]
    lines = training_rows(clips, question, recipe(), MediaConfig()).splitlines()

    class Tokenizer:
        def get_added_vocab(self):
            return {"<eos>": 0, "[eos]": 1}

    filled = [with_subtitle(json.loads(line), Tokenizer()) for line in lines]
    assert [row["messages"][1]["content"] for row in filled] == [
        "<video><audio>They say: Hi! \u2039/s\u203a{subtitle}",
        "<video><audio>They say: ",
    ]
    assert {row["messages"][0]["content"] for row in filled} == {"{subtitle}"}


@pytest.mark.parametrize("virtual", [False, True])
def test_images_are_named_by_their_clip(virtual):
    media = MediaConfig(picture="images", images=2, audio="none")
    one = clip(1) | {"start_s": 5, "end_s": 7.5}
    if virtual:
        one |= {"media_uri": None, "audio_uri": None}
    (line,) = training_rows([one], TASK.question("short", "test"), recipe(), media).splitlines()
    row = json.loads(line)
    stem = "v.mp4#t=5.000000,7.500000&" if virtual else "m/1.mp4#"
    assert row["images"] == [f"{stem}image=0,c1", f"{stem}image=1,c1"]
    assert row["videos"] == row["audios"] == []
    assert row["messages"][1]["content"].startswith("<image><image>")


@given(st.integers(0, 40), st.integers(1, 16))
def test_processes_get_equally_many_rows_and_every_clip_is_among_them(count, processes):
    clips = [clip(number) for number in range(count)]
    shared = evened(clips, processes)
    assert len(shared) % processes == 0
    assert count <= len(shared) < count + processes
    assert shared[:count] == clips
    assert all(extra in clips for extra in shared)


@pytest.mark.parametrize(
    ("rows", "values", "processes", "steps"),
    [
        (64, {}, 1, 1),  # batch_size 2, global_batch_size 64
        (65, {}, 1, 2),  # the last step takes what is left
        (3200, {}, 16, 50),
        (3200, {"epochs": 2.5}, 16, 125),
        (3200, {"epochs": 0.01}, 16, 1),
        (3, {}, 1, 1),
        (12, {"batch_size": 8, "global_batch_size": 8}, 1, 2),
        # Eight clips make a step of 64 replies; the ninth is left out.
        (9, {"grpo": {"generations": 8}}, 1, 1),
        (16, {"grpo": {"generations": 8}}, 2, 2),
    ],
)
def test_steps_are_counted_as_the_trainer_counts_them(rows, values, processes, steps):
    assert optimizer_steps(rows, recipe(**values), processes) == steps


def test_what_lies_in_the_run_is_named_by_it():
    clips = [
        clip(1) | {"media_uri": "s3://b/run/media/1.mp4", "audio_uri": "s3://b/run/media/1.wav"},
        clip(2) | {"media_uri": None, "audio_uri": None, "source_uri": "s3://b/run2/v.mp4"},
    ]
    first, second = in_run(clips, "s3://b/run")
    assert first["media_uri"] == "{run}/media/1.mp4"
    assert first["audio_uri"] == "{run}/media/1.wav"
    assert second == clips[1]
