"""What people write into tables: read as they mean it with a finding, or an error with the fix."""

import json
import socket
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ah_ray.catalog import CatalogEntry, read_catalog
from ah_ray.errors import ConfigError
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Choice, Labels

ENTRY = CatalogEntry(title="table", reader="table")
YES_NO = load_task("cue_conflict").answer
CUES = Choice(kind="choice", options=("smile", "frown", "bright", "dull"))
WORDS = Labels(kind="labels")


@pytest.fixture
def read(tmp_path):
    """A function that reads a table of some text."""

    def catalog(text: str, name: str = "videos.csv", entry=ENTRY, answer=YES_NO):
        (tmp_path / name).write_text(text)
        return read_catalog(entry, str(tmp_path / name), answer)

    return catalog


def kinds(catalog) -> list[str]:
    return [finding["kind"] for finding in catalog.findings]


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        *(("Label", "label"), (" label", "label"), ("labels", "label"), ("lable", "label")),
        *(("participant", "participant_id"), ("Participant ID", "participant_id")),
        *(("participantid", "participant_id"), ("interval", "intervals"), ("Split", "split")),
        *(("split ", "split"), ("splits", "split"), ("videoid", "video_id")),
    ],
)
def test_a_column_that_is_nearly_known_is_an_error_that_names_it(read, column, meant):
    with pytest.raises(ConfigError, match=f"did you mean {meant}") as caught:
        read(f"uri,{column},mood\n1.mp4,1,glad\n")
    assert repr(column) in str(caught.value)


def test_a_known_column_in_two_spellings_is_an_error(read):
    with pytest.raises(ConfigError, match="did you mean label"):
        read("uri,label,Label\n1.mp4,1,0\n")


@pytest.mark.parametrize("header", ["uri,label,label", "uri,a,a", "uri,,"])
def test_a_column_that_is_there_twice_is_an_error(read, header):
    with pytest.raises(ConfigError, match="has 2 columns"):
        read(f"{header}\n1.mp4,1,0\n")


def test_other_columns_stay_attributes(read):
    catalog = read("uri,participant_id,participants,camera\n1.mp4,7,2,front\n")
    assert catalog.findings == []
    assert catalog.videos[0]["attributes"] == [("camera", "front"), ("participants", "2")]


def test_another_word_for_a_column_is_a_warning(read):
    catalog = read("uri,subject,label\n1.mp4,7,1\n")
    assert kinds(catalog) == ["column_unused"]
    assert "rename it participant_id" in catalog.findings[0]["message"]


def test_a_consent_flag_may_be_called_anything(read):
    entry = ENTRY.model_copy(update={"consent": {"labels": "yes"}})
    assert len(read("uri,labels\n1.mp4,yes\n", entry=entry).videos) == 1


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_separators_are_read_and_told(read, mark):
    text = "uri,label,participant_id\n1.mp4,1,7\n2.mp4,0,8\n".replace(",", mark)
    catalog = read(text)
    read_as = [(v["labels"], v["participant_id"]) for v in catalog.videos]
    assert read_as == [(["Yes"], "7"), (["No"], "8")]
    assert kinds(catalog) == ["separator"]


def test_labels_in_words_are_read_and_counted_once_per_word(read):
    catalog = read("uri,label\n1.mp4,yes\n2.mp4,yes\n3.mp4,No\n4.mp4,TRUE\n5.mp4,1\n6.mp4,so so\n")
    yes, no = ["Yes"], ["No"]
    assert [v["labels"] for v in catalog.videos] == [yes, yes, no, yes, yes, None]
    assert kinds(catalog) == ["label_invalid", *["label_words"] * 2]
    assert any("'yes' is Yes: 2 rows" in finding["message"] for finding in catalog.findings)


def test_labels_of_several_options_are_read_in_any_case(read):
    text = "uri,label\n1.mp4,smile\n2.mp4,Frown\n3.mp4,smil\n4.mp4,1\n5.mp4,\n"
    catalog = read(text, answer=CUES)
    read_as = [["smile"], ["frown"], None, None, None]
    assert [v["labels"] for v in catalog.videos] == read_as
    assert kinds(catalog) == ["label_invalid", "label_invalid", "label_words"]
    assert "did you mean smile?" in catalog.findings[0]["message"]
    assert "one of smile, frown, bright, dull" in catalog.findings[1]["message"]


def test_sets_of_words_are_read_from_cells_and_lists(read):
    rows = ['"Glad, sad"', "calm", '["calm", "Very Glad"]', "[]", "3", '{"a": 1}', "null"]
    lines = [f'{{"uri": "{n}.mp4", "label": {row}}}' for n, row in enumerate(rows)]
    lines[1] = '{"uri": "1.mp4", "label": "calm; CALM"}'
    catalog = read("\n".join(lines), "videos.jsonl", answer=WORDS)
    read_as = [["glad", "sad"], ["calm"], ["calm", "very glad"], [], None, None, None]
    assert [v["labels"] for v in catalog.videos] == read_as
    assert sorted(kinds(catalog)) == ["label_invalid", "label_invalid", "label_words"]


@pytest.mark.parametrize(
    ("answer", "label", "read_as"),
    [
        (CUES, "Happy", ["smile"]),
        (CUES, "3", ["dull"]),
        (CUES, "frown", ["frown"]),  # what is not translated is the task's
        (WORDS, "happy; calm", ["calm", "smile"]),
        (YES_NO, "Happy", None),  # a word that the task does not have
    ],
)
def test_an_entry_translates_the_archives_words(read, answer, label, read_as):
    entry = ENTRY.model_copy(update={"labels": {"HAPPY": "Smile", "3": "dull"}})
    catalog = read(f"uri,label\n1.mp4,{label}\n", entry=entry, answer=answer)
    assert [v["labels"] for v in catalog.videos] == [read_as]


def test_splits_are_read_in_the_usual_spellings(read):
    names = ["train", "Train", "TEST", " test", "validation", "Valid", "training", "fold 1 "]
    rows = "".join(f"{n}.mp4,p{n},{name}\n" for n, name in enumerate(names))
    catalog = read(f"uri,participant_id,split\n{rows}")
    read_as = ["train", "train", "test", "test", "val", "val", "train", "fold 1"]
    assert [v["split"] for v in catalog.videos] == read_as
    assert kinds(catalog) == ["split_spelling"] * 7


def test_splits_of_ones_own_that_look_alike_are_an_error(read):
    catalog = read("uri,participant_id,split\n1.mp4,1,Fold1\n2.mp4,2,fold_1\n")
    (finding,) = catalog.findings
    assert (finding["severity"], finding["kind"]) == ("error", "split_spellings")


@pytest.mark.parametrize("word", ["NA", "NaN", "null", "None", "n/a", " nan "])
def test_words_for_nothing_are_nothing(read, word):
    catalog = read(
        "uri,video_id,participant_id,split,label,intervals,mood\n"
        f"1.mp4,{word},{word},{word},{word},{word},{word}\n2.mp4,,2,train,0,,\n"
    )
    video = catalog.videos[0]
    assert [video[k] for k in ("participant_id", "split", "labels", "intervals")] == [
        *[None] * 3,
        [],
    ]
    assert video["attributes"] == [("mood", word)]
    assert kinds(catalog) == ["null_words"] * 5


def test_an_option_may_be_a_word_for_nothing(read):
    answer = Choice(kind="choice", options=("smile", "None"))
    catalog = read("uri,label\n1.mp4,none\n2.mp4,NA\n3.mp4,smile\n", answer=answer)
    assert [v["labels"] for v in catalog.videos] == [["None"], None, ["smile"]]
    assert kinds(catalog) == ["label_words", "null_words"]


def test_splits_without_participants_are_a_warning(read):
    assert kinds(read("uri,split\n1.mp4,train\n2.mp4,test\n")) == ["no_participants"]
    assert kinds(read("uri\n1.mp4\n")) == []


def test_participants_in_two_spellings_are_one(read):
    catalog = read("uri,participant_id,split\n1.mp4,7,train\n2.mp4,007,test\n3.mp4,8,test\n")
    (finding,) = catalog.findings
    assert (finding["severity"], finding["kind"]) == ("error", "participant_in_two_splits")
    assert finding["message"] == "participant 007 = 7 is in test, train"


@pytest.mark.parametrize(
    ("intervals", "kind"),
    [
        ("[[15000, 40000]]", "interval_too_late"),  # in ms
        ("00:01-00:04", "interval_unparsable"),
        ("1;4", "interval_unparsable"),
    ],
)
def test_intervals_in_other_units_are_findings(read, intervals, kind):
    catalog = read(f'uri,label,intervals\n1.mp4,1,"{intervals}"\n')
    assert kinds(catalog) == [kind, "positive_without_intervals"]


def test_times_in_minutes_and_seconds_are_read(read):
    catalog = read('uri,label,intervals\n1.mp4,1,"[[""1:04"", ""01:08.5""]]"\n')
    assert catalog.videos[0]["intervals"] == [{"start_s": 64.0, "end_s": 68.5, "label": None}]
    assert catalog.findings == []


# Tables that no spreadsheet writes


def test_a_cell_may_be_as_long_as_a_transcript(read):
    catalog = read(f'uri,transcript\n1.mp4,"{"word " * 100_000}"\n')
    assert len(dict(catalog.videos[0]["attributes"])["transcript"]) == 500_000


def test_parquet_of_odd_types(tmp_path):
    path = tmp_path / "videos.parquet"
    far = pa.array([10**12, 1, None], pa.int64()).cast(pa.timestamp("s"))  # year 33,658
    columns = {
        "uri": ["1.mp4", "2.mp4", "3.mp4"],
        "participant_id": pa.array([7.0, 8.0, None]),
        "when": far,
        "fine": pa.array([1, 10**18 + 1, None], pa.timestamp("ns")),
        "bytes": pa.array([b"\xff", b"", None]),
        "split": pa.array(["train", "test", None]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path)
    catalog = read_catalog(ENTRY, str(path), YES_NO)
    assert catalog.findings == []
    assert [v["participant_id"] for v in catalog.videos] == ["7.0", "8.0", None]
    assert dict(catalog.videos[0]["attributes"])["when"] == "<value out of range: 1000000000000000>"
    assert [v["split"] for v in catalog.videos] == ["train", "test", None]


@pytest.mark.parametrize(
    "column", [pa.array([[datetime(2024, 1, 1)]]), pa.array([b"1.mp4"]), pa.array([{"a": 1}])]
)
def test_parquet_of_odd_files_names_none(tmp_path, column):
    path = tmp_path / "videos.parquet"
    pq.write_table(pa.table({"uri": column}), path)
    with pytest.raises(ConfigError, match=r"no usable video \(1 bad_row"):
        read_catalog(ENTRY, str(path), YES_NO)


def test_parquet_columns_of_one_name_are_an_error(tmp_path):
    path = tmp_path / "videos.parquet"
    pq.write_table(pa.table([pa.array(["1.mp4"])] * 2, names=["uri", "uri"]), path)
    with pytest.raises(ConfigError, match="has 2 columns 'uri'"):
        read_catalog(ENTRY, str(path), YES_NO)


# Where a table points


@pytest.mark.parametrize(
    "uri",
    [
        *("http://example.org/a.mp4", "https://example.org/a.mp4", "ftp://example.org/a.mp4"),
        *("zip://a.mp4", "zip://a.mp4::b.zip", "simplecache::s3://b/a.mp4"),
        *("github://a:b@c/d.mp4", "a\0.mp4", "blockcache::http://a/b.mp4", "memory://a.mp4"),
        *("../out.mp4", "a/../../out.mp4", "tar://a::b", "reference://a", "dir::file://a"),
    ],
)
def test_what_a_table_may_not_name_is_a_finding_and_opens_no_network(read, uri, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket was opened"))
    rows = [{"uri": uri}, {"uri": "good.mp4"}]
    catalog = read("\n".join(map(json.dumps, rows)), "videos.jsonl")
    assert [video["uri"].rpartition("/")[2] for video in catalog.videos] == ["good.mp4"]
    assert kinds(catalog) == ["unsafe_key" if ".." in uri else "bad_row"]


@pytest.mark.parametrize(
    "uri", ["a.mp4::b.mp4", "leak::x.mp4", "zip::a.mp4", "a*.mp4", "s3:x.mp4", "data:,x"]
)
def test_a_name_with_signs_of_a_chain_or_a_pattern_is_that_file(read, tmp_path, uri):
    (tmp_path / uri).write_text("1")
    catalog = read(json.dumps({"uri": uri}), "videos.jsonl")
    assert [video["uri"] for video in catalog.videos] == [f"{tmp_path}/{uri}"]
    assert catalog.findings == []
