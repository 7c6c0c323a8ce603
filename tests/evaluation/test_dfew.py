import pytest

from ah_ray.errors import ConfigError
from ah_ray.evaluation.dfew import dfew
from ah_ray.evaluation.judged import Judged, Written
from ah_ray.tasks import load_task

DFEW = load_task("dfew_emotions").answer


def judged(*rows: tuple[str, str]) -> list[Judged]:
    return [Judged(frozenset({true}), None, written=Written((reply,))) for true, reply in rows]


def numbers(*rows: tuple[str, str]) -> tuple[float | None, float | None]:
    found = dfew(judged(*rows), DFEW)
    return found["dfew_war"], found["dfew_uar"]


def test_the_true_word_anywhere_is_a_hit():
    assert numbers(("happy", "UNHAPPY"), ("sad", "not sad at all")) == (1.0, 1.0)
    every = ", ".join(DFEW.options)
    assert numbers(*((option, every) for option in DFEW.options)) == (1.0, 1.0)


def test_misses_are_one_class_more_of_recall_0():
    rows = [("happy", "happy"), ("happy", "sad"), ("sad", "sad")]
    assert numbers(*rows) == (pytest.approx(2 / 3), pytest.approx((0.5 + 1.0 + 0.0) / 3))


def test_that_is_what_scikit_learn_makes_of_another_class():
    from sklearn.metrics import accuracy_score, recall_score

    words = DFEW.options
    rows = [(words[n % 7], words[(n * n) % 7]) for n in range(30)]
    truth, said = zip(*((t, t if t in reply else "miss") for t, reply in rows), strict=True)
    macro = recall_score(truth, said, average="macro", zero_division=0)
    assert numbers(*rows) == (pytest.approx(accuracy_score(truth, said)), pytest.approx(macro))


def test_without_replies_it_is_undefined():
    for one in (Judged(frozenset({"sad"}), None, written=Written(())),
                Judged(frozenset({"sad"}), frozenset({"sad"}))):  # fmt: skip
        found = dfew([one], DFEW)
        assert found["dfew_war"] is found["dfew_uar"] is None
        assert set(found["undefined"]) == {"dfew_war", "dfew_uar"}
    with pytest.raises(ConfigError, match="dfew is for answers with options"):
        dfew([], load_task("captions").answer)
