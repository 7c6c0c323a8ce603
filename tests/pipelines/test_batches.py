"""How clips are put into batches, and which batches are left: on tables."""

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import schemas
from ah_ray.pipelines.batches import clips_in, lacking, of_first_videos, plan_batches

CLIP_ROWS = st.lists(
    st.builds(
        lambda video, number, bucket: {
            "clip_id": f"{video}-{number}", "video_id": str(video), "source_uri": f"{video}.mp4",
            "start_s": number * 5.0, "end_s": number * 5.0 + 5, "bucket": bucket,
        },
        st.integers(0, 6),
        st.integers(0, 40),
        st.sampled_from(["2x64x64", "4x64x96", None]),
    ),
    unique_by=lambda row: row["clip_id"],
    max_size=80,
)  # fmt: skip


def planned(rows: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    return plan_batches(pa.Table.from_pylist(rows, schema=schemas.CLIPS), size).to_pylist()


def ids_of(batch: dict[str, Any]) -> list[str]:
    return [clip["clip_id"] for source in batch["sources"] for clip in source["clips"]]


@given(CLIP_ROWS, st.integers(1, 20), st.randoms())
def test_the_plan_holds_every_clip_once_and_depends_on_no_order(rows, size, random) -> None:
    plan = planned(rows, size)
    ids = [clip for batch in plan for clip in ids_of(batch)]
    assert sorted(ids) == sorted(row["clip_id"] for row in rows)
    assert all(0 < len(ids_of(batch)) <= size for batch in plan)
    random.shuffle(rows)
    assert planned(rows, size) == plan


@given(CLIP_ROWS, st.integers(1, 20))
def test_sources_come_by_size_whole_and_fill_one_batch_after_the_other(rows, size) -> None:
    of_source: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["start_s"], row["clip_id"])):
        of_source.setdefault(row["video_id"], []).append(row)
    batches: list[list[str]] = []
    largest = {name: max(row["bucket"] or "" for row in of) for name, of in of_source.items()}
    for name in sorted(of_source, key=lambda name: (largest[name], name)):
        ids = [row["clip_id"] for row in of_source[name]]
        for piece in (ids[first : first + size] for first in range(0, len(ids), size)):
            if not batches or len(batches[-1]) + len(piece) > size:
                batches.append([])
            batches[-1] += piece
    assert [ids_of(batch) for batch in planned(rows, size)] == batches


@given(CLIP_ROWS, st.integers(1, 20), st.sets(st.integers(0, 79)), st.sets(st.integers(0, 79)))
def test_a_batch_is_done_when_all_members_have_answered_all_of_it(rows, size, one, other) -> None:
    plan = plan_batches(pa.Table.from_pylist(rows, schema=schemas.CLIPS), size)
    have = [
        {row["clip_id"] for n, row in enumerate(rows) if n not in some} for some in (one, other)
    ]
    left = lacking(plan, [pa.chunked_array([pa.array(sorted(ids), pa.string())]) for ids in have])
    missing = [
        batch for batch in plan.to_pylist() if not set(ids_of(batch)) <= set.intersection(*have)
    ]
    assert left.to_pylist() == missing
    assert clips_in(left) == sum(len(ids_of(batch)) for batch in missing)


@given(CLIP_ROWS, st.integers(1, 20), st.integers(1, 8))
def test_a_trial_takes_the_batches_of_the_first_videos(rows, size, limit) -> None:
    plan = plan_batches(pa.Table.from_pylist(rows, schema=schemas.CLIPS), size)
    first = sorted({row["video_id"] for row in rows})[:limit]
    wanted = [
        batch
        for batch in plan.to_pylist()
        if any(source["video_id"] in first for source in batch["sources"])
    ]
    assert of_first_videos(plan, limit).to_pylist() == wanted
    assert of_first_videos(plan, None).equals(plan)
