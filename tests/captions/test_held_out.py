import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import schemas
from ah_ray.captions.held_out import held_out


def videos(*rows) -> pa.Table:
    names = ("video_id", "split", "content", "participant_id")
    plain = [dict(zip(names, row, strict=True)) | {"uri": f"{row[0]}.mp4"} for row in rows]
    return pa.Table.from_pylist(plain, schema=schemas.VIDEOS)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (("a", "train", "x", "9"), None),
        (("a", "train", "c", "9"), "a copy of test.mp4, which is in test"),
        (("a", None, "c", None), "a copy of test.mp4, which is in test"),
        (("a", "train", "x", " P07"), "participant  P07 is in test"),
        (("a", None, "x", "p7"), "participant p7 is in test"),
        (("a", "val", "c", "9"), None),  # is not captioned anyway
        (("a", "train", None, None), None),
    ],
)
def test_whoever_is_in_another_split_stays_out(row, why):
    table = videos(row, ("test", "test", "c", "P7"), ("odd", "test", None, None))
    found = held_out(table, ("train",))
    assert found == ({} if why is None else {"a": why})


SMALL = st.sampled_from(["1", "2", "3", None])


@given(st.lists(st.tuples(st.sampled_from(["train", "val", "test", None]), SMALL, SMALL)))
def test_nobody_who_is_left_is_in_another_split(facts):
    rows = [(str(number), *row) for number, row in enumerate(facts)]
    out = held_out(videos(*rows), ("train",))
    left = [row for row in rows if row[1] in ("train", None) and row[0] not in out]
    others = [row for row in rows if row[1] in ("val", "test")]
    for place in (2, 3):
        shown = {row[place] for row in left} & {row[place] for row in others}
        assert shown <= {None}
    assert out.keys() <= {row[0] for row in rows if row[1] in ("train", None)}
