from collections import Counter
from functools import partial
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ah_ray import storage
from ah_ray.catalog import CatalogEntry, read_catalog
from ah_ray.errors import ConfigError
from ah_ray.evaluation.leaks import LeakError, require_no_leaks
from ah_ray.findings import LEFT_OUT
from ah_ray.schemas import FINDINGS, VIDEOS, stable_id
from ah_ray.tasks import load_task

read_catalog = partial(read_catalog, answer=load_task("cue_conflict").answer)

ANNOTATIONS = "video_annotation_transcript.yaml"
SPLITS = Path("dataset-splits/video-level/BAH_DB/split-0")
KEYS = 21  # distinct videos that the golden annotation and split files name


def found(catalog) -> dict[str, list[str]]:
    """Kinds of findings by the part of the key that tells the golden videos apart."""
    kinds: dict[str, list[str]] = {}
    for finding in catalog.findings:
        words = finding["message"].removeprefix("Videos/").replace("/Visite_1/", " ")
        name = words.split("_2024")[0].rsplit(" ", 1)[-1] if "_2024" in words else words
        kinds.setdefault(name, []).append(finding["kind"])
    return kinds


def by_name(catalog) -> dict[str, dict]:
    return {Path(v["uri"]).name.split("_2024")[0]: v for v in catalog.videos}


def with_consent(entry: CatalogEntry) -> CatalogEntry:
    return entry.model_copy(update={"consent": {"Use in challenges": "Yes"}})


def test_a_video_as_published(archive, entry):
    video = by_name(read_catalog(entry, str(archive)))["101_Question_1"]
    key = "Videos/101/Visite_1/101_Question_1_2024-08-22_12-11-55_Video.mp4"
    assert video == {
        "video_id": stable_id(key),
        "uri": str(archive / key.replace("22_12", "22 12")),  # the spelling on disk
        "participant_id": "101",
        "split": "train",
        "labels": ["Yes"],
        "subtitles": [],
        "intervals": [
            {"start_s": 1.721, "end_s": 3.5, "label": None},
            {"start_s": 5.0, "end_s": 8.25, "label": None},
        ],
        "attributes": [
            ("Use in challenges", "Yes"),
            ("Use in publications", "No"),  # unquoted in the file, and still text
            ("age", "34"),
            ("annotator", "4"),
            ("certainty", "3,2"),
            ("ethnicity", "White"),
            ("gender", "Female"),
            ("language", "english"),
            ("province", "Quebec"),
            ("question", "1"),
        ],
    }


def test_unquoted_times_are_seconds(archive, entry):
    video = by_name(read_catalog(entry, str(archive)))["101_Question_2"]
    times = [(i["start_s"], i["end_s"]) for i in video["intervals"]]
    assert times == [(1.721, 4.5), (64.5, 70), (80, 90)]


def test_every_oddity_is_a_finding(archive, entry):
    assert found(read_catalog(entry, str(archive))) == {
        "/etc/secret.mp4 is not a path inside the archive": ["unsafe_key"],
        "../../../secret.mp4 is not a path inside the archive": ["unsafe_key"],
        "101_Question_3": [
            "interval_reversed",
            "interval_empty",
            "interval_unparsable",
            "interval_unparsable",
            "intervals_overlap",
            "intervals_touch",
        ],
        "102_Question_1": ["positive_without_intervals"],
        "102_Question_2": ["negative_with_intervals"],
        "102_Question_3": ["label_contradiction"],
        "102_Question_4": ["label_invalid", "positive_without_intervals"],
        "103_Question_1": ["duplicate_key"],
        "103_Question_2": ["not_in_splits"],
        "103_Question_3": ["not_in_annotations"],
        "103_Question_4": ["not_in_annotations", "label_invalid"],
        "103_Question_5": ["label_invalid"],
        "105_Question_1": ["missing_file"],
        "106_Question_1": ["duplicate_split_line"],
        "107_Question_1": ["video_in_two_splits"],
        "stray.mp4 names no participant": ["participant_unknown"],
        "participant 104 is in test, train": ["participant_in_two_splits"],
        "participant 108 is not in meta_data.yml": ["metadata_missing"],
        "files that no annotation or split file names: 1": ["ignored_files"],
    }


def test_the_rules_hold(archive, entry):
    videos = by_name(read_catalog(entry, str(archive)))
    stated = {name: (v["split"], v["labels"], len(v["intervals"])) for name, v in videos.items()}
    yes, no = ["Yes"], ["No"]
    assert stated["101_Question_3"] == ("train", yes, 1)
    assert stated["102_Question_1"] == ("train", yes, 0)
    assert stated["102_Question_2"] == ("train", no, 0)
    assert stated["102_Question_3"] == ("train", yes, 1)  # the split file wins
    assert stated["102_Question_4"] == ("train", yes, 0)
    assert stated["103_Question_1"] == ("val", no, 0)
    assert dict(videos["103_Question_1"]["attributes"])["annotator"] == "1"  # the first entry
    assert stated["103_Question_2"] == (None, no, 0)
    assert stated["103_Question_3"] == ("val", yes, 0)
    assert stated["103_Question_4"] == ("val", None, 0)
    assert videos["stray.mp4"]["participant_id"] is None


@pytest.mark.parametrize("consent", [{}, {"Use in challenges": "Yes"}, {"unheard of": "Yes"}])
def test_counts_add_up(archive, entry, consent):
    entry = entry.model_copy(update={"consent": consent})
    if "unheard of" in consent:
        with pytest.raises(ConfigError, match="18 consent_denied"):
            read_catalog(entry, str(archive))
        return
    catalog = read_catalog(entry, str(archive))
    left_out = Counter(f["item_id"] for f in catalog.findings if f["kind"] in LEFT_OUT)
    assert set(left_out.values()) == {1}
    assert not left_out.keys() & {video["video_id"] for video in catalog.videos}
    assert len(catalog.videos) + len(left_out) == KEYS


def test_without_consent_a_video_is_left_out(archive, entry):
    catalog = read_catalog(with_consent(entry), str(archive))
    # 106 says No, 108 is unknown, stray.mp4 has nobody to ask; 103 says yes in lower case.
    denied = [f["message"] for f in catalog.findings if f["kind"] == "consent_denied"]
    assert sorted(message.split("/")[1].split(":")[0] for message in denied) == [
        "106",
        "108",
        "stray.mp4",
    ]
    assert {v["participant_id"] for v in catalog.videos} == {"101", "102", "103", "104"}


def test_no_key_leads_out_of_the_archive(archive, entry):
    assert all("secret" not in video["uri"] for video in read_catalog(entry, str(archive)).videos)


def test_rows_fit_their_schemas(archive, entry):
    catalog = read_catalog(entry, str(archive))
    table = pa.Table.from_pylist(catalog.videos, schema=VIDEOS).drop_columns("content")
    assert table.to_pylist() == catalog.videos
    assert pa.Table.from_pylist(catalog.findings, schema=FINDINGS).num_rows == len(catalog.findings)


def test_any_storage_gives_the_same_catalog(archive, entry):
    memory = fsspec.filesystem("memory")
    memory.put(str(archive), "/bah", recursive=True)
    try:
        remote = read_catalog(entry, "memory://bah")
    finally:
        memory.rm("/bah", recursive=True)
    local = read_catalog(entry, str(archive))
    without_uri = [[{**v, "uri": ""} for v in catalog.videos] for catalog in (remote, local)]
    assert without_uri[0] == without_uri[1]
    assert all(video["uri"].startswith("memory://") for video in remote.videos)


def test_one_listing_and_no_look_at_single_videos(archive, entry, monkeypatch):
    calls = []
    list_files = storage.list_files
    monkeypatch.setattr(storage, "list_files", lambda uri: calls.append(uri) or list_files(uri))
    monkeypatch.setattr(storage, "exists", lambda uri: pytest.fail(f"asked for {uri}"))
    read_catalog(entry, str(archive))
    assert calls == [f"{archive}/Videos", f"{archive}/video_annotation_transcript*.yaml"]


@pytest.mark.parametrize("name", [ANNOTATIONS, "meta_data.yml", str(SPLITS / "val.txt")])
def test_a_missing_part_stops_the_run(archive, entry, name):
    (archive / name).unlink()
    with pytest.raises(ConfigError, match=r"check catalog\.root"):
        read_catalog(entry, str(archive))


def test_two_annotation_files_need_a_choice(archive, entry):
    (archive / "video_annotation_transcript_new.yaml").touch()
    with pytest.raises(ConfigError, match=r"2 files match.*\n.*files\.annotations"):
        read_catalog(entry, str(archive))


def test_a_wrong_root_stops_the_run(tmp_path, entry):
    with pytest.raises(ConfigError, match="0 files match"):
        read_catalog(entry, str(tmp_path / "nowhere"))


def test_an_archive_without_videos_stops_the_run(archive, entry):
    (archive / "Videos").rename(archive / "videos")
    with pytest.raises(ConfigError, match=r"no usable video \(18 missing_file"):
        read_catalog(entry, str(archive))


@pytest.mark.parametrize(
    "text", ["a: [", "- a list", "\x00", '1: {a: "\\ud800"}', "1: {a: 1, a: 2}", "1: {[a]: 2}"]
)
def test_broken_metadata_stop_the_run(archive, entry, text):
    (archive / "meta_data.yml").write_text(text)
    with pytest.raises(ConfigError, match=r"meta_data\.yml"):
        read_catalog(entry, str(archive))


def test_lists_of_differing_length_are_reported(archive, entry):
    path = archive / ANNOTATIONS
    path.write_text(path.read_text().replace("certainty_ah: [3, 2]", "certainty_ah: [3]"))
    messages = [
        f["message"]
        for f in read_catalog(entry, str(archive)).findings
        if f["kind"] == "list_lengths_differ"
    ]
    assert len(messages) == 1
    assert messages[0].endswith("has 2 time_detailed_ah and 1 certainty_ah")


def test_a_video_behind_a_link_out_of_the_archive_is_left_out(archive, entry):
    outside = archive.parent / "elsewhere"
    (archive / "Videos" / "101").rename(outside)
    (archive / "Videos" / "101").symlink_to(outside)
    name = "Videos/102/Visite_1/102_Question_1_2024-09-01_08-00-00_Video.mp4"
    (archive / name).unlink()
    (archive / name).symlink_to("../../../../../secret.mp4")
    catalog = read_catalog(entry, str(archive))
    refused = {f["message"] for f in catalog.findings if f["kind"] == "unsafe_link"}
    assert len(refused) == 4
    assert f"{name}: {name.removeprefix('Videos/')} is a link out of the archive" in refused
    assert sum(message.endswith("101 is a link to a folder") for message in refused) == 3
    left_out = {f["item_id"] for f in catalog.findings if f["kind"] in LEFT_OUT}
    assert len(catalog.videos) + len(left_out) == KEYS


@pytest.mark.parametrize("again", ["Yes", "No"])
def test_a_participant_with_two_entries(archive, entry, again):
    with (archive / "meta_data.yml").open("a") as file:
        file.write(f"104: {{age: 40, Use in challenges: {again}}}\n")
    catalog = read_catalog(with_consent(entry), str(archive))
    kept = {v["participant_id"] for v in catalog.videos}
    noted = [f["message"] for f in catalog.findings if f["kind"] == "duplicate_participant"]
    if again == "Yes":  # said twice, but no contradiction
        assert ("104" in kept, noted) == (True, [])
    else:
        assert "104" not in kept
        assert noted == ["participant 104 has 2 entries in meta_data.yml, and they differ"]


def test_a_file_in_both_spellings_is_not_silent(archive, entry):
    name = "101_Question_1_2024-08-22 12-11-55_Video.mp4"
    folder = archive / "Videos" / "101" / "Visite_1"
    (folder / name.replace(" ", "_")).touch()
    messages = [f["message"] for f in read_catalog(entry, str(archive)).findings]
    assert "files that no annotation or split file names: 2" in messages


def test_participants_in_two_splits_stop_what_needs_splits(archive, entry):
    videos = pa.Table.from_pylist(read_catalog(entry, str(archive)).videos, schema=VIDEOS)
    with pytest.raises(LeakError, match="participant 104 is in test and train"):
        require_no_leaks(videos)
    require_no_leaks(videos.filter(pc.not_equal(videos["participant_id"], "104")))


def test_values_without_end_are_cut_short(archive, entry):
    bomb = "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )
    path = archive / ANNOTATIONS
    path.write_text(
        bomb + path.read_text().replace("[80, 1:30]]", "[80, 1:30], *x29]").replace(
            "certainty_ah: [3, 2]", "certainty_ah: [3, *x29]"
        )
    )  # fmt: skip
    catalog = read_catalog(entry, str(archive))
    assert max(len(f["message"]) for f in catalog.findings) < 10_000
    assert len(by_name(catalog)["101_Question_2"]["intervals"]) == 3


@pytest.mark.parametrize(
    "spelling",
    [
        *("{}", "Videos/./{name}", "Videos//{name}", "./{}", "{}/", "{}/.", "Videos/101/../{name}"),
        *("file://{}", "leak::{}", "{}::{}", "zip://x::{}"),
    ],
)
def test_a_refused_link_is_reached_by_no_other_spelling(archive, entry, spelling):
    name = "102/Visite_1/102_Question_1_2024-09-01_08-00-00_Video.mp4"
    file = archive / "Videos" / name
    file.unlink()
    file.symlink_to("../../../../../secret.mp4")
    key = spelling.replace("{}", f"Videos/{name}").replace("{name}", name)
    path = archive / ANNOTATIONS
    path.write_text(path.read_text() + f"\n? {key!r}\n: {{global_ah: 1}}\n")
    catalog = read_catalog(entry, str(archive))
    assert not any("102_Question_1" in video["uri"] for video in catalog.videos)
