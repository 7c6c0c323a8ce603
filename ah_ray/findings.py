"""Everything that can be odd in an archive: how severe it is, and the rule for what is done.

The rules are for archives as they are: nothing odd is repaired by guessing, nothing is silent.
``error`` means that something is lost or that results cannot be trusted, ``warning`` that sources
contradict each other or that something is damaged, ``info`` that the outcome is as intended.

``docs/archives.md`` shows this table.
"""

from __future__ import annotations

import reprlib
from functools import partial
from typing import NamedTuple

from ah_ray.schemas import finding


class Kind(NamedTuple):
    """One oddity.

    Attributes:
        stage: which one finds it: ``catalog``, ``prepare``, ``train`` or ``score``.
        severity: of the finding.
        rule: what is done about it; the ``action`` column of the finding.
        left_out: whether it takes a video out of the stage. A video that a stage leaves out has
            exactly one finding of such a kind.
    """

    stage: str
    severity: str
    rule: str
    left_out: bool = False


_catalog = partial(Kind, "catalog")
_prepare = partial(Kind, "prepare")
_train = partial(Kind, "train")
_score = partial(Kind, "score")

#: Every kind of finding by its name.
KINDS: dict[str, Kind] = {
    # Catalog: a video that cannot be used.
    "unsafe_key": _catalog("error", "left out, never read: it points out of the archive", True),
    "unsafe_link": _catalog("error", "left out: only links to files inside are followed", True),
    "bad_name": _catalog("error", "left out: its name is no UTF-8 text", True),
    "video_in_two_splits": _catalog("error", "left out: in either split it would leak", True),
    "consent_denied": _catalog("info", "left out: a required consent flag is not given", True),
    "missing_file": _catalog("error", "left out: the archive has no such file", True),
    "bad_row": _catalog("error", "left out: the row cannot be read or names no file", True),
    "duplicate_row": _catalog("error", "left out: the first row with this id is used", True),
    "duplicate_uri": _catalog("error", "left out: the first row with this file is used", True),
    "repeated_row": _catalog("warning", "counts once: it says the same as the first row"),
    "tables_differ": _catalog("warning", "the table that the entry names first is used"),
    "table_missing": _catalog("info", "read without it"),
    "ignored_rows": _catalog("info", "left alone: no table of videos names what they are about"),
    # What a table means by its cells.
    "cell_unreadable": _catalog("warning", "taken as empty: it is no text, or endless"),
    "word_invalid": _catalog("warning", "the word is dropped, the others of its list are used"),
    "column_unused": _catalog("warning", "kept as an attribute"),
    "separator": _catalog("info", "read with the separator that its header has"),
    "label_words": _catalog("info", "read as the label that is named in the message"),
    "split_spelling": _catalog("warning", "read as the split that is named in the message"),
    "split_spellings": _catalog("error", "kept as stated: as different splits"),
    "null_words": _catalog("info", "read as an empty cell"),
    "no_participants": _catalog("warning", "kept: who is in two splits cannot be known"),
    # Sources that contradict each other.
    "participant_in_two_splits": _catalog("error", "kept as stated: training and evaluation stop"),
    "member_has_seen": _catalog("error", "kept as stated: training, scoring and evaluation stop"),
    "content_in_two_splits": _catalog("error", "kept as stated: training and evaluation stop"),
    "similar_in_two_splits": _catalog("warning", "kept: look whether it is one recording"),
    "not_compared": _catalog("warning", "kept: whether it is a copy is not known"),
    "participant_unknown": _catalog("warning", "kept without a participant"),
    "duplicate_participant": _catalog(
        "warning",
        "none of the contradicting entries is used: no attribute, no consent flag",
    ),
    "metadata_missing": _catalog("info", "kept without attributes of the participant"),
    "duplicate_key": _catalog("warning", "the first entry of the annotations is used"),
    "duplicate_split_line": _catalog("warning", "the first line of the split file is used"),
    "not_in_splits": _catalog("warning", "kept without a split, with the annotated label"),
    "not_in_annotations": _catalog("warning", "kept with the split file's label, no intervals"),
    "label_invalid": _catalog("warning", "taken as not stated: it is no label of the task"),
    "label_contradiction": _catalog("warning", "the split file wins: it is the benchmark's label"),
    # Intervals.
    "interval_unparsable": _catalog("warning", "the interval is dropped"),
    "interval_reversed": _catalog("warning", "the interval is dropped"),
    "interval_empty": _catalog("warning", "the interval is dropped"),
    "interval_too_late": _catalog("error", "the interval is dropped: no video is so long"),
    "intervals_past_video": _catalog("error", "kept: prepare drops what lies after the end"),
    "intervals_overlap": _catalog("info", "the overlapping intervals become one"),
    "intervals_touch": _catalog("info", "the touching intervals become one"),
    "positive_without_intervals": _catalog("warning", "kept: to be scored, not to be trained on"),
    "negative_with_intervals": _catalog("warning", "the label wins: all its intervals are dropped"),
    "list_lengths_differ": _catalog("info", "the intervals are used, the other lists are not"),
    # Files.
    "ignored_files": _catalog("info", "left alone"),
    # The run config against the archive.
    "split_missing": _catalog("error", "nothing: the stages find no video of it"),
    "validation_missing": _catalog("warning", "the last checkpoint becomes the member"),
    "split_unused": _catalog("info", "neither trained on nor scored"),
    "one_class_training": _catalog("error", "nothing: a model would learn to say one word"),
    "one_class_scored": _catalog("warning", "scored: no metric can tell the classes apart"),
    # Prepare: a video that cannot be used.
    "missing": _prepare("error", "left out until there is such a file", True),
    "unreadable": _prepare("error", "left out: it is no video or picture file, or broken", True),
    "no_video": _prepare("error", "left out: the file has no picture", True),
    "no_duration": _prepare("error", "left out: the file has no length that can be measured", True),
    "no_picture": _prepare("error", "left out: no frame can be decoded where one should be", True),
    "detector_failed": _prepare("error", "left out: who is to find faces in it failed", True),
    "frame_size": _prepare("error", "left out: no model can look at frames of this size", True),
    "too_long": _prepare("error", "left out: longer than the limit of the config", True),
    "too_large": _prepare("error", "left out: larger than the limit of the config", True),
    "timeout": _prepare("error", "left out: it took longer than the limit of the config", True),
    "storage_error": _prepare("error", "left out for now: the next run tries it again", True),
    "changed": _prepare("error", "left out for now: read the catalog again", True),
    "worker_died": _prepare("error", "left out: each time it took the worker's process down", True),
    "unexpected": _prepare("error", "left out: an error of this software; please report it", True),
    "no_audio": _prepare("error", "left out: videos without sound are errors in this config", True),
    "no_audio_skipped": _prepare("info", "left out: this config skips videos without sound", True),
    "no_clip": _prepare("warning", "left out: nothing in it is long enough for a clip", True),
    "no_label": _prepare("error", "left out of training: the video has no label", True),
    "no_interval": _prepare("error", "left out of training: no interval to cut it to", True),
    "cut_failed": _prepare("error", "left out of training: none of its clips could be cut", True),
    # Prepare: a video that is used.
    "clip_failed": _prepare("warning", "the clip is left out of training, the others are used"),
    "damaged": _prepare("warning", "kept: what can be decoded of the clip is used"),
    "interval_past_end": _prepare(
        "warning",
        "the interval is cut at the end of the video, and dropped if it starts after it",
    ),
    "picture_with_intervals": _prepare("warning", "used whole: a picture has no moments"),
    # Train: a clip that cannot be used.
    "clip_file_missing": _train("error", "the clip is left out of training"),
    "clip_unlabelled": _train("error", "the clip is left out of training"),
    # Score: a member that is no use.
    "low_mass": _score("warning", "its answers count all the same: train it, or ask otherwise"),
}

#: The kinds whose findings, one per video, account for what a stage leaves out.
LEFT_OUT = frozenset(name for name, kind in KINDS.items() if kind.left_out)


class _Repr(reprlib.Repr):
    def repr_bytes(self, value: bytes, level: int) -> str:
        """Cut before it is written out, which takes four times the memory."""
        return self.repr_str(repr(value[: self.maxstring]), level)


_repr = _Repr()
_repr.maxlevel, _repr.maxstring = 2, 200


def shown(value: object) -> str:
    """``value`` as Python writes it, for a message; cut short, for a file may hold anything."""
    try:
        return _repr.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def note(item_id: str, kind: str, message: str) -> dict[str, str]:
    """One row of the findings table with the severity and the rule of ``kind``."""
    return finding(item_id, KINDS[kind].severity, kind, message, KINDS[kind].rule)
