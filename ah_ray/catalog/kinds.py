"""Everything that can be odd in an archive: how severe it is, and the rule for what is done.

The rules are for archives as they are: nothing odd is repaired by guessing, nothing is silent.
``error`` means that something is lost or that results cannot be trusted, ``warning`` that sources
contradict each other, ``info`` that the outcome is as intended.
"""

from __future__ import annotations

from typing import NamedTuple

from ah_ray.schemas import finding


class Kind(NamedTuple):
    """One oddity.

    Attributes:
        severity: of the finding.
        rule: what is done about it; the ``action`` column of the finding.
        left_out: whether it takes a video out of the catalog; a video that is not in the
            catalog has exactly one finding of such a kind.
    """

    severity: str
    rule: str
    left_out: bool = False


KINDS: dict[str, Kind] = {
    # A video that cannot be used.
    "unsafe_key": Kind("error", "left out, never read: it points out of the archive", True),
    "video_in_two_splits": Kind("error", "left out: in either split it would leak", True),
    "consent_denied": Kind("info", "left out: a required consent flag is not given", True),
    "missing_file": Kind("error", "left out: the archive has no such file", True),
    "bad_row": Kind("error", "left out: the row cannot be read or names no file", True),
    "duplicate_row": Kind("error", "left out: the first row with this id is used", True),
    # Sources that contradict each other.
    "participant_in_two_splits": Kind("error", "kept as stated: not fit for evaluation"),
    "participant_unknown": Kind("warning", "kept without a participant"),
    "metadata_missing": Kind("info", "kept without attributes of the participant"),
    "duplicate_key": Kind("warning", "the first entry of the annotations is used"),
    "duplicate_split_line": Kind("warning", "the first line of the split file is used"),
    "not_in_splits": Kind("warning", "kept without a split, with the annotated label"),
    "not_in_annotations": Kind("warning", "kept with the label of the split file, no intervals"),
    "label_invalid": Kind("warning", "taken as not stated: a label is 0 or 1"),
    "label_contradiction": Kind("warning", "the split file wins: it is the benchmark's label"),
    # Intervals.
    "interval_unparsable": Kind("warning", "the interval is dropped"),
    "interval_reversed": Kind("warning", "the interval is dropped"),
    "interval_empty": Kind("warning", "the interval is dropped"),
    "intervals_merged": Kind("info", "overlapping or touching intervals became one"),
    "positive_without_intervals": Kind("warning", "kept: to be scored, with nothing to train on"),
    "negative_with_intervals": Kind("warning", "the label wins: all its intervals are dropped"),
    "list_lengths_differ": Kind("info", "the intervals are used, the other lists are not"),
    # Files.
    "ignored_files": Kind("info", "left alone"),
}

#: The kinds whose findings, one per video, account for what the catalog does not contain.
LEFT_OUT = frozenset(name for name, kind in KINDS.items() if kind.left_out)


def note(item_id: str, kind: str, message: str) -> dict[str, str]:
    """One row of the findings table with the severity and the rule of ``kind``."""
    return finding(item_id, KINDS[kind].severity, kind, message, KINDS[kind].rule)
