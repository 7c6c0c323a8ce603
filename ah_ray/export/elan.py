"""A video's answers as a document of ELAN, the annotation tool (format 3.0). Pure functions.

One tier for each member with a label per clip, one for the ensemble with the verdict over the whole
video, one for the clips that are its evidence, and one for what people annotated. ELAN lets nothing
overlap within a tier: what would begins where the one before ends, or goes if nothing is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree

from ah_ray import storage
from ah_ray.export.flat import cell, score
from ah_ray.schemas import Row

#: The names of the tiers that are no member's.
ENSEMBLE, EVIDENCE, ANNOTATION = "ensemble", "evidence", "annotation"

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_TYPE = "default-lt"
# A document must have a date; with that of its writing it would differ each time.
_DATE = "1970-01-01T00:00:00Z"
_KINDS = {
    ".mp4": "video/mp4",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".mov": "video/quicktime",
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ODD = re.compile(r"[^\w.-]+")


class Mark(NamedTuple):
    """A stretch of a video, and what is said of it."""

    start_s: float
    end_s: float
    text: str


def document(
    verdict: Mapping[str, Any],
    video: Mapping[str, Any],
    clips: Sequence[Row],
    answers: Mapping[str, Sequence[Row]],
) -> bytes:
    """The document of one video.

    Args:
        verdict: ``schemas.VERDICTS``.
        video: ``schemas.VIDEOS``.
        clips: its scoring clips in order of time.
        answers: of members, by clip.
    """
    tiers = _tiers(verdict, video, clips, answers)
    return _written(video["uri"], video["participant_id"], tiers)


def file_name(file: str, video_id: str) -> str:
    """What the document of a video is called: after its file, and its id, for names repeat."""
    stem = _ODD.sub("_", PurePosixPath(file).stem).strip("._") or "video"
    return f"{stem[:80]}-{video_id}.eaf"


def _tiers(
    verdict: Mapping[str, Any],
    video: Mapping[str, Any],
    clips: Sequence[Row],
    answers: Mapping[str, Sequence[Row]],
) -> dict[str, list[Mark]]:
    tiers: dict[str, list[Mark]] = {one["member"]: [] for one in verdict["members"] or ()}
    for clip in clips:
        for answer in answers.get(clip["clip_id"], ()):
            text = _said(answer) if answer["status"] == "ok" else answer["status"]
            mark = Mark(clip["start_s"], clip["end_s"], text)
            tiers.setdefault(answer["member"], []).append(mark)
    labels = verdict["labels"]
    whole = max((clip["end_s"] for clip in clips), default=0.0)
    text = "undecided" if labels is None else _with_chance(cell(labels) or "[]", score(verdict))
    tiers[ENSEMBLE] = [Mark(0.0, whole, text)] if whole else []
    spans = {clip["clip_id"]: (clip["start_s"], clip["end_s"]) for clip in clips}
    tiers[EVIDENCE] = [
        Mark(*spans[one["evidence_clip_id"]], one["label"])
        for one in verdict["considered"] or ()
        if one["label"] in (labels or ()) and one["evidence_clip_id"] in spans
    ]
    known = cell(video["labels"]) or ""
    tiers[ANNOTATION] = [
        Mark(one["start_s"], one["end_s"], one["label"] or known)
        for one in video["intervals"] or ()
    ]
    return {name: apart(marks) for name, marks in tiers.items()}


def _said(answer: Row) -> str:
    chances = dict(answer["chances"] or ())
    labels = answer["labels"] or []
    if not labels and answer["text"]:
        return str(answer["text"])
    chance = max((chances[label] for label in labels if label in chances), default=None)
    return _with_chance(cell(labels) or "[]", chance)


def _with_chance(text: str, chance: float | None) -> str:
    return text if chance is None else f"{text} ({chance:.2f})"


def apart(marks: Iterable[Mark]) -> list[Mark]:
    """Marks in order of time, each from where the one before ends; of the same place both texts.

    >>> apart([Mark(0, 5, "a"), Mark(4, 9, "b")])
    [Mark(start_s=0, end_s=5, text='a'), Mark(start_s=5, end_s=9, text='b')]
    """
    found: list[Mark] = []
    for mark in sorted(marks):
        if found and mark[:2] == found[-1][:2]:
            found[-1] = found[-1]._replace(text=f"{found[-1].text}; {mark.text}")
        else:
            start_s = max(mark.start_s, found[-1].end_s) if found else mark.start_s
            if _ms(start_s) < _ms(mark.end_s):
                found.append(mark._replace(start_s=start_s))
    return found


def _written(uri: str, person: str | None, tiers: Mapping[str, Sequence[Mark]]) -> bytes:
    ElementTree.register_namespace("xsi", _INSTANCE)
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "ah_ray", "DATE": _DATE, "FORMAT": "3.0", "VERSION": "3.0",
            f"{{{_INSTANCE}}}noNamespaceSchemaLocation": _SCHEMA,
        },
    )  # fmt: skip
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", _media(uri))
    times = ElementTree.SubElement(root, "TIME_ORDER")
    slots = annotations = 0
    for name, marks in tiers.items():
        attributes = {"LINGUISTIC_TYPE_REF": _TYPE, "TIER_ID": _plain(name)}
        attributes |= {"PARTICIPANT": _plain(person)} if person else {}
        tier = ElementTree.SubElement(root, "TIER", attributes)
        for mark in marks:
            for time_s in mark[:2]:
                slots += 1
                slot = {"TIME_SLOT_ID": f"ts{slots}", "TIME_VALUE": str(_ms(time_s))}
                ElementTree.SubElement(times, "TIME_SLOT", slot)
            annotations += 1
            place = {"TIME_SLOT_REF1": f"ts{slots - 1}", "TIME_SLOT_REF2": f"ts{slots}"}
            outer = ElementTree.SubElement(tier, "ANNOTATION")
            inner = ElementTree.SubElement(
                outer, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{annotations}"} | place
            )
            ElementTree.SubElement(inner, "ANNOTATION_VALUE").text = _plain(mark.text)
    last = ElementTree.SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId")
    last.text = str(annotations)
    kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": _TYPE, "TIME_ALIGNABLE": "true"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", kind)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return written + b"\n"


def _media(uri: str) -> dict[str, str]:
    """Where the video is: a file URL, or its URI, which ELAN asks the user to find."""
    path = storage.local_path(uri)
    kind = _KINDS.get(PurePosixPath(uri).suffix.lower(), "video/*")
    url = quote(uri, safe=":/") if path is None else path.as_uri()
    return {"MEDIA_URL": url, "MIME_TYPE": kind}


def _ms(time_s: float) -> int:
    return round(time_s * 1000)


def _plain(text: str) -> str:
    """Without what XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
