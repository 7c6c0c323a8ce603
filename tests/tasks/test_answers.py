import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ah_ray.tasks.answers import SLOT, Answer, Candidate, Choice, Labels, Reading, Text
from ah_ray.tasks.lists import is_chosen, tidy
from ah_ray.tasks.policies import POLICIES

YES_NO = Choice(
    kind="choice", options=("Yes", "No"), absent="No", reply="<answer>{answer}</answer>"
)
CUES = Choice(kind="choice", options=("smile", "frown", "bright", "dull"))
WORDS = Labels(kind="labels", reply="<answer>{answer}</answer>")

OPTIONS = st.lists(
    st.text(max_size=8).map(str.strip)
    .filter(lambda word: word and SLOT not in word and word.casefold() not in POLICIES),
    min_size=2, max_size=4, unique_by=str.casefold,
).map(tuple)  # fmt: skip
# Of few letters, so that one begins another, stands in it or in the reply.
ALIKE = st.lists(
    st.text("ab -", min_size=1, max_size=4).map(str.strip).filter(bool),
    min_size=2, max_size=4, unique=True,
).map(tuple)  # fmt: skip
FORMS = st.builds(
    lambda before, after: before + SLOT + after,
    st.text(max_size=6).filter(lambda text: SLOT not in text),
    st.text(max_size=6).filter(lambda text: SLOT not in text),
).filter(lambda reply: reply.count(SLOT) == 1)
NOTHING = st.text().filter(lambda text: "answer" not in text.casefold())
# Letters of any script, and what else may stand in a word or beside it.
LETTERS = st.characters(categories=["L", "M", "N"]) | st.sampled_from(" '-+.\u2019\u200b\ufb01&/")
LABELS = st.frozensets(
    (st.text(LETTERS, min_size=1, max_size=12) | st.sampled_from(["shock and awe", "ready to cry"]))
    .map(tidy)
    .filter(is_chosen),
    max_size=16,
)


def choice(*options, reply="<answer>{answer}</answer>") -> Choice:
    return Choice(kind="choice", options=options, reply=reply)


def says(*labels, text="") -> Reading:
    return Reading(frozenset(labels), text)


# What is written reads as it was meant


@given(st.data(), OPTIONS | ALIKE, FORMS | st.just("{answer}") | st.just("<a>{answer}</a>"))
def test_a_choice_reads_as_it_was_written(data, options, reply):
    answer = choice(*options, reply=reply)
    meant = says(data.draw(st.sampled_from(options)))
    # Where a reply of one option holds that of another, a text gives both: that is no form.
    within = [answer.write(says(option)).casefold() for option in options]
    written = answer.write(meant).casefold()
    assume(not any(other in written and other != written for other in within))
    assert answer.read(answer.write(meant)) == meant


WHY = Choice(
    kind="choice",
    options=CUES.options,
    reply="<a>{answer}</a>",
    explanation="<why>{explanation}</why>",
)


@given(st.sampled_from(WHY.options), st.text().filter(lambda text: "why>" not in text.casefold()))
@example("smile", "not <a>dull</a>\nbut <a>bright</a>")
def test_an_explained_choice_reads_as_it_was_written_in_any_order(label, text):
    meant = says(label, text=text.strip())
    assert WHY.read(WHY.write(meant)) == meant
    assert WHY.read(f"<WHY>{text}</why> so <a>{label.upper()}</a>") == meant


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("<a>dull</a>", says("dull")),
        ("<a>dull</a> <why> the sound", says("dull", text="the sound")),  # cut off
        ("<a>dull</a> <why>a</why> <why>b</why>", says("dull")),  # says two things
        ("<why>dull: a dull sound</why>", None),
        ("<a>dull</a> <a>bright</a> <why>x</why>", None),
    ],
)
def test_an_explanation_may_be_missing_and_a_label_may_not(text, reading):
    assert WHY.read(text) == reading


def test_an_answer_without_an_explanation_is_what_it_was_before_there_was_any():
    assert "explanation" not in CUES.model_dump()
    assert (CUES.explains, WORDS.explains, WHY.explains) == (False, False, True)
    for wrong in ("{explanation}", " {explanation}", "why: text", "{explanation} {explanation}"):
        with pytest.raises(ValidationError, match="exactly once, and something before it"):
            Choice(kind="choice", options=CUES.options, explanation=wrong)


@given(st.data(), ALIKE, NOTHING, NOTHING)
def test_of_options_that_begin_alike_the_whole_one_is_read(data, options, before, after):
    answer = choice(*options)
    meant = says(data.draw(st.sampled_from(options)))
    assert answer.read(before + answer.write(meant) + after) == meant


@given(
    LABELS,
    st.sampled_from(["{answer}", "<answer>{answer}</answer>", "Words: {answer}", "[{answer}]"]),
)
@example(frozenset(), "{answer}")
def test_labels_read_as_they_were_written(labels, reply):
    answer = Labels(kind="labels", reply=reply)
    assert answer.read(answer.write(Reading(labels))) == Reading(labels)
    assert answer.meant(sorted(labels)) == labels
    assert answer.meant(str(sorted(labels))) == labels


@given(st.text())
def test_text_reads_as_it_was_written(text):
    answer = Text(kind="text")
    assert answer.read(answer.write(says(text=text))) == (
        says(text=text.strip()) if text.strip() else None
    )
    assert answer.meant(text) is None


@given(OPTIONS, st.text())
def test_whatever_a_model_writes_reads_as_an_option_or_as_nothing(options, text):
    for reply in ("{answer}", "<answer>{answer}</answer>"):
        found = choice(*options, reply=reply).read(text)
        assert found is None or (len(found.labels) == 1 and found.labels <= set(options))


# Letters that Python's regular expressions take for others, whatever the case.
@pytest.mark.parametrize("text", ["br\u0131ght", "SM\u0130LE", "sm\u0131le"])
def test_letters_that_are_another_letter_are_no_option(text):
    assert CUES.read(text) is None


@pytest.mark.parametrize(
    ("options", "reply", "text", "label"),
    [
        (("no", "not sure", "yes"), "{answer}", "I am not sure.", "not sure"),
        (("no", "not sure", "yes"), "{answer}", "No.", "no"),
        (("no", "no one", "yes"), "[{answer}]", "[no one]", "no one"),
        (("no", "no one", "yes"), "[{answer}]", "[ NO ]", "no"),
        (("glad", "glad, then sad"), "{answer}", "First glad, then sad!", "glad, then sad"),
        (("A", "A+"), "grade {answer}", "A grade A+ work", "A+"),
        (("C", "C++"), "{answer}", "c++", "C++"),
        (("高兴", "悲伤"), "答案是{answer}。", "我想答案是高兴。", "高兴"),
        (("straße", "weg"), "{answer}", "STRASSE", "straße"),
    ],
)
def test_examples_of_options(options, reply, text, label):
    assert choice(*options, reply=reply).read(text) == says(label)


@pytest.mark.parametrize(
    "text",
    [
        *("", "smiled", "a frowner", "smile or frown", "not dull but bright", "dullbright"),
        *("smile, smile, bright", "S m i l e"),
    ],
)
def test_texts_that_give_no_option_or_several(text):
    assert CUES.read(text) is None


@given(st.lists(st.sampled_from(CUES.options), min_size=1, max_size=5), NOTHING)
def test_a_text_with_several_replies_says_what_all_of_them_say(labels, between):
    answer = CUES.model_copy(update={"reply": "<answer>{answer}</answer>"})
    text = between.join(answer.write(says(label)) for label in labels)
    assert answer.read(text) == (says(labels[0]) if len(set(labels)) == 1 else None)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("<answer>Glad, a bit SAD</answer>", {"glad", "a bit sad"}),
        ("I see <Answer>\n* glad\n* sad;\n</ANSWER>.", {"glad", "sad"}),
        ("<answer>glad</answer> That is: <answer>[Glad]</answer>", {"glad"}),
        ("<answer>[]</answer>", set()),
    ],
)
def test_a_list_between_the_marks_of_a_reply(text, labels):
    assert WORDS.read(text) == says(*labels)


@pytest.mark.parametrize(
    "text",
    [
        *("", "glad", "[]", "<answer></answer>", "<answer>, ;</answer>", "<answer>glad"),
        "<answer>glad</answer><answer>sad</answer>",
        "<answer>glad</answer><answer>He may be sad</answer>",
        "<answer>glad</answer><answer>[]</answer>",
        "<answer>the person does not look glad</answer>",
    ],
)
def test_texts_that_give_no_list_or_several(text):
    assert WORDS.read(text) is None


def test_without_marks_around_it_the_whole_text_is_the_list():
    bare = Labels(kind="labels")
    assert bare.read("Glad, sad") == says("glad", "sad")
    assert bare.read("I think that it is a smile") is None
    assert Labels(kind="labels", reply="Words: {answer}").read("So, words: a, b") == says("a", "b")


@pytest.mark.parametrize(
    ("reply", "two", "none"),
    [
        ("{answer}", "calm, sad", "[]"),
        ("[{answer}]", "[calm, sad]", "[]"),
        ('{"emotions": [{answer}]}', '{"emotions": [calm, sad]}', '{"emotions": []}'),
        ("<a>{answer}</a>", "<a>calm, sad</a>", "<a>[]</a>"),
    ],
)
def test_brackets_of_a_reply_are_part_of_the_list(reply, two, none):
    answer = Labels(kind="labels", reply=reply)
    assert answer.write(says("sad", "calm")) == two
    assert answer.write(says()) == none
    # What would be two words, or prose, is written in brackets whatever the reply.
    for label in ("shock and awe", "looking forward to"):
        assert f"[{label}]" in answer.write(says(label))
        assert answer.read(answer.write(says(label))) == says(label)
    assert answer.read(none) == says()


def test_a_reply_with_too_many_words_is_no_answer():
    few = Labels(kind="labels", max_labels=2)
    assert few.read("a, b") == says("a", "b")
    assert few.read("a, b, c") is None
    assert few.read("a, a, a") is None  # nor does that stop
    assert Labels(kind="labels").read("happy, " * 16) == says("happy")
    assert Labels(kind="labels").read("happy, " * 17) is None
    assert "at most 2 words" in few.advice("a, b, c")


# What an archive means


@pytest.mark.parametrize(
    ("answer", "value", "label"),
    [
        *((YES_NO, value, "Yes") for value in (1, "1", "1.0", True, "yes", " Y ", "TRUE", "YES")),
        *((YES_NO, value, "No") for value in (0, 0.0, "0", False, "no", "n", "False")),
        *((YES_NO, value, None) for value in ("", 2, "maybe", "Yes!", [], None)),
        (CUES, " Smile ", "smile"),
        (CUES, "DULL", "dull"),
        *((CUES, value, None) for value in (1, 0, True, "yes", "smiles", "smile, dull")),
        (choice("present", "absent"), "1", "present"),
        (choice("present", "absent"), 0, "absent"),
        (choice("no", "yes"), "no", "no"),  # what an option is called wins
    ],
)
def test_the_label_that_an_archive_means(answer, value, label):
    assert answer.meant(value) == (None if label is None else {label})


def test_an_archives_own_words_are_translated_one_by_one():
    words = {"joy": "Glad", "rage": "angry; loud", "1": "dull", "0": "bright"}
    assert CUES.meant("1", words) == {"dull"}
    assert CUES.meant(0, words) == {"bright"}
    assert CUES.meant("smile", words) == {"smile"}
    assert CUES.meant("joy", words) is None
    assert WORDS.meant(" JOY; sad", words) == {"glad", "sad"}
    assert WORDS.meant(["rage", "joy"], words) == {"angry", "loud", "glad"}
    assert WORDS.meant("none", {"none": "[]"}) == WORDS.meant("[]") == WORDS.meant([]) == set()
    assert WORDS.meant("-1.0; sad", {"-1.0": "bad/awful", "sad": "low"}) is None
    assert WORDS.meant("bad/awful; -1.0", {"-1.0": "low", "bad/awful": "bad"}) == {"bad", "low"}
    # A word that is another's meaning is not translated twice.
    assert CUES.meant("smile", {"smile": "frown", "frown": "smile"}) == {"frown"}


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (["looking forward to", "Joy/Hope", "calm"], {"looking forward to", "joy/hope", "calm"}),
        ([], set()),
        (["calm", "he seems to be quite content"], None),
        (["x" * 61], None),
        (["3"], None),
        ("looking forward to", None),  # in a text it is prose
        (["glad and calm"], {"glad and calm"}),
        ("glad and calm", {"glad", "calm"}),
    ],
)
def test_words_of_a_list_are_those_that_somebody_chose(value, labels):
    assert WORDS.meant(value) == (None if labels is None else frozenset(labels))


def test_a_list_of_one_option_is_that_option():
    assert CUES.meant(["Smile"]) == {"smile"}
    assert CUES.meant(["smile", "frown"]) is None


def test_advice_names_the_nearest_option_and_all():
    assert CUES.advice("smil") == "did you mean smile? a label is one of smile, frown, bright, dull"
    assert CUES.advice("zzz") == "a label is one of smile, frown, bright, dull"


# What is decided


def test_an_option_is_absence_where_that_is_said():
    assert YES_NO.absent == "No"
    assert choice("Yes", "No").absent is None
    assert CUES.absent is WORDS.absent is Text(kind="text").absent is None


REACHED = [Candidate("frown", 0.4), Candidate("smile", 0.4), Candidate("dull", 0.3)]


@pytest.mark.parametrize(
    ("reached", "tie", "label"),
    [
        (REACHED, "score", "smile"),  # as likely, and earlier
        (REACHED[::-1], "score", "smile"),
        ([*REACHED, Candidate("bright", 0.5)], "score", "bright"),
        (REACHED, "undecided", None),
        (REACHED, "dull", "dull"),
        (REACHED[:1], "undecided", "frown"),  # one alone is no tie
        (REACHED[:1], "dull", "frown"),
        ([], "score", None),
        ([], "dull", None),
    ],
)
def test_which_option_of_several_is_decided_for(reached, tie, label):
    assert CUES.settle(reached, tie) == (None if label is None else {label})


def test_all_labels_with_votes_enough_are_decided_for():
    assert WORDS.settle([Candidate("a", 0.1), Candidate("b", 0.9)], "score") == {"a", "b"}
    assert WORDS.settle([], "score") == frozenset()
    assert Text(kind="text").settle([], "score") is None


def test_most_votes():
    assert CUES.most({"smile": 2, "frown": 3, "bright": 0, "dull": 0}, 5) == 3
    assert CUES.most({"smile": 0, "frown": 0}, 2) == 1  # what nobody says has not most votes
    assert [WORDS.most({}, voters) for voters in (1, 2, 3, 4)] == [1, 2, 2, 3]


def test_labels_are_sorted_by_the_options_or_the_alphabet():
    assert sorted(["dull", "smile", "odd", "frown"], key=CUES.rank) == [
        "smile", "frown", "dull", "odd",
    ]  # fmt: skip
    assert sorted(["b", "a"], key=WORDS.rank) == ["a", "b"]


# What an answer may be


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"kind": "choice", "options": [True, False]}, 'write them as "Yes" and "No"'),
        ({"kind": "choice", "options": ["a"]}, "at least 2 items"),
        ({"kind": "choice", "options": ["a", "A"]}, "'a' is there twice"),
        ({"kind": "choice", "options": ["a", " b"]}, "' b' is no word"),
        ({"kind": "choice", "options": ["a", ""]}, "'' is no word"),
        ({"kind": "choice", "options": ["a", "x {answer}"]}, "is no word"),
        ({"kind": "choice", "options": ["a", "Undecided"]}, "a policy of reduce"),
        ({"kind": "choice"}, "Field required"),
        ({"kind": "choice", "options": ["a", "b"], "absent": "a"}, "none of the options after the"),
        ({"kind": "choice", "options": ["a", "b"], "absent": "c"}, "absent is 'c', which is none"),
        ({"kind": "choice", "options": ["a", "b"], "absent": False}, 'write them as "Yes" and'),
        ({"kind": "choice", "options": ["a", "b"], "reply": "a or b"}, "exactly once"),
        ({"kind": "labels", "reply": "{answer} {answer}"}, "exactly once"),
        ({"kind": "labels", "options": ["a", "b"]}, "Extra inputs"),
        ({"kind": "text", "reply": "{answer}"}, "Extra inputs"),
        ({"kind": "number"}, "'choice', 'labels', 'text'"),
        ({"options": ["a", "b"]}, "kind"),
    ],
)
def test_an_answer_that_is_none_says_why(values, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        TypeAdapter(Answer).validate_python(values)


@pytest.mark.parametrize(
    "answer", [YES_NO, CUES, WORDS, Text(kind="text")], ids=lambda answer: answer.kind
)
def test_an_answer_is_data(answer):
    kinds = TypeAdapter(Answer)
    assert kinds.validate_json(kinds.dump_json(answer)) == answer
    assert kinds.validate_python(answer.model_dump(mode="json")) == answer
