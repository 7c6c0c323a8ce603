import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.tasks.answers import Labels, Reading
from ah_ray.tasks.lists import is_chosen, listed, tidy, words_stated

ANSWER = Labels(kind="labels")


def labels(text: str) -> set[str] | None:
    reading = ANSWER.read(text)
    return None if reading is None else set(reading.labels)


@given(st.text() | st.text("[]{}\"',:;-1. \nandéfi", max_size=40))
def test_whatever_is_written_reads_as_words_or_as_nothing(text):
    found = labels(text)
    assert found is None or all(is_chosen(word) and tidy(word) == word for word in found)
    if found is not None:
        assert labels(ANSWER.write(Reading(frozenset(found)))) == found


@given(st.lists(st.sampled_from(["happy", "a bit sad", "self-doubt", "高兴"]), min_size=1))
def test_the_form_of_a_list_changes_nothing(words):
    forms = [
        *(", ".join(words), "\u3001".join(words), "; ".join(words), "\n".join(words)),
        *(" and ".join(words), f"[{', '.join(words)}]", str(words), f"Emotions: {words}"),
        "\n".join(f"- {word}" for word in words),
        "\n".join(f"{number}. {word}" for number, word in enumerate(words, 1)),
        "The emotions are:\n" + "\n".join(f"* **{word.title()}**" for word in words),
    ]
    expected = set(words) if len(words) <= ANSWER.max_labels else None
    assert {form: labels(form) for form in forms} == dict.fromkeys(forms, expected)


HAPPY, BOTH = {"happy"}, {"happy", "sad"}
READ = [
    # as they are asked for
    ("happy", HAPPY),
    ("Happy, sad", BOTH),
    ("happy,sad,", BOTH),
    ("happy, , sad", BOTH),
    ("[happy, sad]", BOTH),
    ("[ Happy ]", HAPPY),
    ("['happy', 'sad']", BOTH),
    ('["happy", "sad"]', BOTH),
    ('["happy, sad"]', BOTH),
    ("[happy, sad].", BOTH),
    ("happy; sad", BOTH),
    # in brackets it is clear where a word ends
    ("[looking forward to, shock and awe]", {"looking forward to", "shock and awe"}),
    ('["Joy/Hope", "not at ease"]', {"joy/hope", "not at ease"}),
    # none
    ("[]", set()),
    (" [ ]\n", set()),
    ('[""]', set()),
    ("Answer: []", set()),
    ('{"emotions": []}', set()),
    ("```json\n[]\n```", set()),
    # spelling
    ("HAPPY\u3002", HAPPY),
    ("\uff28\uff21\uff30\uff30\uff39\uff0c\uff33\uff21\uff24", BOTH),
    ("\u201chappy\u201d, \u2018sad\u2019.", BOTH),
    ("**happy**, *sad*", BOTH),
    ("`happy` `", HAPPY),
    ("happy!", HAPPY),
    ("very   happy\u2026", {"very happy"}),
    ("\xa0happy", HAPPY),
    ("touch-and-go, don juan's joy", {"touch-and-go", "don juan's joy"}),
    ("na\u0131ve, nai\u0308ve", {"na\u0131ve", "na\xefve"}),
    # Chinese
    ("高兴\uff0c悲伤", {"高兴", "悲伤"}),
    ("高兴、悲伤\uff1b焦虑。", {"高兴", "悲伤", "焦虑"}),
    ("【高兴、悲伤】", {"高兴", "悲伤"}),
    ("\uff3b高兴\uff0c悲伤\uff3d", {"高兴", "悲伤"}),
    ("情绪\uff1a高兴、悲伤", {"高兴", "悲伤"}),
    ("人物的情绪是高兴。", {"高兴"}),
    ("1、高兴\n2、悲伤", {"高兴", "悲伤"}),
    ("「高兴」", {"高兴"}),
    # lines
    ("happy\nsad", BOTH),
    ("- happy\n- sad\n", BOTH),
    ("\u2022 Happy\r\n\u2022 Sad", BOTH),
    ("1. happy\n\n2. sad", BOTH),
    ("1) happy\n2) sad", BOTH),
    ("(1) happy\n(2) sad", BOTH),
    ("Here are the emotions:\n- happy\n- sad", BOTH),
    # habits of chat models
    ("Answer: happy", HAPPY),
    ("answer: [happy, sad]", BOTH),
    ("**Answer:** happy, sad.", BOTH),
    ("The answer is: [happy, sad]", BOTH),
    ("emotion is happy, sad.", BOTH),
    ("The emotions are happy and sad.", BOTH),
    ("The character's emotions are: happy, calm, and sad.", {*BOTH, "calm"}),
    ("The person's main emotion is happy.", HAPPY),
    ("Emotional state: happy & sad", BOTH),
    ("```\nhappy, sad\n```", BOTH),
    ('```json\n["Happy", "Sad"]\n```', BOTH),
    ('```json\n{"emotions": ["happy", "sad"]}\n```', BOTH),
    ('Answer:\n```json\n["happy"]\n```', HAPPY),
    ('{"Emotions": ["happy"]}', HAPPY),
    ('{"labels": ["happy"]}', HAPPY),
]
PROSE = [
    # nothing
    *("", " \n ", ",", ", ;", "-", "...", "Answer:", "The emotions are", "```\n```"),
    *("none", "None.", "[none]", "null", "[null]", "nothing", "unknown", "N/A", "no emotion"),
    # refusals
    *("Sorry.", "I'm sorry, but I cannot help with that.", "I cannot determine the emotions."),
    *("Unable to tell", "As an AI, I can't see videos.", "The emotions are not clear."),
    *("I can't name the emotion: sad", "The emotion is unclear", "Not sure", "isn't sad"),
    *("无法判断", "抱歉\uff0c我不能回答", "他很高兴", "这个人看起来非常高兴而且很激动"),
    # prose
    *("He is happy", "The person smiles", "a happy person", "happy, but he may be sad"),
    *("Happy. Sad.", "Happy? ", "happy or sad", "happy because of the gift", "not happy"),
    *("a rather long row of words", "happy, sad\n\nThe face smiles.", "He smiles: happy"),
    *("Based on the clip, the emotion is happy", "The emotion is that of a happy man"),
    *("[I cannot tell]", "[he seems happy]", "[can't tell, sad]", '["Sorry."]', "[他很高兴]"),
    # other forms
    *("happy/sad", "happy (80%)", "happy: 0.8", "happy=1", "happy -> sad", "a | b"),
    *("[happy, sa", "happy]", "[happy] [sad]", "[[happy]]", "a [happy] b", "(happy", "{happy}"),
    *("{}", '{"a": 1}', '{"reasons": ["happy"]}', '{"emotions": "happy"}', "{'emotions': ['a']}"),
    *('[{"emotion": "happy"}]', '[["happy"]]', "[1, 2]", "1, 2", "3", "true: happy"),
    *('{"emotions": ["happy"], "reason": "a smile"}', '["happy"] because', "[" * 10_000),
    *("1. happy 2. sad", "1. happy, 2. sad", "- Happy: a smile", "Emotions: happy\nReason: smile"),
    *("\U0001f600 happy", "<answer>happy</answer>", "<think>", "happy\u200b", "\ud800"),
]


@pytest.mark.parametrize(("text", "found"), READ)
def test_replies_that_are_lists(text, found):
    assert labels(text) == found


@pytest.mark.parametrize("text", PROSE)
def test_replies_that_are_prose_are_never_guessed_at(text):
    assert labels(text) is None


def test_a_list_for_people():
    assert listed({"sad", "calm"}) == "calm, sad"
    assert listed(()) == "[]"
    assert words_stated(listed(())).words == []
