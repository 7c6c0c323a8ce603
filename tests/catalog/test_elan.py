"""Documents of ELAN as an archive: what people corrected there."""

from pathlib import Path

import pytest
from pympi.Elan import Eaf

from ah_ray.catalog import CatalogEntry, read_catalog
from ah_ray.catalog.elan import parse
from ah_ray.catalog.entry import Elan
from ah_ray.errors import ItemError
from ah_ray.export.elan import document
from ah_ray.schemas import stable_id
from ah_ray.tasks.answers import Choice, Labels

ENTRY = CatalogEntry(title="corrected", reader="elan", elan=Elan(tier="annotation"))
YES_NO = Choice(kind="choice", options=("Yes", "No"), reply="{answer}", absent="No")
FOUR = Choice(kind="choice", options=("smile", "frown", "bright", "dull"), reply="{answer}")
WORDS = Labels(kind="labels")

GOLDEN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-01T00:00:00Z" FORMAT="3.0" VERSION="3.0">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/x/{media}" MIME_TYPE="video/mp4"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1500"/>
    <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="4000"/>
    <TIME_SLOT TIME_SLOT_ID="ts3"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" PARTICIPANT="P 7" TIER_ID="annotation">{annotations}</TIER>
  <LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""


def annotation(value: str, end: str = "ts2") -> str:
    return (
        '<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" '
        f'TIME_SLOT_REF2="{end}"><ANNOTATION_VALUE>{value}</ANNOTATION_VALUE>'
        "</ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for name in ("p1/a.mp4", "p2/a.mp4", "b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def write(archive: Path, name: str, media: str, annotations: str = "") -> None:
    text = GOLDEN.format(media=media, annotations=annotations)
    (archive / f"{name}.eaf").write_text(text)


def read(archive: Path, answer=YES_NO, entry: CatalogEntry = ENTRY):
    return read_catalog(entry, str(archive), answer)


def kinds(catalog) -> list[str]:
    return sorted(finding["kind"] for finding in catalog.findings)


def test_a_tier_has_labels_where_they_hold(archive: Path) -> None:
    write(archive, "one", "p1/a.mp4", annotation("yes"))
    write(archive, "two", "p2/a.mp4")
    catalog = read(archive)
    one, two = sorted(catalog.videos, key=lambda video: video["uri"])
    assert one["video_id"] == stable_id("p1/a.mp4")
    assert one["uri"] == str(archive / "p1/a.mp4"), "by the end of the link, not by its name alone"
    assert (one["labels"], one["participant_id"], one["split"]) == (["Yes"], "P 7", None)
    assert one["intervals"] == [{"start_s": 1.5, "end_s": 4.0, "label": None}]
    assert (two["labels"], two["intervals"]) == (["No"], []), "somebody looked, and saw nothing"
    assert kinds(catalog) == ["ignored_files"]  # b.mp4


def test_words_and_classes_come_from_a_tier_too(archive: Path) -> None:
    write(archive, "one", "p1/a.mp4", annotation("glad") + annotation("calm", "ts3"))
    catalog = read(archive, WORDS)
    assert catalog.videos[0]["labels"] == ["calm", "glad"]
    assert [part["label"] for part in catalog.videos[0]["intervals"]] == ["glad"]
    assert kinds(catalog) == ["ignored_files", "interval_unparsable"]  # one has no end
    write(archive, "one", "p1/a.mp4", annotation("smile") + annotation("dull"))
    catalog = read(archive, FOUR)
    assert catalog.videos[0]["labels"] is None
    assert kinds(catalog) == ["ignored_files", "label_invalid"]
    renamed = ENTRY.model_copy(update={"labels": {"laughs": "smile"}})
    write(archive, "one", "p1/a.mp4", annotation("Laughs"))
    assert read(archive, FOUR, renamed).videos[0]["labels"] == ["smile"]


@pytest.mark.parametrize(
    ("media", "kind"),
    [
        ("../../../etc/passwd", "missing_file"),
        ("nowhere/c.mp4", "missing_file"),
        ("a.mp4", "bad_row"),  # of p1 or of p2?
    ],
)
def test_a_link_leads_to_a_file_of_the_archive_or_nowhere(
    archive: Path, media: str, kind: str
) -> None:
    write(archive, "odd", media)
    write(archive, "good", "b.mp4")
    catalog = read(archive)
    assert [video["uri"] for video in catalog.videos] == [str(archive / "b.mp4")]
    assert kinds(catalog) == sorted([kind, "ignored_files"])


def test_odd_documents_are_findings(archive: Path) -> None:
    write(archive, "a", "b.mp4", annotation("maybe"))
    write(archive, "b", "b.mp4")
    (archive / "cut.eaf").write_text(GOLDEN[:300])
    (archive / "other.eaf").write_text("<html/>")
    (archive / "bomb.eaf").write_text(
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ANNOTATION_DOCUMENT>&e;'
        "</ANNOTATION_DOCUMENT>"
    )
    catalog = read(archive)
    assert kinds(catalog) == [
        "bad_row", "bad_row", "bad_row", "duplicate_row", "ignored_files", "label_invalid",
    ]  # fmt: skip
    assert catalog.videos[0]["labels"] is None
    other = ENTRY.model_copy(update={"elan": Elan(tier="mine")})
    catalog = read(archive, YES_NO, other)
    assert catalog.videos[0]["labels"] is None
    assert "has no tier mine" in str(catalog.findings)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"<a>", b"<a/>"])
def test_what_is_no_document_is_refused(content: bytes) -> None:
    with pytest.raises(ItemError):
        parse(content, "annotation")


def test_shares_draw_people_into_splits(archive: Path) -> None:
    for name, media in (("one", "p1/a.mp4"), ("two", "p2/a.mp4")):
        write(archive, name, media)
    shares = ENTRY.model_copy(update={"elan": Elan(tier="annotation", shares={"train": 1.0})})
    catalog = read(archive, YES_NO, shares)
    assert {video["split"] for video in catalog.videos} == {"train"}


def test_what_is_exported_and_corrected_comes_back(archive: Path) -> None:
    clips = [{"clip_id": f"c{n}", "start_s": 5.0 * n, "end_s": 5.0 * n + 5} for n in range(3)]
    answers = {
        clip["clip_id"]: [{"member": "v1", "status": "ok", "labels": ["No"], "chances": None,
                           "text": None}]
        for clip in clips
    }  # fmt: skip
    verdict = {"labels": ["No"], "considered": [], "members": [{"member": "v1"}]}
    video = {"uri": str(archive / "b.mp4"), "participant_id": "p9", "labels": ["Yes"],
             "intervals": [{"start_s": 2.0, "end_s": 3.5, "label": None}]}  # fmt: skip
    file = archive / "b.eaf"
    file.write_bytes(document(verdict, video, clips, answers))
    (back,) = read(archive).videos
    assert (back["labels"], back["participant_id"]) == (["Yes"], "p9")
    assert back["intervals"] == [{"start_s": 2.0, "end_s": 3.5, "label": None}]

    corrected = Eaf(str(file))
    corrected.add_annotation("annotation", 9000, 12000, "Yes")
    corrected.remove_annotation("annotation", 2500)
    corrected.to_file(str(file))
    (back,) = read(archive).videos
    assert back["intervals"] == [{"start_s": 9.0, "end_s": 12.0, "label": None}]
