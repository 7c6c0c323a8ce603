import re

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from ah_ray.errors import ConfigError
from ah_ray.evaluation.metrics import measured
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Reading, Text
from ah_ray.tasks.policies import ReduceConfig
from ah_ray.tasks.task import BUILT_IN

TASKS = sorted(path.stem for path in BUILT_IN.glob("*.yaml"))
TASK = load_task("ambivalence_hesitancy")
LABELS = st.sampled_from(TASK.answer.options)
SPACES = st.text(" \t\n\r", max_size=4)


def states_nothing(text: str) -> bool:
    return "answer" not in text.lower()


def reply(label, task=TASK) -> str:
    return task.answer.write(Reading(frozenset({label})))


def parsed(text, task=TASK) -> str | None:
    reading = task.answer.read(text)
    return None if reading is None else next(iter(reading.labels))


def a_task(answer=None, **changes) -> dict:
    return {
        "name": "t",
        "answer": {
            "kind": "choice", "options": ["Yes", "No"], "reply": "<answer>{answer}</answer>"
        } | (answer or {}),
        "prompts": {"p": {"system": "s", "user": "u"}},
    } | changes  # fmt: skip


def own_task(tmp_path, **changes) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(a_task(**changes)))
    return str(path)


@given(LABELS, st.text().filter(states_nothing), st.text().filter(states_nothing))
def test_a_reply_reads_as_its_label_anywhere_in_a_text(label, before, after):
    assert parsed(before + reply(label) + after) == label


@given(LABELS, st.text().filter(states_nothing), st.integers(2, 4))
def test_a_repeated_reply_is_one_answer(label, between, times):
    assert parsed(between.join([reply(label)] * times)) == label


@given(st.permutations(["No", "Yes", "Yes", "No"]), st.text().filter(states_nothing))
def test_both_answers_are_no_answer(labels, between):
    assert parsed(between.join(map(reply, labels))) is None


@given(st.text())
def test_a_text_without_a_reply_is_no_answer(text):
    assume(not re.search(r"<answer>\s*(yes|no)\s*</answer>", text, re.IGNORECASE))
    assert parsed(text) is None


@given(LABELS, SPACES, SPACES, st.randoms())
def test_case_and_space_do_not_matter(label, left, right, chance):
    word = "".join(chance.choice([letter.upper(), letter.lower()]) for letter in label)
    tag = chance.choice(["answer", "ANSWER", "Answer"])
    assert parsed(f"<{tag}>{left}{word}{right}</{tag}>") == label


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
    assert parsed(text) is None


@pytest.mark.parametrize("name", TASKS)
def test_the_built_in_tasks_read_their_own_replies_and_can_be_judged(name):
    task = load_task(name)
    assert task.name == name
    for label in task.answer.options:
        assert parsed(reply(label, task), task) == label
    assert "short" in task.prompts
    judgement = task.judged(ReduceConfig())
    assert judgement.answer == task.answer
    assert judgement.rules == (task.rules or judgement.usual(task.answer, ReduceConfig()).rules)
    assert task.rules is not None or not task.answer.votes
    assert judgement.metrics == task.metrics
    assert measured([], task.metrics, task.answer)["n"] == 0


@pytest.mark.parametrize("form", ["{answer}", "It is {answer}.", "[{answer}]", "(a)* {answer}$"])
@pytest.mark.parametrize("label", ["sí", "no way", "no way out"])
def test_a_task_of_ones_own_with_any_form_of_reply(tmp_path, form, label):
    answer = {"reply": form, "options": ["sí", "no way", "no way out"]}
    task = load_task(own_task(tmp_path, answer=answer))
    assert parsed(f"Well. {reply(label, task)} Done.", task) == label


@pytest.mark.parametrize("label", ["Yes", "No"])
def test_a_reply_may_be_json(tmp_path, label):
    task = load_task(own_task(tmp_path, answer={"reply": '{"label": "{answer}"}'}))
    assert reply(label, task) == f'{{"label": "{label}"}}'
    assert parsed(reply(label, task), task) == label


@pytest.mark.parametrize("form", ["", "yes or no", "{answer} {answer}", "{Answer}"])
def test_a_reply_needs_one_slot(tmp_path, form):
    with pytest.raises(ConfigError, match=r"reply: must contain \{answer\} exactly once"):
        load_task(own_task(tmp_path, answer={"reply": form}))


def test_the_options_must_differ(tmp_path):
    with pytest.raises(ConfigError, match="'Yes' is there twice"):
        load_task(own_task(tmp_path, answer={"options": ["Yes", "yes"]}))


def test_yes_and_no_without_quotes_are_told_how_to_write_them(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(a_task()).replace("'Yes'", "Yes").replace("'No'", "No"))
    with pytest.raises(ConfigError, match='write them as "Yes" and "No"'):
        load_task(str(path))


def test_an_unknown_task_names_those_that_exist():
    with pytest.raises(ConfigError) as caught:
        load_task("ambivalence")
    assert "'ambivalence'" in caught.value.problem
    assert all(name in caught.value.fix for name in TASKS)


def test_a_missing_task_file():
    with pytest.raises(ConfigError, match=re.escape("none/own.yaml")):
        load_task("none/own.yaml")


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({"promts": {}}, "prompts"),
        ({"answer": {"optons": ["a", "b"]}}, "options"),
        ({"rules": {"clip": "first", "members": "most", "clips": "first"}}, "clips"),
    ],
)
def test_a_wrong_key_in_a_task_file_names_the_nearest(tmp_path, changes, near):
    path = own_task(tmp_path, **changes)
    with pytest.raises(ConfigError, match=f"did you mean {near}") as caught:
        load_task(path)
    assert path in caught.value.where


@pytest.mark.parametrize("place", ["clips", "members"])
def test_an_unknown_rule_is_an_error(tmp_path, place):
    rules = {"clips": "first", "members": "most"} | {place: "best"}
    with pytest.raises(ConfigError, match=f"task t: rules.{place}") as caught:
        load_task(own_task(tmp_path, rules=rules)).judged(ReduceConfig())
    assert "first" in caught.value.fix


def test_without_rules_a_task_is_judged_by_the_usual_ones(tmp_path):
    for absent, clips in (("No", "first"), (None, "most")):
        task = load_task(own_task(tmp_path, answer={"absent": absent}))
        judgement = task.judged(ReduceConfig(tie="No"))
        assert (judgement.rules.clips, judgement.rules.members) == (clips, "most")
        assert judgement.policies == ReduceConfig(tie="No")
    with pytest.raises(ConfigError, match="no answer to task t"):
        load_task(own_task(tmp_path)).judged(ReduceConfig(tie="positive"))


def test_an_unknown_prompt_names_where_and_those_that_exist():
    with pytest.raises(ConfigError) as caught:
        TASK.question("long", "members.v1.prompt")
    assert caught.value.where == "members.v1.prompt"
    assert "detailed" in caught.value.fix
    assert "short" in caught.value.fix


def test_a_question_is_one_wording_of_a_task():
    question = TASK.question("short", "members.v1.prompt")
    assert (question.name, question.answer) == (TASK.name, TASK.answer)
    assert question.prompt.model_dump().items() <= TASK.prompts["short"].model_dump().items()


def test_a_wording_may_ask_for_another_answer_than_the_task():
    task = load_task("emotion_labels")
    described, named = (task.question(name, "p") for name in ("describe", "name"))
    assert (described.answer, named.answer) == (Text(kind="text"), task.answer)
    assert described.name == named.name == task.name
    # A card holds what is asked, and the same wording asks the same wherever it comes from.
    assert described.prompt.model_dump().keys() == {"system", "user"}


def test_a_file_in_the_metrics_stands_beside_the_task(tmp_path, monkeypatch):
    metrics = [{"label_sets": {"groups": "groups.json"}}]
    own = own_task(tmp_path, metrics=metrics)
    assert list(load_task(own).metrics) == metrics  # it is not there
    (tmp_path / "groups.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    for name in (own, "own.yaml"):
        (named,) = load_task(name).metrics
        assert named == {"label_sets": {"groups": str(tmp_path / "groups.json")}}


def test_a_task_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        TASK.name = "another"
    with pytest.raises(ValueError, match="frozen"):
        TASK.answer.options = ("No", "Yes")
