import os
from functools import partial
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from ah_ray.catalog import CatalogEntry, read_catalog
from ah_ray.errors import ConfigError
from ah_ray.schemas import FINDINGS, stable_id
from ah_ray.tasks import load_task

read_catalog = partial(read_catalog, answer=load_task("cue_conflict").answer)

ENTRY = CatalogEntry(title="folder", reader="folder")
VIDEOS = ("a.mp4", "deep/er/b c.MOV", "deep/d.Mkv")
OTHERS = ("deep/notes.txt", "mp4", "deep/a.mp4.part")


@pytest.fixture
def root(tmp_path):
    for name in VIDEOS + OTHERS:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(tmp_path / "videos")


def test_nested_videos_in_any_letter_case(root):
    catalog = read_catalog(ENTRY, root)
    assert {v["video_id"]: v["uri"] for v in catalog.videos} == {
        stable_id(name): f"{root}/{name}" for name in VIDEOS
    }
    nothing = {"participant_id": None, "split": None, "labels": None}
    nothing |= {"intervals": [], "subtitles": []}
    assert all(video.items() >= nothing.items() for video in catalog.videos)


def test_other_files_are_one_finding(root):
    (finding,) = read_catalog(ENTRY, root).findings
    assert (finding["severity"], finding["kind"]) == ("info", "ignored_files")
    assert finding["message"].endswith(": 3")


def test_pictures_count_where_there_is_no_video(root, tmp_path):
    for name in ("a.jpg", "deep/b.PNG", "deep/c.webp", "deep/d.jpeg", "deep/e.gif"):
        Path(root, name).touch()
    beside = read_catalog(ENTRY, root)
    assert len(beside.videos) == len(VIDEOS)
    (finding,) = beside.findings
    assert ": 8, of which 4 are pictures" in finding["message"]
    named = read_catalog(ENTRY, f"{root}/deep/*.[Pj]*").videos
    assert [Path(video["uri"]).name for video in named] == ["b.PNG", "d.jpeg"]
    assert len(read_catalog(ENTRY, f"{root}/a.jpg").videos) == 1
    for name in VIDEOS:
        Path(root, name).unlink()
    alone = read_catalog(ENTRY, root)
    assert [video["video_id"] for video in alone.videos] == [
        stable_id(name) for name in ("a.jpg", "deep/b.PNG", "deep/c.webp", "deep/d.jpeg")
    ]
    assert alone.findings[0]["message"].endswith(": 4")


@pytest.mark.parametrize("protocol", ["", "file://"])
@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("/", ["a.mp4", "deep/d.Mkv", "deep/er/b c.MOV"]),
        ("/a.mp4", ["a.mp4"]),
        ("/deep/**/*.MOV", ["er/b c.MOV"]),
        ("/*/*.Mkv", ["deep/d.Mkv"]),
    ],
)
def test_folder_file_and_glob(root, protocol, part, names):
    catalog = read_catalog(ENTRY, protocol + root + part)
    assert [v["video_id"] for v in catalog.videos] == [stable_id(name) for name in names]


def test_remote_storage_gives_the_same_ids(root):
    memory = fsspec.filesystem("memory")
    memory.put(root, "/videos", recursive=True)
    try:
        remote = read_catalog(ENTRY, "memory://videos")
        assert all(memory.exists(video["uri"]) for video in remote.videos)
    finally:
        memory.rm("/videos", recursive=True)
    local = read_catalog(ENTRY, root)
    assert [v["video_id"] for v in remote.videos] == [v["video_id"] for v in local.videos]


def test_an_unknown_storage_stops_the_run():
    with pytest.raises(ConfigError, match=r"catalog\.root: unheard-of://a"):
        read_catalog(ENTRY, "unheard-of://a")


@pytest.mark.parametrize(
    ("part", "found"), [("/nowhere", "nothing is there"), ("/mp4", "1 ignored_files")]
)
def test_no_video_stops_the_run(root, part, found):
    with pytest.raises(ConfigError, match=found):
        read_catalog(ENTRY, root + part)


def test_links_are_followed_to_files_inside_only(root, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.mp4").touch()
    folder = Path(root)
    (folder / "inside.mp4").symlink_to(folder / "deep" / "d.Mkv")
    (folder / "outside.mp4").symlink_to(tmp_path / "other" / "secret.mp4")
    (folder / "up.mp4").symlink_to("../other/secret.mp4")
    (folder / "broken.mp4").symlink_to("nothing.mp4")
    (folder / "more").symlink_to(tmp_path / "other")
    (folder / "self").symlink_to(".")
    catalog = read_catalog(ENTRY, root)
    assert sorted(v["uri"].removeprefix(root) for v in catalog.videos) == sorted(
        f"/{name}" for name in (*VIDEOS, "inside.mp4")
    )
    refused = {f["item_id"]: f for f in catalog.findings if f["kind"] == "unsafe_link"}
    assert {key: f["message"] for key, f in refused.items()} == {
        stable_id(name): f"{name} is a link {where}"
        for name, where in [
            ("outside.mp4", "out of the archive"),
            ("up.mp4", "out of the archive"),
            ("broken.mp4", "to nothing"),
            ("more", "to a folder"),
            ("self", "to a folder"),
        ]
    }
    assert {f["severity"] for f in refused.values()} == {"error"}


@pytest.mark.parametrize("part", ["", "/a.mp4"])
def test_the_root_itself_may_be_a_link(root, tmp_path, part):
    (tmp_path / "link.mp4").symlink_to(root + part)
    catalog = read_catalog(ENTRY, str(tmp_path / "link.mp4"))
    assert len(catalog.videos) == (1 if part else len(VIDEOS))
    assert "unsafe_link" not in {finding["kind"] for finding in catalog.findings}


def test_a_name_that_no_table_can_hold_is_a_finding(root):
    Path(os.fsdecode(root.encode() + b"/caf\xe9.mp4")).touch()
    catalog = read_catalog(ENTRY, root)
    assert len(catalog.videos) == len(VIDEOS)
    (finding,) = [f for f in catalog.findings if f["kind"] == "bad_name"]
    assert finding["message"] == "caf\\udce9.mp4 is no UTF-8"
    pa.Table.from_pylist(catalog.findings, schema=FINDINGS)


def test_a_users_own_temporary_name_is_a_video_as_any(root):
    for name in (".tmp-1.mp4", ".hidden.mp4", "tmp-2.mp4"):
        Path(root, name).touch()
    assert len(read_catalog(ENTRY, root).videos) == len(VIDEOS) + 3


@pytest.mark.parametrize("part", ["/outside.mp4/", "/./outside.mp4", "/*.mp4", "/**", "//"])
def test_a_refused_link_is_reached_by_no_other_spelling(root, tmp_path, part):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.mp4").touch()
    (Path(root) / "outside.mp4").symlink_to(tmp_path / "other" / "secret.mp4")
    (Path(root) / "leak::outside.mp4").symlink_to(tmp_path / "other" / "secret.mp4")
    try:
        uris = [video["uri"] for video in read_catalog(ENTRY, root + part).videos]
    except ConfigError:
        uris = []
    # A file that the root itself names may be a link, for it is the user's.
    named = "outside.mp4" in part
    assert named or not any("outside" in uri for uri in uris)
