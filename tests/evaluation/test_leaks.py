from collections.abc import Mapping

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.contents import contents_of
from ah_ray.evaluation.leaks import Leak, LeakError, find_leaks, require_no_leaks
from ah_ray.schemas import VIDEOS


def table(
    *rows: tuple[str | None, str, str | None], contents: Mapping[str, str] | None = None
) -> pa.Table:
    """Videos from participant, file and split, and what their files hold."""
    return pa.Table.from_pylist(
        [
            {"video_id": str(n), "participant_id": person, "uri": uri, "split": split}
            | {"content": (contents or {}).get(uri)}
            for n, (person, uri, split) in enumerate(rows)
        ],
        schema=VIDEOS,
    )


def test_a_participant_in_two_splits_is_found():
    videos = table(("p1", "a", "train"), ("p1", "b", "test"), ("p2", "c", "test"))
    assert find_leaks(videos) == [Leak("participant", "p1", ("test", "train"))]


def test_a_file_in_two_splits_is_found():
    videos = table(("p1", "a", "train"), ("p2", "a", "val"), ("p3", "c", "test"))
    assert find_leaks(videos) == [Leak("file", "a", ("train", "val"))]


def test_a_file_is_found_without_participants():
    assert find_leaks(table((None, "a", "train"), (None, "a", "test")))


def test_separate_splits_are_fine():
    videos = table(
        *(("p1", "a", "train"), ("p1", "b", "train"), ("p1", "b", "train")),
        *(("p2", "c", "val"), ("p3", "d", "test"), ("p3", "e", "test")),
    )
    assert find_leaks(videos) == []
    require_no_leaks(videos)


def test_unknown_participants_are_not_one_person():
    assert find_leaks(table((None, "a", "train"), (None, "b", "test"))) == []


def test_videos_without_a_split_belong_to_none():
    assert find_leaks(table(("p1", "a", "train"), ("p1", "a", None), ("p1", "b", None))) == []


def test_nothing_leaks_nothing():
    require_no_leaks(VIDEOS.empty_table())


def test_the_error_names_who_is_where_and_the_fix():
    videos = table(*((f"p{n}", f"{split}{n}", split) for n in range(12) for split in ("a", "b")))
    with pytest.raises(LeakError, match="12 items") as caught:
        require_no_leaks(videos)
    assert "participant p0 is in a and b" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert "fix:" in str(caught.value)


@given(
    st.data(),
    st.lists(
        st.tuples(
            st.sampled_from(["p1", "p2", "p3", None]),
            st.sampled_from("abcd"),
            st.sampled_from(["train", "test", None]),
        )
    ),
)
def test_every_leak_is_found_in_any_order(data, rows):
    found = find_leaks(table(*rows))
    kinds = {"participant": 0, "file": 1}
    expected = {
        (kind, row[column])
        for kind, column in kinds.items()
        for row in rows
        for other in rows
        if row[column] is not None and row[column] == other[column]
        if None not in (row[2], other[2]) and row[2] != other[2]
    }
    assert {(leak.kind, leak.item) for leak in found} == expected
    assert find_leaks(table(*data.draw(st.permutations(rows)))) == found


# The same recording under two names


def test_a_content_in_two_splits_is_found_under_both_names():
    rows = ("p1", "a", "train"), ("p2", "b", "test"), ("p3", "c", "test")
    videos = table(*rows, contents={"a": "same", "b": "same", "c": "other"})
    assert find_leaks(videos) == [Leak("content", "a = b", ("test", "train"))]
    assert find_leaks(table(*rows, contents={"b": "same", "c": "same"})) == []


def test_a_copy_of_a_video_is_a_leak_and_a_similar_video_is_none(tmp_path):
    recording = bytes(range(256)) * 1000
    for name, data in {
        **{"a.mp4": recording, "copy.mp4": recording, "longer.mp4": recording + b"x"},
        **{"head.mp4": b"x" + recording[1:], "tail.mp4": recording[:-1] + b"x"},
        **{"short.mp4": b"12", "other.mp4": b"34", "empty.mp4": b""},
    }.items():
        (tmp_path / name).write_bytes(data)
    names = ["copy", "longer", "head", "tail", "short", "other", "empty", "missing"]
    rows = [(None, str(tmp_path / f"{name}.mp4"), "test") for name in names]
    rows.append((None, str(tmp_path / "a.mp4"), "train"))
    found = contents_of(uri for _, uri, _ in rows)
    assert isinstance(found[f"{tmp_path}/missing.mp4"], FileNotFoundError)
    contents = {uri: content for uri, content in found.items() if isinstance(content, str)}
    assert len(set(contents.values())) == len(names) - 1
    videos = table(*rows, contents=contents)
    (leak,) = find_leaks(videos)
    assert leak.item == f"{tmp_path}/a.mp4 = {tmp_path}/copy.mp4"
    with pytest.raises(LeakError, match=r"copy\.mp4 is in test and train"):
        require_no_leaks(videos)


# One person under several spellings


@pytest.mark.parametrize(
    "spellings",
    [("P1", "p1"), ("7", "07"), ("7", "7.0"), ("a 1", "a1"), ("Jos\u00e9", "Jose\u0301")],
)
def test_a_participant_is_found_under_every_spelling(spellings):
    one, other = spellings
    videos = table((one, "a", "train"), (other, "b", "test"), ("someone", "c", "test"))
    item = " = ".join(sorted(spellings))
    assert find_leaks(videos) == [Leak("participant", item, ("test", "train"))]
    with pytest.raises(LeakError, match="is in test and train") as caught:
        require_no_leaks(videos)
    assert item in str(caught.value)
    assert find_leaks(table((one, "a", "train"), (other, "b", "train"))) == []
