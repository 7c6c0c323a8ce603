"""One reader for the emotion data sets: each format as published, and everything odd."""

import json
import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ah_ray.catalog import CatalogEntry, load_entry, read_catalog
from ah_ray.catalog.entry import VideoTable
from ah_ray.catalog.lists import drawn_split, list_words
from ah_ray.catalog.pattern import fill, folders
from ah_ray.errors import ConfigError, ItemError
from ah_ray.findings import LEFT_OUT
from ah_ray.schemas import stable_id
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Choice, Labels, Text

DATA_CATALOG = Path(__file__).parents[2] / "data_catalog"
WORDS = Labels(kind="labels")
SIX = Choice(kind="choice", options=("happy", "sad", "neutral", "angry", "surprise", "worried"))
SIMS = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def read(entry: str, root: Path, answer=WORDS, **changes):
    """The catalog of an archive that is in the format of an entry of the repository."""
    facts = load_entry(DATA_CATALOG / f"{entry}.yaml").model_copy(update=changes)
    return read_catalog(facts, str(root), answer)


def kinds(catalog) -> list[str]:
    return [finding["kind"] for finding in catalog.findings]


def facts(catalog) -> dict[str, tuple]:
    """Of each video what a reader states, by its path in the archive."""
    return {
        "/".join(Path(video["uri"]).parts[-2:]): (
            video["participant_id"],
            video["split"],
            video["labels"],
            [said["text"] for said in video["subtitles"]],
            dict(video["attributes"]),
        )
        for video in catalog.videos
    }


def test_mer2024_ov(tmp_path):
    text = "name,openset\ns1,\"['happy', 'looking forward to']\"\ns2,['Sad']\ns3,\"[calm, sad]\"\n"
    root = write(tmp_path, {"check-openset.csv": text, "predict-openset.csv": "name,openset\nx,y"})
    write(root, {f"video/s{n}.mp4": "" for n in (1, 2, 3)})
    catalog = read("mer2024_ov", root)
    assert facts(catalog) == {
        "video/s1.mp4": (None, "test", ["happy", "looking forward to"], [], {}),
        "video/s2.mp4": (None, "test", ["sad"], [], {}),
        "video/s3.mp4": (None, "test", ["calm", "sad"], [], {}),
    }
    assert kinds(catalog) == ["no_participants"]
    assert catalog.videos[0]["video_id"] == stable_id("video/s1.mp4")
    assert catalog.videos[0]["uri"] == f"{root}/video/s1.mp4"


def test_videos_may_lie_beside_the_table(tmp_path):
    root = write(tmp_path, {"check-openset.csv": "name,openset\ns1,['sad']\n", "s1.mp4": ""})
    (video,) = read("mer2024_ov", write(root, {"audio/s1.wav": ""})).videos
    assert (video["uri"], video["video_id"]) == (f"{root}/s1.mp4", stable_id("s1.mp4"))


@pytest.mark.parametrize(("track", "other"), [("semi", "noise"), ("noise", "semi")])
def test_a_track_of_mer2024(tmp_path, track, other):
    files = {
        f"reference-{other}.csv": "name,discrete\ns5,happy\n",
        f"reference-{track}.csv": "name,discrete\ns1,happy\ns2,Worried\ns3,bored\n",
        "label-disdim.csv": "name,discrete,valence\ns4,sad,-1.5\n",
    }
    root = write(tmp_path, files | {f"video/s{n}.mp4": "" for n in range(1, 6)})
    catalog = read(f"mer2024_{track}", root, SIX)
    assert facts(catalog) == {
        "video/s1.mp4": (None, "test", ["happy"], [], {}),
        "video/s2.mp4": (None, "test", ["worried"], [], {}),
        "video/s3.mp4": (None, "test", None, [], {}),
        "video/s4.mp4": (None, "train", ["sad"], [], {}),
    }
    wanted = ["label_invalid", "no_participants", "ignored_files", "label_words"]
    assert kinds(catalog) == wanted
    assert (
        f"line 4 of reference-{track}.csv has the label 'bored'" in catalog.findings[0]["message"]
    )


@pytest.mark.parametrize("name", ["{}", "{:05d}"])
def test_a_fold_of_dfew(tmp_path, name):
    sets = {
        "train": "video_name,label\n1,1\n2,7\n",
        "test": "video_name,label\n3,5\n16372,8\n",
    }
    for split, text in sets.items():
        write(tmp_path, {f"EmoLabel_DataSplit/{split}(single-labeled)/set_1.csv": text})
    write(tmp_path, {f"Clip/clip_original/{name.format(n)}.mp4": "" for n in (1, 2, 3, 16372)})
    answer = load_task("dfew_emotions").answer
    found = [(row["split"], row["labels"]) for row in read("dfew", tmp_path, answer).videos]
    expected = [("train", ["happy"]), ("train", ["fear"]), ("test", ["surprise"]), ("test", None)]
    assert sorted(found, key=str) == sorted(expected, key=str)


PICTURES = {
    "train.json": [
        ["amusement", "amusement_1", "image/amusement/amusement_1.jpg", "annotation/a/1.json"],
        ["Awe", "awe_2", "image/awe/awe_2.jpg", "annotation/awe/awe_2.json"],
        ["glad", "awe_3", "image/awe/awe_3.jpg", "annotation/awe/awe_3.json"],
        ["awe", "awe_4", "image/awe/awe_4.jpg"],
        ["awe", "gone", "image/awe/gone.jpg", ""],
        ["awe", "out", "../out.jpg", ""],
        ["awe", "out", "/etc/passwd", ""],
        ["awe", ["out"], "image/awe/awe_2.jpg", ""],
        {"emotion": "awe"},
        "awe",
        None,
        ["awe", "\ud800", "image/awe/awe_5.jpg", ""],
        ["awe", "both", "./image//awe/both.jpg", None],
        ["awe", "", "", ""],
    ],
    "val.json": [["sadness", "sadness_1", "image/sadness/sadness_1.jpg", "a.json"]],
    "test.json": [
        ["fear", "fear_1", "image/fear/fear_1.jpg", "annotation/fear/fear_1.json"],
        ["awe", "both", "image/awe/both.jpg", "annotation/awe/both.json"],
    ],
}


def test_emoset(tmp_path):
    root = write(tmp_path / "root", {name: json.dumps(rows) for name, rows in PICTURES.items()})
    write(tmp_path, {"out.jpg": ""})
    there = ["amusement/amusement_1", "awe/awe_2", "awe/awe_3", "awe/awe_4", "awe/awe_5"]
    there += ["awe/both", "awe/not_named", "sadness/sadness_1", "fear/fear_1"]
    write(root, {f"image/{name}.jpg": "" for name in there} | {"annotation/awe/awe_2.json": "{}"})
    catalog = read("emoset", root, load_task("emoset_emotions").answer)
    assert facts(catalog) == {
        "amusement/amusement_1.jpg": (None, "train", ["amusement"], [], {"name": "amusement_1"}),
        "awe/awe_2.jpg": (None, "train", ["awe"], [], {"name": "awe_2"}),
        "awe/awe_3.jpg": (None, "train", None, [], {"name": "awe_3"}),
        "awe/awe_5.jpg": (None, "train", ["awe"], [], {}),
        "sadness/sadness_1.jpg": (None, "val", ["sadness"], [], {"name": "sadness_1"}),
        "fear/fear_1.jpg": (None, "test", ["fear"], [], {"name": "fear_1"}),
    }
    assert catalog.videos[0]["video_id"] == stable_id("image/amusement/amusement_1.jpg")
    wanted = {
        **{"bad_row": 6, "unsafe_key": 2, "missing_file": 1, "video_in_two_splits": 1},
        **{"label_invalid": 1, "cell_unreadable": 1, "no_participants": 1, "ignored_files": 1},
    }
    found = Counter(kinds(catalog))
    assert found - Counter({"label_words": found["label_words"]}) == wanted
    messages = [finding["message"] for finding in catalog.findings]
    assert any("entry 3 of train.json has the label 'glad'" in message for message in messages)
    assert "video and picture files that no table of videos names: 2" in messages
    # Each entry is in the catalog, or a finding says that it is not; one picture is named twice.
    left_out = sum(count for kind, count in found.items() if kind in LEFT_OUT)
    assert len(catalog.videos) + left_out == sum(map(len, PICTURES.values())) - 1
    for message in messages:
        message.encode()


@pytest.mark.parametrize("content", ["", "{}", "[", '{"a": []}', "[" * 100_000, "\x00"])
def test_a_file_that_is_no_list_is_named(tmp_path, content):
    root = write(tmp_path, dict.fromkeys(PICTURES, "[]") | {"val.json": content})
    with pytest.raises(ConfigError, match=r"val\.json: is no"):
        read("emoset", root, load_task("emoset_emotions").answer)


def test_a_header_has_the_columns_that_are_used():
    for header, said in ((["name"], "no column 'emotion'"), (["emotion"] * 2, "twice")):
        with pytest.raises(ValueError, match=said):
            VideoTable(files=("a.json",), header=header, labels="emotion")


def test_who_asks_for_text_is_told_of_no_labels(tmp_path):
    root = write(tmp_path, {"check-openset.csv": "name,openset\ns1,\"['happy']\"\n"})
    write(root, {"video/s1.mp4": ""})
    catalog = read("mer2024_ov", root, Text(kind="text"))
    assert kinds(catalog) == ["no_participants"]
    assert [video["labels"] for video in catalog.videos] == [None]


def test_mer2025(tmp_path):
    files = {
        "track2_train_mercaptionplus.csv": "name,openset\ns1,\"['mad']\"\ns2,\"['sad']\"\n",
        "track2_train_ovmerd.csv": "name,openset\ns1,\"['angry', 'mad']\"\n",
        "track3_train_ovmerd.csv": 'name,reason\ns1,"He shouts, and more."\n',
        "track_all_candidates.csv": "name\ns3\n",
        "subtitle_chieng.csv": "name,chinese,english\ns1,你好,Hello\ns3,再见,Bye\ns9,嗯,Hm\n",
        "audio/s1.wav": "",
        "openface_face/s1/s1.npy": "",
    }
    root = write(tmp_path, files | {f"video/s{n}.mp4": "" for n in (1, 2, 3, 9)})
    catalog = read("mer2025", root)
    reason = {"reason": "He shouts, and more.", "chinese": "你好"}
    assert facts(catalog) == {
        "video/s1.mp4": (None, "train", ["angry", "mad"], ["Hello"], reason),
        "video/s2.mp4": (None, "train", ["sad"], [], {}),
        "video/s3.mp4": (None, None, None, ["Bye"], {"chinese": "再见"}),
    }
    expected = ["tables_differ", "no_participants", "ignored_rows", "ignored_files"]
    assert kinds(catalog) == expected
    assert catalog.findings[0]["message"] == (
        "video/s1.mp4: line 2 of track2_train_ovmerd.csv and line 2 of "
        "track2_train_mercaptionplus.csv differ in the label"
    )


def test_mer2026_has_no_table_of_descriptions(tmp_path):
    text = "name,openset\ns1,\"['glad']\"\n"
    root = write(tmp_path, {"track2_train_human.csv": text, "video/s1.mp4": ""})
    catalog = read("mer2025", root)
    assert facts(catalog) == {"video/s1.mp4": (None, "train", ["glad"], [], {})}
    assert kinds(catalog) == ["table_missing"] * 3 + ["no_participants"]


def test_emer_v1(tmp_path):
    text = "names,emotions,subtitles,reasons\ns1,happy,,He smiles.\ns2,angry,Go!,He shouts.\n"
    root = write(tmp_path, {"gt-eng.csv": text, "video/s1.mp4": "", "video/s2.mp4": ""})
    assert facts(read("emer_v1", root)) == {
        "video/s1.mp4": (None, "test", ["happy"], [], {"reasons": "He smiles."}),
        "video/s2.mp4": (None, "test", ["angry"], ["Go!"], {"reasons": "He shouts."}),
    }


@pytest.mark.parametrize("column", ["names", "name"])  # as documented, and as published
def test_emer_v2(tmp_path, column):
    text = f"{column},chinese,english\ns1,他笑。,He smiles.\n"
    root = write(tmp_path, {"final-EMER-reason.csv": text, "video/s1.mp4": ""})
    described = {"chinese": "他笑。", "english": "He smiles."}
    assert facts(read("emer_v2", root)) == {"video/s1.mp4": (None, "test", None, [], described)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_ch_sims_v1(tmp_path, encoding):
    rows = "video_0001,1,你好,-1.0,-0.8,-1.0,0.0,Negative,train\n"
    rows += "video_0001,0002,谢谢,,,,,,train\nvideo_0002,11,嗯,0.4,0.2,0.0,1.0,Positive,valid\n"
    root = write(tmp_path, {"label.csv": (SIMS + rows).encode(encoding)})
    names = ("video_0001/0001", "video_0001/0002", "video_0002/0011")
    write(root, {f"Raw/{name}.mp4": "" for name in names})
    catalog = read("ch_sims_v1", root)
    polarity = {"label": "-1.0", "label_T": "-0.8", "label_A": "-1.0", "label_V": "0.0"}
    other = {"label": "0.4", "label_T": "0.2", "label_A": "0.0", "label_V": "1.0"}
    assert facts(catalog) == {
        "video_0001/0001.mp4": (
            *("video_0001", "train", None, ["你好"]),
            polarity | {"annotation": "Negative"},
        ),
        "video_0001/0002.mp4": ("video_0001", "train", None, ["谢谢"], {}),
        "video_0002/0011.mp4": (
            *("video_0002", "val", None, ["嗯"]),
            other | {"annotation": "Positive"},
        ),
    }
    assert kinds(catalog) == []


def test_ch_sims_v2_with_and_without_labels(tmp_path):
    rows = "aqgy3_0001,0,嗯,0.2,0.0,0.2,0.2,Positive,train\naqgy1_0001,00012,你好,,,,,,\n"
    rows += "video_0001,1,t,0,0,0,0,Neutral,test\naqgy3_0001,00000_1,t,0,0,0,0,Neutral,train\n"
    root = write(tmp_path, {"meta.csv": SIMS + rows})
    names = ("aqgy3_0001/00000", "aqgy1_0001/00012", "video_0001/0001", "aqgy3_0001/00000_1")
    write(root, {f"Raw/{name}.mp4": "" for name in names})
    catalog = read("ch_sims_v2", root)
    found = facts(catalog)
    assert found.keys() == {f"{name}.mp4" for name in names}
    assert found["aqgy1_0001/00012.mp4"] == ("aqgy1_0001", None, None, ["你好"], {})
    assert found["aqgy3_0001/00000.mp4"][:4] == ("aqgy3_0001", "train", None, ["嗯"])
    assert kinds(catalog) == []


def sims(tmp_path: Path, modes: dict[str, list[str]]) -> Path:
    """An archive like CH-SIMS: the modes of the clips of each recording."""
    clips = [(video, n, mode) for video, some in modes.items() for n, mode in enumerate(some)]
    rows = "".join(f"{video},{n},t,0,0,0,0,Neutral,{mode}\n" for video, n, mode in clips)
    root = write(tmp_path, {"label.csv": SIMS + rows})
    return write(root, {f"Raw/{video}/{n:04d}.mp4": "" for video, n, _ in clips})


def test_a_recording_in_two_splits_is_an_error_and_shares_keep_it_in_one(tmp_path):
    modes = {f"v{n}": ["train", "test", "valid"] for n in range(40)}
    root = sims(tmp_path, modes)
    catalog = read("ch_sims_v1", root)
    assert Counter(kinds(catalog)) == {"participant_in_two_splits": 40}
    entry = load_entry(DATA_CATALOG / "ch_sims_v1.yaml")
    tables = [entry.lists.tables[0].model_copy(update={"split": None})]
    shares = {"train": 0.5, "val": 0.25, "test": 0.25}
    lists = entry.lists.model_copy(update={"tables": tables, "shares": shares})
    drawn = read("ch_sims_v1", root, lists=lists)
    assert kinds(drawn) == []
    splits = Counter(video["split"] for video in drawn.videos)
    assert splits.keys() == {"train", "val", "test"}
    assert all(count % 3 == 0 for count in splits.values())  # recordings stay whole


@given(st.text(), st.dictionaries(st.text(min_size=1), st.floats(0.01, 100), min_size=1))
def test_a_draw_depends_on_the_name_alone(who, shares):
    doubled = {name: 2 * share for name, share in shares.items()}
    assert drawn_split(who, shares) == drawn_split(who, doubled)
    assert drawn_split(who, shares) in shares


def test_draws_are_as_frequent_as_their_shares():
    drawn = Counter(drawn_split(str(n), {"a": 3, "b": 1}) for n in range(2000))
    assert 0.7 < drawn["a"] / 2000 < 0.8


WORD = st.text(st.characters(categories=("L", "N")), min_size=1).map(str.strip).filter(bool)
PHRASE = st.lists(WORD, min_size=1, max_size=4).map(" ".join)


@given(st.lists(PHRASE))
def test_lists_are_read_as_they_were_written(words):
    assert list_words(str(words)) == words
    assert list_words(f"[{', '.join(words)}]") == words
    assert list_words(f" [{','.join(words)}]\n") == words
    assert list_words("[" + ", ".join(f'"{word}"' for word in words) + "]") == words


@given(st.text() | st.text("[]{}'\",ab "))
def test_no_cell_raises_and_every_word_is_in_its_cell(cell):
    words = list_words(cell)
    assert words is None or all(word and word in cell for word in words)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("['a', 'b']", ["a", "b"]),
        ("[\"a\", 'b']", ["a", "b"]),
        ("[a,, b,]", ["a", "b"]),
        ("happy", None),
        ("happy, sad", None),
        ("[]", []),
        ("", None),
        ("[a, b", None),
        ("a]", None),
        ("[", None),
        ("[[a], [b]]", None),
        ("[a] [b]", None),
        ("{'a': 1}", None),
        ("[__import__('os')]", ["__import__(", "os", ")"]),
    ],
)
def test_what_is_a_list(cell, words):
    assert list_words(cell) == words


BROKEN = [
    "s01,\"['glad', 'calm']\"",
    "",
    ",\"['glad']\"",  # no name
    '  ,"[sad]"',
    "s02,\"['glad', 'calm'\"",  # a list that is no list
    "s03,[]",
    "s04,\"['glad', 'he seems to be quite content today', 'sad']\"",  # a sentence
    f"s05,\"['{'x' * 61}', 'sad']\"",
    f"s06,\"['{'x' * 61}']\"",
    "s07,['glad'],more",  # too many cells
    "s08",
    "s09,\"['glad']\"",
    "s09,\"['glad']\"",  # once more
    "s10,\"['glad']\"",
    "s10,\"['sad']\"",  # and otherwise
    "../out,['glad']",
    "/etc/passwd,['glad']",
    "a\\b,['glad']",
    "..,['glad']",
    "gone,['glad']",
    "s11,\x00['glad']",
    "s\x0012,['glad']",
    f's13,"[{"a," * 50_001}]"',
    "s14,\"['glad']",  # the quotation mark is open
    "s15,nan",
    "s16,",
    "s17,\"['glad', 'glad']\"",
    's19,"glad, sad and calm"',
    "s20,I cannot tell",
    "link,['glad']",
]


def test_everything_that_is_broken_is_a_finding_and_the_rest_is_read(tmp_path):
    lines = "\r\n".join(BROKEN).encode() + b"\r\ns18,['\xff\xfe']\r\ns\xff,['glad']\r\n"
    root = write(
        tmp_path / "archive", {"check-openset.csv": b"\xef\xbb\xbfname,openset\r\n" + lines}
    )
    write(root, {f"video/s{n:02d}.mp4": "" for n in range(1, 22)})
    write(tmp_path, {"out.mp4": "", "secret.mp4": ""})
    os.symlink(tmp_path / "secret.mp4", root / "video" / "link.mp4")
    catalog = read("mer2024_ov", root)
    read_as = {Path(name).stem: labels for name, (_, _, labels, *_) in facts(catalog).items()}
    glad = ["glad"]
    assert read_as == {
        **{"s01": ["calm", "glad"], "s02": None, "s03": [], "s04": ["glad", "sad"]},
        **{"s05": ["sad"], "s06": None, "s09": glad, "s10": glad, "s11": None, "s13": None},
        **{"s15": None, "s16": None, "s17": glad, "s18": None, "s20": None},
        "s19": ["calm", "glad", "sad"],
    }
    found = [
        (finding["item_id"].removesuffix(" of check-openset.csv"), finding["kind"])
        for finding in catalog.findings
    ]
    ids = {stable_id(f"video/{name}.mp4"): name for name in [*read_as, "gone", "link"]}
    assert [(ids.get(item, item), kind) for item, kind in found] == [
        ("line 4", "bad_row"),
        ("line 5", "bad_row"),
        ("line 11", "bad_row"),
        ("line 12", "bad_row"),
        ("line 17", "unsafe_key"),
        ("line 18", "unsafe_key"),
        ("line 19", "unsafe_key"),
        ("line 20", "unsafe_key"),
        ("line 22", "cell_unreadable"),
        ("line 23", "bad_row"),
        ("line 24", "cell_unreadable"),
        ("line 25", "bad_row"),
        ("line 32", "cell_unreadable"),
        ("line 33", "bad_row"),
        ("gone", "missing_file"),
        ("link", "unsafe_link"),
        ("s02", "label_invalid"),
        ("s04", "word_invalid"),
        ("s05", "word_invalid"),
        ("s06", "label_invalid"),
        ("line 14", "repeated_row"),
        ("line 16", "duplicate_row"),
        ("s20", "label_invalid"),
        (str(root), "no_participants"),
        (str(root), "ignored_files"),
        (str(root), "null_words"),
    ]
    left_out = sum(kind in LEFT_OUT for _, kind in found)
    rows = len([line for line in BROKEN if line]) + 2
    assert len(catalog.videos) + left_out + kinds(catalog).count("repeated_row") == rows
    for finding in catalog.findings:
        assert len(finding["message"]) < 1000
        finding["message"].encode()


def test_the_cell_and_its_line_are_in_the_message(tmp_path):
    root = write(tmp_path, {"check-openset.csv": 'name,openset\ns1,"[glad, calm"\n'})
    (finding, *_) = read("mer2024_ov", write(root, {"video/s1.mp4": ""})).findings
    message = "line 2 of check-openset.csv has the label '[glad, calm'"
    assert finding["message"].startswith(message)
    assert finding["action"] == "taken as not stated: it is no label of the task"


def test_a_video_that_two_rows_put_into_two_splits_is_in_none(tmp_path):
    root = sims(tmp_path, {"v1": ["train"], "v2": ["train"]})
    with (root / "label.csv").open("a") as file:
        file.write("v1,0,t,0,0,0,0,Neutral,test\nv1,0000,t,0,0,0,0,Neutral,train\n")
    catalog = read("ch_sims_v1", root)
    assert [Path(video["uri"]).parent.name for video in catalog.videos] == ["v2"]
    assert kinds(catalog) == ["duplicate_row", "duplicate_row", "video_in_two_splits"]


def test_consent_flags_are_columns_and_whoever_takes_one_back_is_left_out(tmp_path):
    text = "name,openset,agreed\ns1,['glad'],Yes\ns2,['glad'],no\ns3,['glad'],\ns4,['sad'],yes\n"
    files = {
        "track2_train_a.csv": text + "s5,['sad'],yes\ns5,['sad'],no\n",
        "track_all_candidates.csv": "name,agreed\ns1,yes\ns4,no\n",
        "track3_train_a.csv": "name,reason\ns1,He smiles.\n",
    }
    root = write(tmp_path, files | {f"video/s{n}.mp4": "" for n in (1, 2, 3, 4, 5)})
    catalog = read("mer2025", root, consent={"agreed": "yes"})
    assert [*facts(catalog)] == ["video/s1.mp4"]
    assert kinds(catalog).count("consent_denied") == 4
    with pytest.raises(ConfigError, match="5 consent_denied"):
        read("mer2025", root, consent={"signed": "yes"})


def test_words_of_the_archive_are_translated(tmp_path):
    root = write(tmp_path, {"gt-eng.csv": "names,emotions,subtitles,reasons\ns1,生气,,\n"})
    catalog = read("emer_v1", write(root, {"video/s1.mp4": ""}), labels={"生气": "angry"})
    assert catalog.videos[0]["labels"] == ["angry"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"other.csv": "name,openset\n"}, "there is no check-openset.csv"),
        (
            {"check-openset.csv": "name,labels\ns1,x\n"},
            "check-openset.csv: has no column 'openset'",
        ),
        ({"check-openset.csv": "id,openset\ns1,x\n"}, "check-openset.csv: has no column 'name'"),
        ({"check-openset.csv": ""}, "check-openset.csv: has no column 'name'"),
        ({"check-openset.csv": "name,openset\n"}, "no usable video"),
        ({"check-openset.csv": "name,openset\ns1,x\n"}, "no usable video .1 missing_file"),
    ],
)
def test_an_archive_that_cannot_be_read_stops_the_run(tmp_path, files, problem):
    with pytest.raises(ConfigError, match=problem):
        read("mer2024_ov", write(tmp_path, files))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"videos": "../{name}.mp4"}, "no path inside"),
        ({"videos": "/{name}.mp4"}, "no path inside"),
        ({"videos": "video/all.mp4"}, "not of the form"),
        ({"videos": "{name:>10}.mp4"}, "not of the form"),
        ({"encodings": ["klingon"]}, "is no encoding"),
        ({"shares": {"train": 1}}, "shares are for tables without"),
        ({"tables": [{"files": ["../t.csv"]}]}, "no path inside"),
        ({"tables": [{"files": ["t.csv"], "split": "a", "all_in": "b"}]}, "state one of them"),
        ({"tables": []}, "at least 1"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(change, problem):
    lists = {"videos": "{name}.mp4", "tables": [{"files": ["t.csv"], "all_in": "test"}]}
    entry = partial(CatalogEntry, title="t")
    entry(reader="lists", lists=lists)
    with pytest.raises(ValueError, match=problem):
        entry(reader="lists", lists=lists | change)
    for reader, given_lists in (("lists", None), ("table", lists)):
        with pytest.raises(ValueError, match="lists are needed by the reader lists"):
            entry(reader=reader, lists=given_lists)


@pytest.mark.parametrize(
    ("clip", "path"),
    [
        ("1", "v/0001"),
        ("0001", "v/0001"),
        ("12345", "v/12345"),
        ("7.0", "v/0007"),
        ("00007", "v/0007"),
        ("0", "v/0000"),
    ],
)
def test_numbers_are_filled_with_zeros(clip, path):
    assert fill("{video}/{clip:04d}", {"video": "v", "clip": clip}) == path


@pytest.mark.parametrize("clip", ["-1", "1.5", "a", "", "\N{ARABIC-INDIC DIGIT ONE}", "1" * 10])
def test_what_is_no_number_is_a_bad_row(clip):
    with pytest.raises(ItemError) as caught:
        fill("{clip:04d}", {"clip": clip})
    assert caught.value.kind == "bad_row"


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["{a}.mp4", "video/{a}.mp4"], [""]),
        (["x/y/{a}.mp4", "x/{b}/{a}.mp4"], ["x"]),
        (["x/{a}.mp4", "xy/{a}.mp4", "x/{a}.avi"], ["x", "xy"]),
    ],
)
def test_a_folder_is_listed_once(patterns, found):
    assert folders(patterns) == found


@given(st.text())
@example("a/b.jpg")
@example("/a")
@example("a/../..")
@example("..\\a")
def test_no_path_leaves_the_archive(name):
    try:
        path = fill("{name:path}", {"name": name})
    except ItemError:
        return
    assert not os.path.isabs(path)
    assert os.path.normpath(path) == path
    assert not path.startswith("..")


@given(st.text())
@example(".")
@example("..")
def test_no_name_leaves_its_folder(name):
    try:
        path = fill("video/{name}", {"name": name})
    except ItemError:
        return
    assert os.path.normpath(path) == path == f"video/{name}"
