"""The Arrow schema of every table, and the ids in them: the one place where columns are defined.

Times are seconds from the start of the source video, sizes are pixels, rates are Hz. Every table
is a folder of Parquet files in the run directory; see ``storage`` for how they are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa

#: A row of a table as plain values.
Row = dict[str, Any]

LABELS = pa.list_(pa.string())  # sorted; null where nothing is known or said
INTERVAL = pa.struct(
    [
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("label", pa.string()),  # what it shows; null for the labels of its video
    ]
)

SUBTITLE = pa.struct(
    [
        ("start_s", pa.float64()),  # both null for a text of the whole video
        ("end_s", pa.float64()),
        ("text", pa.string()),
    ]
)

VIDEOS = pa.schema(
    [
        ("video_id", pa.string()),
        ("uri", pa.string()),  # in the run directory: relative to it
        ("content", pa.string()),  # hash of the file (``contents``); null when it cannot be read
        ("participant_id", pa.string()),  # null when the archive does not know participants
        ("split", pa.string()),  # train, val or test; null for an unlabelled archive
        ("labels", LABELS),  # in the words of the task; null when unknown
        ("intervals", pa.list_(INTERVAL)),  # where they are annotated
        ("subtitles", pa.list_(SUBTITLE)),  # what is said; null or empty when unknown
        ("attributes", pa.map_(pa.string(), pa.string())),  # whatever else the archive states
    ]
)

CLIPS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("participant_id", pa.string()),
        ("split", pa.string()),
        ("source_uri", pa.string()),  # in the run directory: relative to it, as all URIs here
        ("content", pa.string()),  # of the source, as in the videos table
        ("segment_index", pa.int32()),  # which interval of the video the clip lies in
        ("clip_index", pa.int32()),  # position among the video's clips, in order of time
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("labels", LABELS),  # null in scoring clips: a scorer never sees a label
        ("subtitle", pa.string()),  # what is said in it, on one line; null when unknown
        ("media_uri", pa.string()),  # the clip's own file; null when the clip is virtual
        ("audio_uri", pa.string()),  # its 16 kHz mono WAV; null when the clip is virtual
        ("width", pa.int32()),  # of the source, in pixels
        ("height", pa.int32()),
        ("fps", pa.float64()),  # of the source, average; 0 of a picture
        ("has_audio", pa.bool_()),  # false: the model hears silence
        ("damage", pa.int32()),  # decoder errors inside the clip, met when its file was cut
        ("bucket", pa.string()),  # frames x height x width that the model sees
        ("made_from", pa.string()),  # ``lineage``: the video's facts and the rule
    ]
)

PREDICTIONS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("status", pa.string()),  # ok, unparseable or error
        ("labels", LABELS),  # of the answer; null unless status is ok
        ("chances", pa.map_(pa.string(), pa.float64())),  # P(option | one of them); null: not known
        ("mass", pa.float64()),  # probability of all options together; the rest: other words
        ("text", pa.string()),  # of an answer that is text
        ("raw_text", pa.string()),  # what the model wrote; null where options were only weighed
        ("gate", pa.map_(pa.string(), pa.float64())),  # weight of each expert; null: it has none
        ("damage", pa.int32()),  # decoder errors inside the clip; null when it was not decoded
        ("error_kind", pa.string()),
        ("error", pa.string()),
        ("attempts", pa.int32()),
        ("made_from", pa.string()),  # ``lineage``: member, settings, content of the video
    ]
)

# What the clips say about a label, to a member.
_CONSIDERED = [
    ("label", pa.string()),
    ("chance", pa.float64()),  # as the rule sees it
    ("evidence_clip_id", pa.string()),  # the clip that speaks for it most
]

MEMBER_VERDICT = pa.struct(
    [
        ("member", pa.string()),
        ("labels", LABELS),  # null when no clip gave a usable answer
        ("considered", pa.list_(pa.struct(_CONSIDERED))),  # options in their order
        ("clips_ok", pa.int32()),
        ("clips_unparseable", pa.int32()),
        ("clips_error", pa.int32()),
        ("clips_missing", pa.int32()),
    ]
)

# And what the members say about it; their evidence is that of the one who speaks for it most.
CONSIDERED = pa.struct([*_CONSIDERED, ("members", pa.list_(pa.string()))])  # who gives it

VERDICTS = pa.schema(
    [
        ("video_id", pa.string()),
        ("uri", pa.string()),
        ("participant_id", pa.string()),
        ("split", pa.string()),
        ("members", pa.list_(MEMBER_VERDICT)),  # sorted by member name
        ("labels", LABELS),  # null when undecided
        ("considered", pa.list_(CONSIDERED)),  # options in their order
        ("status", pa.string()),  # ok, partial (some answer is missing) or undecided
        ("coverage", pa.float64()),  # usable answers / expected answers, 0 to 1
        ("made_from", pa.string()),  # ``lineage``: rules, policies and all answers
    ]
)

FINDINGS = pa.schema(
    [
        ("item_id", pa.string()),  # a video_id, a clip_id or a catalog key
        ("severity", pa.string()),  # error (the item is lost to the stage), warning or info
        ("kind", pa.string()),
        ("message", pa.string()),
        ("action", pa.string()),  # what was done about it
        ("made_from", pa.string()),  # ``lineage``, of prepare's; null of other stages
    ]
)

# What a member has seen: every video of its training and of what chose its checkpoint.
SEEN = pa.schema(
    [
        ("video_id", pa.string()),
        ("participant_id", pa.string()),
        ("content", pa.string()),
        ("labels", LABELS),
        ("role", pa.string()),  # training or validation
        ("made_from", pa.string()),  # of its clips, as in the manifest
    ]
)

# Every caption that was asked for: each captioner's of each clip.
CAPTIONS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("participant_id", pa.string()),
        ("split", pa.string()),
        ("source_uri", pa.string()),
        ("content", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("subtitle", pa.string()),  # what is said in the clip
        ("labels", LABELS),  # of the video; null when unknown
        ("captioner", pa.string()),  # the member that wrote it
        ("caption", pa.string()),  # null where it wrote none that can be used
        ("dropped_by", pa.string()),  # the first filter that did; null where it is kept
        ("why", pa.string()),  # it was dropped
        ("made_from", pa.string()),  # ``lineage``, of the captioner's answer
    ]
)

# What stages have taken; a row for each call of each.
COSTS = pa.schema(
    [
        ("stage", pa.string()),
        ("unit", pa.string()),  # what is counted
        ("done", pa.int64()),  # by this call
        ("errors", pa.int64()),
        ("seconds", pa.float64()),
        ("ended_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: The columns with URIs. What lies in the run directory is stored relative to it.
URIS = ("uri", "source_uri", "media_uri", "audio_uri")

SEVERITIES = ("error", "warning", "info")


#: A column of texts that repeat, in memory.
CODED = pa.dictionary(pa.int32(), pa.string())


def columns(schema: pa.Schema, names: Iterable[str], coded: Collection[str] = ()) -> pa.Schema:
    """Some columns of a table.

    Args:
        schema: of the table.
        names: of the columns.
        coded: those of them that are to be dictionaries, as their texts repeat.
    """
    return pa.schema([(name, CODED) if name in coded else schema.field(name) for name in names])


def stable_id(*parts: str | int | float) -> str:
    """A 16-digit hexadecimal id that depends on nothing but ``parts``.

    >>> stable_id("Videos/1/a.mp4") == stable_id("Videos/1/a.mp4")
    True
    """
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def finding(item_id: str, severity: str, kind: str, message: str, action: str) -> dict[str, str]:
    """One row of the findings table."""
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity!r} is none of {SEVERITIES}")
    return {
        "item_id": item_id,
        "severity": severity,
        "kind": kind,
        "message": message,
        "action": action,
    }
