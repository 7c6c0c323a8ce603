"""Which videos are worth annotating next."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.evaluation.suggest import Candidate, disagreement, doubt, rarity, suggest

YES, NO = frozenset({"Yes"}), frozenset({"No"})


def video(name: str, votes=(YES, YES), chance: float = 0.9, **attributes: str) -> Candidate:
    return Candidate(name, votes, [chance, 1 - chance], True, attributes)


def test_who_is_worth_most_and_why() -> None:
    labelled = [{"question": "1"}] * 5 + [{"question": "2"}]
    found = suggest(
        [
            video("sure", question="1"),
            video("split", (YES, NO), question="1"),
            video("near", chance=0.55, question="1"),
            video("rare", question="2"),
            Candidate("lost", [], [], True, {"question": "3"}),
        ],
        labelled,
        most=4,
    )
    assert [one.video_id for one in found] == ["lost", "split", "near", "rare"]
    assert found[0].reasons == ("nothing was answered", "few with question 3 are labelled")
    assert found[1].reasons == ("the members disagree",)
    assert found[2].reasons == ("the ensemble is unsure",)
    assert found[3].reasons == ("few with question 2 are labelled",)


def test_sets_of_words_disagree_by_degrees() -> None:
    sets = [frozenset({"glad", "calm"}), frozenset({"glad"})]
    assert disagreement(sets) == 0.5
    assert disagreement([*sets, frozenset()]) == pytest.approx((0.5 + 1 + 1) / 3)
    assert disagreement([frozenset(), frozenset()]) == disagreement([YES]) == 0
    assert doubt([0.5, 0.0], exclusive=False) == 0.5
    assert doubt([0.4, 0.35, 0.25], exclusive=True) == pytest.approx(0.95)


def test_a_name_is_no_group() -> None:
    names = {"name": Counter("abc"), "age": Counter("334")}
    assert rarity({"name": "d", "age": "3"}, names) == (0.0, None)
    assert rarity({"age": "5"}, names) == (1.0, "age")
    assert rarity({"age": "5"}, {}) == (0.0, None)


chances = st.lists(st.floats(0, 1), min_size=2, max_size=2)
votes = st.lists(st.sampled_from([YES, NO]), max_size=4)
some = st.lists(
    st.tuples(votes, chances, st.sampled_from("ab")).map(
        lambda row: Candidate("", row[0], row[1], True, {"age": row[2]})
    ),
    max_size=6,
).map(lambda rows: [row._replace(video_id=f"v{k}") for k, row in enumerate(rows)])


@given(some, st.integers(1, 6), st.randoms())
def test_the_order_changes_nothing_and_worth_is_bounded(videos, most, random) -> None:
    labelled = [{"age": "a"}, {"age": "a"}, {"age": "b"}]
    found = suggest(videos, labelled, most)
    assert found == suggest(random.sample(videos, len(videos)), labelled, most)
    assert len(found) == min(most, len(videos))
    assert all(0 <= one.worth <= 3 + 1e-9 for one in found)
    assert [one.worth for one in found] == sorted((one.worth for one in found), reverse=True)
