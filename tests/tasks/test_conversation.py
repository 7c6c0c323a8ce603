import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.media.config import MediaConfig
from ah_ray.tasks import Prompt, chat_messages, load_task, swift_row

PROMPTS = st.builds(Prompt, system=st.text(), user=st.text().filter(lambda text: "<" not in text))


def in_chat(prompt, kinds=("video", "audio")) -> list[tuple[str, list[str], str]]:
    """Role, media in order and text of each turn that scoring renders."""
    turns = []
    for message in chat_messages(prompt, kinds):
        media = [part["type"] for part in message["content"] if part["type"] != "text"]
        (text,) = [part["text"] for part in message["content"] if part["type"] == "text"]
        assert message["content"][-1]["type"] == "text"
        turns.append((message["role"], media, text))
    return turns


def in_row(row) -> list[tuple[str, list[str], str]]:
    """The same of a training row."""
    turns = []
    for message in row["messages"]:
        media = re.findall(r"<(video|audio|image)>", message["content"])
        text = message["content"].removeprefix("".join(f"<{kind}>" for kind in media))
        turns.append((message["role"], media, text))
    return turns


@given(PROMPTS, st.text(), st.sampled_from(["separate", "none"]))
def test_training_and_scoring_say_the_same_in_the_same_order(prompt, reply, audio):
    kinds = MediaConfig(audio=audio).kinds
    row = swift_row(prompt, reply, "v.mp4", "a.wav" if "audio" in kinds else None)
    *asked, answered = row["messages"]
    if "<" not in prompt.system:
        assert in_row(row | {"messages": asked}) == in_chat(prompt, kinds)
    assert answered == {"role": "assistant", "content": reply}


@pytest.mark.parametrize("name", ["short", "detailed"])
@pytest.mark.parametrize("task", ["ambivalence_hesitancy", "cue_conflict"])
def test_the_built_in_prompts(task, name):
    prompt = load_task(task).prompts[name]
    row = swift_row(prompt, "r", "v.mp4", "a.wav")
    assert in_row(row)[:-1] == in_chat(prompt)
    assert [role for role, _, _ in in_chat(prompt)] == ["system", "user"]
    assert in_chat(prompt)[1][1] == ["video", "audio"]


@given(PROMPTS, st.integers(1, 8), st.sampled_from(["separate", "none"]))
def test_a_row_of_images_has_a_place_for_each(prompt, count, audio):
    kinds = MediaConfig(picture="images", images=count, audio=audio).kinds
    paths = [f"{number}.png" for number in range(count)]
    row = swift_row(prompt, "r", None, "a.wav" if "audio" in kinds else None, paths)
    *asked, _ = row["messages"]
    assert in_row(row | {"messages": asked})[1] == in_chat(prompt, kinds)[1]
    assert (row["images"], row["videos"]) == (paths, [])


def test_a_row_names_one_video_and_its_sound():
    row = swift_row(Prompt(system="s", user="u"), "r", "v.mp4", "a.wav")
    assert row["videos"] == ["v.mp4"]
    assert row["audios"] == ["a.wav"]
    assert set(row) == {"messages", "videos", "audios"}
    unheard = swift_row(Prompt(system="s", user="u"), "r", "v.mp4", None)
    assert unheard["videos"] == ["v.mp4"]
    assert unheard["audios"] == []
