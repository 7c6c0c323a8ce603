"""Groups that a text model states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.errors import ConfigError
from ah_ray.words.ask import groups_in, to_ask
from ah_ray.words.groups import GroupsFile

WORDS = ["calm", "glad", "happy", "looking forward to", "sad"]
STATED = (("calm",), ("glad", "happy"), ("looking forward to", "sad"))


@pytest.mark.parametrize(
    "text",
    [
        "happy, glad\ncalm\nsad, looking forward to",
        "- Happy, glad.\n- calm\n- sad, looking forward to",
        "1. happy and glad\n2. calm\n3. [looking forward to, sad]",
        '[["happy", "glad"], ["calm"], ["looking forward to", "sad"]]',
        "```json\n[['happy', 'glad'], ['calm'],\n['looking forward to', 'sad']]\n```",
        '{"groups": [["glad", "happy"], ["looking forward to", "sad"]]}',
        "happy, glad, furious\nsad, happy, looking forward to",
    ],
)
def test_groups_are_read(text):
    assert groups_in(text, WORDS) == STATED


@pytest.mark.parametrize("text", ["", "I cannot.", "[]", "furious, merry"])
def test_what_names_no_word_says_nothing(text):
    assert groups_in(text, WORDS) is None


@given(st.text(), st.sets(st.sampled_from([*WORDS, "Ω", "ß", "x y"]), min_size=1))
def test_each_word_is_in_one_group(text, words):
    for reply in (text, text + ", ".join(sorted(words))):
        groups = groups_in(reply, to_ask([words]))
        if groups is not None:
            assert sorted(word for group in groups for word in group) == to_ask([words])


def test_words_are_asked_about_once():
    assert to_ask([["Sad ", "calm"], ("sad",), [""]]) == ["calm", "sad"]


def test_a_complete_file_refuses_a_newer_word():
    file = GroupsFile(videos={"v": (("glad", "happy"), ("sad",))}, complete=True)
    view = file.view("groups.json")
    assert view("v", {"happy", "sad"}) == {"happy": "glad", "sad": "sad"}
    with pytest.raises(ConfigError, match=r"groups.json: says nothing of merry in video v"):
        view("v", {"happy", "merry"})
    partial = file.model_copy(update={"complete": False})
    assert partial.view("groups.json")("v", {"merry"}) == {"merry": "merry"}
