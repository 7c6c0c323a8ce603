"""The videos of a report as plain values: a row of its table each, and what was said when.

Pure functions over rows of tables. What a page can hold is bounded: texts are kept once, chances
as whole percents, and the videos after those that fill it have a row and no timeline.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ah_ray.evaluation.judged import Judged, overlap
from ah_ray.pipelines.results import chance, evidence, is_still
from ah_ray.schemas import Row
from ah_ray.tasks.rules import STATUSES

_ROOM = 8 * 2**20  # for all timelines and what is said in them, in characters of JSON
_LONGEST = 600  # text of an answer, in characters


class Place(NamedTuple):
    """Where a video is, for people.

    Attributes:
        name: in its archive.
        link: that opens it in a browser; None where no browser reaches it.
        path: of it, as a shell reads it, for a player; None likewise.
    """

    name: str
    link: str | None
    path: str | None


@dataclass
class Texts:
    """What is said, each text once; timelines name them by number.

    Attributes:
        numbers: of each text and whether it is an answer.
        size: of all texts, in characters.
    """

    numbers: dict[tuple[str, bool], int] = field(default_factory=dict)
    size: int = 0

    def number(self, text: str, is_answer: bool = True) -> int:
        """The number of a text."""
        key = text[:_LONGEST], is_answer
        if key not in self.numbers:
            self.numbers[key] = len(self.numbers)
            self.size += len(key[0])
        return self.numbers[key]

    def listed(self) -> list[tuple[str, bool]]:
        """All texts in the order of their numbers."""
        return list(self.numbers)


def row(
    verdict: Mapping[str, Any],
    video: Mapping[str, Any],
    place: Place,
    moments: Mapping[str, str],
    options: Sequence[str],
) -> Row:
    """A row of the table of videos.

    Args:
        verdict: of ``schemas.VERDICTS``.
        video: of ``schemas.VIDEOS``.
        place: of it.
        moments: when its clips are, for people, by id; a picture is at no time.
        options: of a choice, in order.
    """
    labels, truth = verdict["labels"], video["labels"]
    considered = verdict["considered"] or []
    givers = {one["label"]: one["members"] or () for one in considered}
    # Of two options the chance of what is looked for: one score, whatever the verdict.
    sure = considered[0]["chance"] if len(options) == 2 and considered else chance(verdict)
    judged = Judged(frozenset(truth or ()), None if labels is None else frozenset(labels))
    return {
        "video": place.name,
        "link": place.link,
        "path": place.path,
        "person": video["participant_id"],
        "split": video["split"],
        "verdict": said(labels),
        "chance": None if sure is None else round(sure, 3),
        "by": ", ".join(sorted({by for label in labels or () for by in givers.get(label, ())})),
        "truth": None if truth is None else said(truth),
        "right": None if truth is None or labels is None else _right(overlap(judged), options),
        "at": moments.get(evidence(verdict) or ""),
        "status": verdict["status"],
        "coverage": verdict["coverage"],
    }


def _right(shared: float, options: Sequence[str]) -> str | float:
    """Whether a choice is right; of words how much is shared with the labels."""
    return ("right" if shared == 1 else "wrong") if options else round(shared, 2)


def said(labels: Iterable[str] | None) -> str:
    """Labels as people read them."""
    return "undecided" if labels is None else ", ".join(sorted(labels)) or "nothing"


def timeline(
    verdict: Mapping[str, Any],
    video: Mapping[str, Any],
    clips: Sequence[Mapping[str, Any]],
    answers: Mapping[str, Iterable[Mapping[str, Any]]],
    texts: Texts,
    options: Sequence[str],
) -> Row:
    """What was said of a video when, by whom, and what decided.

    Args:
        verdict: of ``schemas.VERDICTS``; empty where nobody votes.
        video: of ``schemas.VIDEOS``.
        clips: rows of ``schemas.CLIPS`` in order of time.
        answers: rows of ``schemas.PREDICTIONS`` by member.
        texts: takes what is said.
        options: of a choice, in order.

    Returns:
        clips (start and end in seconds), lanes (for each member and clip the number of its text
        and the chance in percent: of two options of the first, else of what it says), intervals,
        evidence (of each label of the verdict: label, chance, members, the place of its clip),
        members (the same of each member's answer), subtitles, attributes, and whether it is a
        picture (still).
    """
    places = {clip["clip_id"]: place for place, clip in enumerate(clips)}

    def shown(one: Mapping[str, Any], by: Sequence[str]) -> list[Any]:
        return [one["label"], one["chance"], list(by), places.get(one["evidence_clip_id"])]

    def decided(of: Mapping[str, Any]) -> list[list[Any]]:
        counted = [one for one in of.get("considered") or () if one["label"] in of["labels"]]
        return [shown(one, one.get("members") or ()) for one in counted]

    found: Row = {
        "clips": [[round(clip["start_s"], 2), round(clip["end_s"], 2)] for clip in clips],
        "lanes": {
            name: _lane(clips, rows, texts, options) for name, rows in sorted(answers.items())
        },
        "intervals": [
            [round(one["start_s"], 2), round(one["end_s"], 2), one["label"] or ""]
            for one in video["intervals"] or ()
        ],
        "evidence": decided(verdict) if verdict.get("labels") is not None else [],
        "members": [
            [one["member"], said(one["labels"]), decided(one) if one["labels"] is not None else []]
            for one in verdict.get("members") or ()
        ],
        "attributes": dict(video["attributes"] or ()),
        "still": bool(clips) and all(map(is_still, clips)),
    }
    if any(clip["subtitle"] for clip in clips):
        found["subtitles"] = [texts.number(clip["subtitle"] or "") for clip in clips]
    return {key: value for key, value in found.items() if value}


def _lane(
    clips: Sequence[Mapping[str, Any]],
    answers: Iterable[Mapping[str, Any]],
    texts: Texts,
    options: Sequence[str],
) -> list[list[int | None]]:
    """What a member says of each clip; of several rows of one the best counts."""
    best: dict[str, Mapping[str, Any]] = {}
    for answer in sorted(answers, key=lambda one: STATUSES.index(one["status"])):
        best.setdefault(answer["clip_id"], answer)
    return [_cell(best.get(clip["clip_id"]), texts, options) for clip in clips]


def _cell(
    answer: Mapping[str, Any] | None, texts: Texts, options: Sequence[str]
) -> list[int | None]:
    if answer is None:
        return [texts.number("missing", False), None]
    if answer["status"] != "ok":
        why = answer["error_kind"] or answer["raw_text"] or ""
        return [texts.number(f"{answer['status']}: {why}".rstrip(": "), False), None]
    labels, chances = answer["labels"], dict(answer["chances"] or ())
    of = options[:1] if len(options) == 2 else labels or ()
    known = [chances[label] for label in of if chances.get(label) is not None]
    sure = known[0] if len(known) == len(of) == 1 else None
    text = answer["text"] if labels is None or (answer["text"] and not labels) else said(labels)
    if labels and answer["text"]:  # a label and why
        text = f"{text}: {answer['text']}"
    number = texts.number(text or "nothing")
    return [number, None if sure is None or not math.isfinite(sure) else round(100 * sure)]


def filled(timelines: Iterable[Row], texts: Texts) -> list[Row]:
    """As many timelines as a page has room for, in order; ``texts`` are those that they name."""
    found: list[Row] = []
    size = 0
    for one in timelines:
        size += len(json.dumps(one))
        if size + texts.size > _ROOM:
            break
        found.append(one)
    return found


def lost_row(video: Mapping[str, Any], place: Place, why: Sequence[str]) -> Row:
    """The row of a video that has a finding in the place of a verdict."""
    return {
        "video": place.name,
        "link": place.link,
        "person": video["participant_id"],
        "split": video["split"],
        "truth": None if video["labels"] is None else said(video["labels"]),
        "status": "in findings",
        "why": "; ".join(why),
    }
