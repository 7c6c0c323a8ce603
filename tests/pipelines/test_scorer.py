"""What an engine hands over, and the row that it becomes: without Ray."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ah_ray import schemas
from ah_ray.engines.engine import Reply
from ah_ray.members import Member
from ah_ray.pipelines.scorer import checked, prediction

SURE, EVEN = {"Yes": 1.0, "No": 0.0}, {"Yes": 0.5, "No": 0.5}


@pytest.mark.parametrize(
    "said",
    [None, "Yes", Reply(None), Reply(b"Yes"), Reply("\ud800"), Reply("Yes", 0.5),
     Reply("Yes", {"Yes": "high", "No": 0.5}), Reply("Yes", {"Yes": 0.5}),
     Reply("Yes", EVEN | {"Perhaps": 0.0}), Reply("Yes", EVEN, "much")],
)  # fmt: skip
def test_what_is_no_reply_is_not_taken_for_one(said: Any, member: Member) -> None:
    with pytest.raises((TypeError, ValueError)):
        checked(said, member)


def test_numbers_of_a_reply_become_plain_ones_in_the_order_of_the_options(member: Member) -> None:
    said = Reply("Yes", {"No": np.float32(0.5), "Yes": np.float32(0.5)}, np.float32(1))
    found = checked(said, member)
    assert found == Reply("Yes", EVEN, 1.0)
    assert list(found.chances or ()) == ["Yes", "No"]
    assert type(found.mass) is float


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("<answer>No</answer>", SURE, 1.0), ("ok", ["No"], list(SURE.items()))),
        (Reply("<answer>no</answer>"), ("ok", ["No"], None)),
        (Reply("who knows", SURE), ("unparseable", None, list(SURE.items()))),
        (Reply(None, {"Yes": 0.4, "No": 0.6}), ("ok", ["No"], [("Yes", 0.4), ("No", 0.6)])),
        (Reply(None, EVEN), ("ok", ["Yes"], list(EVEN.items()))),
    ],
)
def test_a_reply_says_what_it_reads_or_weighed_what_is_likeliest(
    reply: Reply, expected: tuple[Any, ...], member: Member
) -> None:
    clip = {"clip_id": "a", "video_id": "v", "damage": 0, "error_kind": None, "error": None}
    row = prediction(clip, reply, member, 1)
    assert (row["status"], row["labels"], row["chances"]) == expected
    assert row["raw_text"] == reply.text
    tables_of_one = pa.Table.from_pylist([row], schema=schemas.PREDICTIONS)
    assert tables_of_one["labels"].to_pylist() == [expected[1]]
