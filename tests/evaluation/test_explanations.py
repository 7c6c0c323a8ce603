import json
from pathlib import Path

import numpy as np
import pytest

from ah_ray.errors import ConfigError
from ah_ray.evaluation.explanations import explanations
from ah_ray.evaluation.judged import Judged, Written
from ah_ray.evaluation.metrics import measured
from ah_ray.tasks import load_task
from ah_ray.words.judging import pair

REASONING = load_task("emotion_reasoning").answer
SAID = frozenset({"sad"})
REASON = "Tears run down; the voice trembles"  # five keywords


def judged(video_id: str, text: str | None, said=SAID, **stated: str) -> Judged:
    written = None if text is None else Written((text,), text)
    return Judged(SAID, said, {}, video_id, written, stated)


VIDEOS = [
    judged("a", "Tears and a trembling voice", reason=REASON),  # 2 of 3, 2 of 5
    judged("b", "", reasons=REASON),
    judged("c", "No reference"),
    judged("d", "Tears", said=None, reason=REASON),
    judged("e", REASON, reason=REASON, reasons="another"),
]


def judgements(file: Path, **scores: float | None) -> str:
    texts = {"a": "Tears and a trembling voice", "e": REASON}
    content = {
        "judge": "some/model", "made_from": "f", "task": "explanation_judge", "prompt": "short",
        "rubric": "Score it.", "scale": [1, 2, 10],
        "scores": {video: {pair(REASON, texts[video]): score} for video, score in scores.items()},
    }  # fmt: skip
    file.write_text(json.dumps(content))
    return str(file)


def test_keywords_of_answered_videos_with_a_reference():
    found = measured(VIDEOS, [{"explanations": {"reference": ["reason", "reasons"]}}], REASONING)
    assert found["explanations"] == {"videos": 3, "without": 1}
    assert found["keywords_precision"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["keywords_recall"] == pytest.approx((2 / 5 + 0 + 1) / 3)
    assert found["keywords_f1"] == pytest.approx((4 / 8 + 0 + 1) / 3)
    assert "judge_score" not in found


def test_a_judge_is_named_and_what_it_did_not_say_is_counted(tmp_path):
    file = judgements(tmp_path / "judged.json", a=2, e=None)
    argument = {"reference": ["reason", "reasons"], "judged": file}
    found = measured(VIDEOS, ["classes", {"explanations": argument}], REASONING)
    assert found["explanations"] == {"videos": 3, "without": 1, "unread": 1}
    assert found["judge_score"] == pytest.approx((2 + 1) / 2)  # nothing explained: the lowest
    by = found["by"]["judge"]
    assert (by["judge"], by["rubric"], by["scale"]) == ("some/model", "Score it.", [1, 2, 10])
    assert (by["file"], len(by["hash"])) == ("judged.json", 16)
    other = argument | {"judged": judgements(tmp_path / "other.json", a=10, e=10)}
    with pytest.raises(ConfigError, match="would both give numbers called judge"):
        measured(VIDEOS, [{"explanations": argument}, {"explanations": other}], REASONING)


def test_under_weights_it_is_the_same(tmp_path):
    file = judgements(tmp_path / "judged.json", a=2, e=10)
    metric = explanations({"reference": ["reason", "reasons"], "judged": file})
    once = metric(VIDEOS, REASONING)
    under = metric.weighted(VIDEOS, REASONING)(np.array([[1.0] * 5, [0.0, 1, 1, 1, 0]]))
    for name, values in under.items():
        assert values[0] == pytest.approx(once[name])
    assert under["judge_score"][1] == 1.0


def test_what_is_not_judged_as_it_is_now_is_refused(tmp_path):
    file = judgements(tmp_path / "judged.json", e=10)
    with pytest.raises(ConfigError, match=r"no score of an explanation of video a as it is now"):
        explanations({"reference": "reason", "judged": file})(VIDEOS, REASONING)


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ({}, "reference"),
        ({"reference": []}, "reference"),
        ({"reference": "reason", "judged": "nowhere.json"}, "nowhere.json cannot be read"),
    ],
)
def test_what_is_wrong_is_told(argument, problem):
    with pytest.raises(ConfigError, match=problem):
        explanations(argument)


def test_several_members_together_and_other_answers_have_none():
    together = [one._replace(written=None) for one in VIDEOS]
    found = explanations({"reference": "reason"})(together, REASONING)
    assert found["keywords_f1"] is None
    assert found["undefined"]["keywords_f1"].startswith("what several members explain")
    with pytest.raises(ConfigError, match="this one has none"):
        explanations({"reference": "reason"})(VIDEOS, load_task("mer_emotions").answer)
