"""Answers as another parser reads them: nothing is scored again, for what was written is kept."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import schemas
from ah_ray.tasks.parsing import Reader

_WRITTEN = ("ok", "unparseable")  # what an answer is that there is a reply of


def reread(answers: pa.Table, read: Reader | None) -> pa.Table:
    """Answers with what ``read`` finds in the replies; those that were weighed stay as they are.

    Columns in: ``status``, ``labels`` and ``raw_text`` of ``schemas.PREDICTIONS``, and any others.
    Columns out: the same, with another ``status`` and other ``labels``.

    Args:
        answers: they.
        read: reads a reply; None for answers as they are.
    """
    if read is None or not len(answers):
        return answers
    replies = answers["raw_text"]
    written = pc.and_(pc.is_valid(replies), pc.is_in(answers["status"], pa.array(_WRITTEN)))
    known = {text: read(text) for text in pc.unique(replies.filter(written)).to_pylist()}
    status, labels = (answers[name].to_pylist() for name in ("status", "labels"))
    for row, (text, is_written) in enumerate(
        zip(replies.to_pylist(), written.to_pylist(), strict=True)
    ):
        if is_written:
            reading = known[text]
            status[row] = "unparseable" if reading is None else "ok"
            labels[row] = None if reading is None else sorted(reading.labels)
    for name, values, kind in (("status", status, pa.string()), ("labels", labels, schemas.LABELS)):
        column = pa.array(values, kind).cast(answers.schema.field(name).type)
        answers = answers.set_column(answers.column_names.index(name), name, column)
    return answers


def read_otherwise(before: pa.Table, after: pa.Table) -> dict[str, int]:
    """By member, how many of its answers are others than they were; who has none is left out.

    Args:
        before: answers with a column ``member``.
        after: the same rows, read again.
    """
    rows = zip(
        *(before[name].to_pylist() for name in ("member", "status", "labels")),
        *(after[name].to_pylist() for name in ("status", "labels")),
        strict=True,
    )
    changed = Counter(row[0] for row in rows if row[1:3] != row[3:])
    return dict(sorted(changed.items()))
