import csv
import json
import math
from functools import partial

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ah_ray.catalog import CatalogEntry, read_catalog
from ah_ray.catalog.against_config import against_config
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.findings import LEFT_OUT
from ah_ray.schemas import VIDEOS, stable_id
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Choice, Text
from ah_ray.training.config import TrainConfig

read_catalog = partial(read_catalog, answer=load_task("cue_conflict").answer)

ENTRY = CatalogEntry(title="table", reader="table")
ROWS = [
    {
        "uri": "a/1.mp4",
        "participant_id": "007",
        "split": "train",
        "label": 1,
        "intervals": [[0.5, 2.0], [3, 4]],
        "camera": "front",
    },
    {"uri": "s3://bucket/2.mp4", "video_id": "two", "label": 0, "camera": "back"},
    {"uri": "/elsewhere/3.mp4", "participant_id": "008"},
]
NAMES = ["uri", "video_id", "participant_id", "split", "label", "intervals", "camera"]


def write_parquet(rows, path):
    columns = {name: [row.get(name) for row in rows] for name in NAMES}
    columns["label"] = pa.array([math.nan if x is None else x for x in columns["label"]], "double")
    columns["intervals"] = [
        pairs and [{"start_s": float(s), "end_s": float(e)} for s, e in pairs]
        for pairs in columns["intervals"]
    ]
    pq.write_table(pa.table(columns), path)


def write_csv(rows, path):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(NAMES)
        for row in rows:
            cells = (
                {**row, "intervals": json.dumps(row["intervals"])} if "intervals" in row else row
            )
            writer.writerow([cells.get(name) for name in NAMES])


def write_jsonl(rows, path):
    path.write_text("\n".join(json.dumps(row) for row in rows))


WRITERS = {"parquet": write_parquet, "csv": write_csv, "jsonl": write_jsonl}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_videos(tmp_path, suffix):
    path = tmp_path / f"videos.{suffix}"
    WRITERS[suffix](ROWS, path)
    catalog = read_catalog(ENTRY, str(path))
    assert catalog.findings == []
    assert catalog.videos == [
        {
            "video_id": stable_id("a/1.mp4"),
            "uri": f"{tmp_path}/a/1.mp4",
            "participant_id": "007",
            "split": "train",
            "labels": ["Yes"],
            "intervals": [
                {"start_s": 0.5, "end_s": 2.0, "label": None},
                {"start_s": 3.0, "end_s": 4.0, "label": None},
            ],
            "subtitles": [],
            "attributes": [("camera", "front")],
        },
        {
            "video_id": "two",
            "uri": "s3://bucket/2.mp4",
            "participant_id": None,
            "split": None,
            "labels": ["No"],
            "intervals": [],
            "subtitles": [],
            "attributes": [("camera", "back")],
        },
        {
            "video_id": stable_id("/elsewhere/3.mp4"),
            "uri": "/elsewhere/3.mp4",
            "participant_id": "008",
            "split": None,
            "labels": None,
            "intervals": [],
            "subtitles": [],
            "attributes": [],
        },
    ]
    stored = pa.Table.from_pylist(catalog.videos, schema=VIDEOS).drop_columns("content")
    assert stored.to_pylist() == catalog.videos


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_intervals_with_labels_of_their_own_in_every_format(tmp_path, suffix):
    path = tmp_path / f"videos.{suffix}"
    intervals = [
        {"start_s": 1.0, "end_s": 2.0, "label": "Frown"},
        {"start_s": 0.5, "end_s": 1.0, "label": None},
    ]
    row = {"uri": "1.mp4", "label": "smile", "intervals": intervals}
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif suffix == "jsonl":
        path.write_text(json.dumps(row))
    else:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([row, [*list(row.values())[:2], json.dumps(intervals)]])
    answer = Choice(kind="choice", options=("smile", "frown", "bright"))
    catalog = read_catalog(ENTRY, str(path), answer=answer)
    assert catalog.findings == []
    assert catalog.videos[0]["labels"] == ["smile"]
    assert catalog.videos[0]["intervals"] == [
        {"start_s": 0.5, "end_s": 1.0, "label": None},
        {"start_s": 1.0, "end_s": 2.0, "label": "frown"},
    ]


def test_who_asks_for_text_is_told_of_no_labels(tmp_path):
    write_jsonl([{"uri": "1.mp4", "label": "happy"}], tmp_path / "v.jsonl")
    catalog = read_catalog(ENTRY, str(tmp_path / "v.jsonl"), answer=Text(kind="text"))
    assert [video["labels"] for video in catalog.videos] == [None]
    assert "label_invalid" not in [finding["kind"] for finding in catalog.findings]


def test_every_bad_row_is_a_finding(tmp_path):
    path = tmp_path / "videos.jsonl"
    lines = [
        '{"uri": "1.mp4", "participant_id": "a", "split": "train"}',
        '{"uri": "2.mp4", "participant_id": "a", "split": "test"}',
        '{"uri": "1.mp4"}',
        "no json",
        "",
        "[1]",
        '{"uri": null}',
        '{"uri": 5}',
        '{"uri": "\\ud800.mp4"}',
        '{"uri": "a.mp4", "note": ' + "[" * 100_000,
        '{"uri": "../out.mp4"}',
        '{"uri": "unheard-of://x.mp4"}',
        '{"uri": "3.mp4", "label": "maybe"}',
        '{"uri": "7.mp4", "label": 0, "label": 1}',
        '{"uri": "8.mp4", "participant_id": ["a", "b"]}',
        '{"uri": "./4.mp4", "video_id": "again"}',
        '{"uri": "9.mp4", "split": "train"}',
        '{"uri": "9.mp4", "video_id": "nine", "split": "test"}',
        '{"uri": "4.mp4", "label": 1}',
        '{"uri": "5.mp4", "label": 0, "intervals": [[1, 2]]}',
        '{"uri": "6.mp4", "label": true, "intervals": "what"}',
    ]
    path.write_text("\n".join(lines))
    catalog = read_catalog(ENTRY, str(path))
    assert [(f["item_id"].split()[:2][-1], f["kind"]) for f in catalog.findings] == [
        ("4", "bad_row"),
        ("5", "bad_row"),
        ("6", "bad_row"),
        ("7", "bad_row"),
        ("8", "bad_row"),
        ("9", "bad_row"),
        ("10", "unsafe_key"),
        ("11", "bad_row"),
        (stable_id("3.mp4"), "label_invalid"),
        ("13", "bad_row"),
        ("14", "bad_row"),
        (stable_id("4.mp4"), "positive_without_intervals"),
        (stable_id("5.mp4"), "negative_with_intervals"),
        (stable_id("6.mp4"), "interval_unparsable"),
        (stable_id("6.mp4"), "positive_without_intervals"),
        ("3", "duplicate_row"),
        ("16", "video_in_two_splits"),
        ("17", "video_in_two_splits"),
        ("18", "duplicate_uri"),
        ("a", "participant_in_two_splits"),
    ]
    left_out = [f for f in catalog.findings if f["kind"] in LEFT_OUT]
    assert len(catalog.videos) + len(left_out) == len([line for line in lines if line])


def test_ragged_csv_rows_are_findings_at_their_place(tmp_path):
    path = tmp_path / "videos.csv"
    path.write_text('uri,note\n1.mp4,"a, b"\n2.mp4\n\n3.mp4,x,y\n4.mp4,\n')
    catalog = read_catalog(ENTRY, str(path))
    assert [v["attributes"] for v in catalog.videos] == [[("note", "a, b")], []]
    assert [f["item_id"] for f in catalog.findings] == [
        "row 2 of videos.csv",
        "row 3 of videos.csv",
    ]


def test_positives_need_no_intervals_where_the_table_has_none(tmp_path):
    path = tmp_path / "videos.csv"
    path.write_text("uri,label\n1.mp4,1\n2.mp4,0\n")
    catalog = read_catalog(ENTRY, str(path))
    assert [v["labels"] for v in catalog.videos] == [["Yes"], ["No"]]
    assert catalog.findings == []


def test_consent_is_a_column(tmp_path):
    path = tmp_path / "videos.jsonl"
    rows = [{"uri": f"{n}.mp4", "agreed": v} for n, v in enumerate([True, False, "yes", None])]
    write_jsonl(rows, path)
    entry = ENTRY.model_copy(update={"consent": {"agreed": "Yes"}})
    catalog = read_catalog(entry, str(path))
    assert [v["video_id"] for v in catalog.videos] == [stable_id("0.mp4"), stable_id("2.mp4")]
    assert [f["kind"] for f in catalog.findings] == ["consent_denied"] * 2


def test_relative_uris_are_relative_to_a_remote_table(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/lists/videos.csv", b"uri\na/1.mp4\n")
    try:
        catalog = read_catalog(ENTRY, "memory://lists/videos.csv")
    finally:
        memory.rm("/lists", recursive=True)
    assert [v["uri"] for v in catalog.videos] == ["memory://lists/a/1.mp4"]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_table_without_uris_names_the_columns_it_has(tmp_path, suffix):
    path = tmp_path / f"videos.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"path": ["1.mp4"], "label": [1]}), path)
    else:
        path.write_text("path,label\n1.mp4,1\n" if suffix == "csv" else '{"path": 1, "label": 1}')
    with pytest.raises(ConfigError, match=r"no column 'uri'(.|\n)*rename the column 'path'"):
        read_catalog(ENTRY, str(path))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("videos.xlsx", b"", "no known table"),
        ("videos", b"", "no suffix is no known table"),
        ("videos.parquet", b"no parquet", "cannot be read"),
        ("videos.csv", b"\xff\xfe", "cannot be read"),
        ("videos.csv", b"", "no usable video"),
        ("videos.csv", b"uri\n", "no usable video"),
        ("videos.jsonl", b"", "no usable video"),
        ("videos.jsonl", None, "no such file"),
        ("folder.csv", "a folder", "cannot be read"),
    ],
)
def test_an_unusable_table_stops_the_run(tmp_path, name, content, problem):
    path = tmp_path / name
    if content == "a folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        read_catalog(ENTRY, str(path))


def test_a_picture_needs_no_intervals(tmp_path):
    path = tmp_path / "videos.jsonl"
    lines = [
        '{"uri": "1.JPG", "label": "Yes", "split": "train"}',
        '{"uri": "2.png", "label": "No", "split": "train"}',
        '{"uri": "3.mp4", "label": "Yes", "split": "test"}',
        '{"uri": "4.mp4", "label": "Yes", "split": "test", "intervals": [[1, 2]]}',
    ]
    path.write_text("\n".join(lines))
    catalog = read_catalog(ENTRY, str(path))
    (finding,) = (f for f in catalog.findings if f["kind"] == "positive_without_intervals")
    assert finding["item_id"] == stable_id("3.mp4")
    answer = load_task("cue_conflict").answer
    train, score = TrainConfig(splits=["train"]), ScoreConfig(splits=["test"])
    odd = {f["kind"] for f in against_config(catalog.videos, train, score, answer)}
    assert "one_class_training" not in odd
