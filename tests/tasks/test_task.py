import re
from typing import get_args

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from ah_ray.errors import ConfigError
from ah_ray.tasks import Task, load_task
from ah_ray.tasks.rules import CLIP_RULES, MEMBER_RULES
from ah_ray.tasks.task import BUILT_IN

TASKS = sorted(path.stem for path in BUILT_IN.glob("*.yaml"))
TASK = load_task("ambivalence_hesitancy")
LABELS = st.sampled_from([0, 1])
SPACES = st.text(" \t\n\r", max_size=4)


def states_nothing(text: str) -> bool:
    return "answer" not in text.lower()


def a_task(**changes) -> dict:
    return {
        "name": "t",
        "positive": "Yes",
        "negative": "No",
        "answer": "<answer>{answer}</answer>",
        "clips_to_video": "max",
        "members_to_verdict": "majority",
        "prompts": {"p": {"system": "s", "user": "u"}},
    } | changes


def own_task(tmp_path, **changes) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(a_task(**changes)))
    return str(path)


@given(LABELS, st.text().filter(states_nothing), st.text().filter(states_nothing))
def test_a_reply_reads_as_its_label_anywhere_in_a_text(label, before, after):
    assert TASK.parse(before + TASK.reply(label) + after) == label


@given(LABELS, st.text().filter(states_nothing), st.integers(2, 4))
def test_a_repeated_reply_is_one_answer(label, between, times):
    assert TASK.parse(between.join([TASK.reply(label)] * times)) == label


@given(st.permutations([0, 1, 1, 0]), st.text().filter(states_nothing))
def test_both_answers_are_no_answer(labels, between):
    assert TASK.parse(between.join(map(TASK.reply, labels))) is None


@given(st.text())
def test_a_text_without_a_reply_is_no_answer(text):
    assume(not re.search(r"<answer>\s*(yes|no)\s*</answer>", text, re.IGNORECASE))
    assert TASK.parse(text) is None


@given(LABELS, SPACES, SPACES, st.randoms())
def test_case_and_space_do_not_matter(label, left, right, chance):
    word = TASK.positive if label else TASK.negative
    word = "".join(chance.choice([letter.upper(), letter.lower()]) for letter in word)
    tag = chance.choice(["answer", "ANSWER", "Answer"])
    assert TASK.parse(f"<{tag}>{left}{word}{right}</{tag}>") == label


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "Yes",
        "no",
        "<answer></answer>",
        "<answer>Maybe</answer>",
        "<answer>Yes",
        "Yes</answer>",
        "<answer>Yes or No</answer>",
        "<answer>YesNo</answer>",
        "<answer>Yesterday</answer>",
        "<answer>Not</answer>",
        "<answer>Y e s</answer>",
        "<answers>Yes</answers>",
        "< answer>Yes</answer>",
        "<answer>Yes</answer><answer>No</answer>",
    ],
)
def test_texts_that_state_no_answer(text):
    assert TASK.parse(text) is None


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("label", [0, 1])
def test_the_built_in_tasks_read_their_own_replies(name, label):
    task = load_task(name)
    assert task.name == name
    assert task.parse(task.reply(label)) == label
    assert set(task.prompts) >= {"short", "detailed"}


@pytest.mark.parametrize("answer", ["{answer}", "It is {answer}.", "[{answer}]", "(a)* {answer}$"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_task_of_ones_own_with_any_form_of_answer(tmp_path, answer, label):
    task = load_task(own_task(tmp_path, answer=answer, positive="sí", negative="no way"))
    assert task.parse(f"Well. {task.reply(label)} Done.") == label


@pytest.mark.parametrize("label", [0, 1])
def test_an_answer_may_be_json(tmp_path, label):
    task = load_task(own_task(tmp_path, answer='{"label": "{answer}"}'))
    assert task.reply(label) == '{"label": "%s"}' % ("Yes" if label else "No")
    assert task.parse(task.reply(label)) == label


@pytest.mark.parametrize("answer", ["", "yes or no", "{answer} {answer}", "{Answer}"])
def test_an_answer_needs_one_slot(tmp_path, answer):
    with pytest.raises(ConfigError, match=r"answer: must contain \{answer\} exactly once"):
        load_task(own_task(tmp_path, answer=answer))


def test_the_two_answers_must_differ(tmp_path):
    with pytest.raises(ConfigError):
        load_task(own_task(tmp_path, positive="Yes", negative="yes"))


def test_an_unknown_task_names_those_that_exist():
    with pytest.raises(ConfigError) as caught:
        load_task("ambivalence")
    assert "'ambivalence'" in caught.value.problem
    assert all(name in caught.value.fix for name in TASKS)


def test_a_missing_task_file():
    with pytest.raises(ConfigError, match=re.escape("none/own.yaml")):
        load_task("none/own.yaml")


def test_a_wrong_key_in_a_task_file_names_the_nearest(tmp_path):
    path = own_task(tmp_path, postive="Yes")
    with pytest.raises(ConfigError, match="did you mean positive") as caught:
        load_task(path)
    assert path in caught.value.where


@pytest.mark.parametrize("rule", ["clips_to_video", "members_to_verdict"])
def test_an_unknown_rule_is_an_error(tmp_path, rule):
    with pytest.raises(ConfigError, match=rule):
        load_task(own_task(tmp_path, **{rule: "best"}))


def test_an_unknown_prompt_names_where_and_those_that_exist():
    with pytest.raises(ConfigError) as caught:
        TASK.prompt("long", "members.v1.prompt")
    assert caught.value.where == "members.v1.prompt"
    assert "detailed" in caught.value.fix
    assert "short" in caught.value.fix


def test_a_task_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        TASK.positive = "No"


def test_every_rule_a_task_can_name_exists():
    assert set(get_args(Task.model_fields["clips_to_video"].annotation)) == set(CLIP_RULES)
    assert set(get_args(Task.model_fields["members_to_verdict"].annotation)) == set(MEMBER_RULES)
