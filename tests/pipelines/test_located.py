"""Clips and their answers beside annotated intervals."""

import pyarrow as pa

from ah_ray import schemas
from ah_ray.pipelines.located import located

VIDEOS = [
    {"video_id": "a", "labels": ["Yes"], "intervals": [{"start_s": 5.0, "end_s": 10.0}]},
    {"video_id": "b", "labels": ["No"], "intervals": []},
    {"video_id": "c", "labels": ["Yes"], "intervals": []},  # nobody says where
]
CLIPS = [
    {"clip_id": f"{video}{n}", "video_id": video, "start_s": 5.0 * n, "end_s": 5.0 * n + 5}
    for video in "abcd" for n in range(2)
]  # fmt: skip


def answers(**said: str) -> list[dict[str, object]]:
    """By member, for each clip a letter: y, n, or e for an error."""
    rows = []
    for member, letters in said.items():
        for clip, letter in zip(CLIPS, letters, strict=True):
            row = {"member": member, "clip_id": clip["clip_id"], "video_id": clip["video_id"]}
            ok = letter != "e"
            labels = [{"y": "Yes", "n": "No"}[letter]] if ok else None
            rows.append(row | {"status": "ok" if ok else "error", "labels": labels})
    return rows


def tables(**said: str) -> tuple[pa.Table, pa.Table, pa.Table]:
    with_member = schemas.PREDICTIONS.append(pa.field("member", pa.string()))
    return (
        pa.Table.from_pylist(VIDEOS, schema=schemas.VIDEOS),
        pa.Table.from_pylist(CLIPS, schema=schemas.CLIPS),
        pa.Table.from_pylist(answers(**said), schema=with_member),
    )


def test_members_are_measured_where_intervals_are_annotated() -> None:
    found = located(*tables(right="nynnyyyy", late="ynnnnnnn", lost="eennnnnn"))
    assert {name: list(labels) for name, labels in found.items()} == {
        "late": ["Yes"], "lost": ["Yes"], "right": ["Yes"],
    }  # fmt: skip
    right, late, lost = (found[name]["Yes"] for name in ("right", "late", "lost"))
    assert (right["videos"], right["intervals"], right["seconds"]) == (2, 1, 5)
    assert (right["f1"], right["mean_iou"]) == (1, 1)
    assert (late["f1"], late["precision"]) == (0, 0)
    assert (lost["recall"], lost["precision"]) == (0, None)


def test_an_interval_may_have_a_label_of_its_own() -> None:
    videos, clips, said = tables(one="nynnnnnn")
    rows = videos.to_pylist()
    rows[0]["intervals"][0]["label"] = "Maybe"
    found = located(pa.Table.from_pylist(rows, schema=schemas.VIDEOS), clips, said)
    assert list(found["one"]) == ["Maybe"]
    assert found["one"]["Maybe"]["recall"] == 0
    # In the video b nobody says so, and c has no such label: both count, without a truth.
    assert found["one"]["Maybe"]["videos"] == 3


def test_without_intervals_there_is_nothing() -> None:
    videos, clips, said = tables(one="nynnnnnn")
    assert located(videos.slice(1), clips, said) == {}
    assert located(videos, clips, said.slice(0, 0)) == {}
