"""What a row is made from: fingerprints, and whether a row still holds.

A row states in ``made_from`` a fingerprint of all that went into it. It holds as long as the same
would go into it now; done means done *from this*. Who reads a table takes the rows that hold, who
writes it drops the others and makes them anew. Pure functions; the same ones write and compare.

| row | made from |
| --- | --- |
| clip | the facts of its video that the manifest uses, subtitles too, and the manifest's rule |
| finding of prepare | the same; that of a video left out also from the limits |
| prediction | the member's fingerprint, how it was asked, the video, its content, the subtitle |
| verdict | the rules and policies, and every answer to the video's clips |
| member | the clips that it was trained on and chosen by (``members.SEEN_FILE``) |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _quote
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray.schemas import stable_id

# The facts of a video that its clips depend on: a scorer never sees a label or an annotation.
_SCORED = ("video_id", "uri", "content", "participant_id", "split")
_TRAINED = (*_SCORED, "labels", "intervals")

# Texts that are the same in JSON, between quotes.
_PLAIN = r"^[ !#-\[\]-~]*$"

_WITH_SUBTITLE = "+subtitle"

# Arguments of an engine that change its speed and its memory and nothing that it says.
_OF_SPEED = frozenset(
    {"enforce_eager", "gpu_memory_utilization", "max_num_batched_tokens", "max_num_seqs",
     "mm_processor_cache_gb", "pipeline_parallel_size", "renderer_num_workers",
     "swap_space", "tensor_parallel_size"}
)  # fmt: skip


def fingerprint(*facts: Any) -> str:
    """A short hash of plain values: 16 hexadecimal digits, whatever the order of keys.

    >>> fingerprint({"a": 1, "b": [2.5, None]}) == fingerprint({"b": [2.5, None], "a": 1})
    True
    """
    return stable_id(json.dumps(facts, sort_keys=True, default=str))


def fingerprints(facts: Sequence[Any], rows: pa.Array) -> list[str]:
    """``fingerprint(*facts, *row)`` of many rows of texts or null, in a fraction of the time.

    Args:
        facts: the same for all rows; some.
        rows: as ``rows_of`` makes them.
    """
    return _hashed(json.dumps(list(facts), sort_keys=True, default=str)[:-1] + ", ", rows, "]")


def rows_of(columns: Sequence[pa.Array]) -> pa.Array:
    """Rows of texts or null, for ``fingerprints``."""
    return pc.binary_join_element_wise(*map(_quoted, columns), ", ")


def _hashed(head: str, rows: pa.Array, tail: str) -> list[str]:
    """``stable_id`` of each row between two texts."""
    texts = pc.binary_join_element_wise(head, rows, tail, "").cast(pa.binary()).to_pylist()
    blake2b = hashlib.blake2b
    return [blake2b(text, digest_size=8).hexdigest() for text in texts]


def _quoted(column: pa.Array) -> pa.Array:
    """Texts as they are in JSON."""
    if pc.all(pc.match_substring_regex(column, _PLAIN), min_count=0).as_py():
        quoted = pc.binary_join_element_wise('"', column, '"', "")
    else:
        texts = column.to_pylist()
        quoted = pa.array([None if text is None else _quote(text) for text in texts], pa.string())
    return pc.fill_null(quoted, "null")


def scoring_clips_made_from(videos: pa.Table, rule: Mapping[str, Any]) -> list[str]:
    """``clips_made_from`` without labels, of each row of a table of videos."""
    said = pc.fill_null(pc.list_value_length(videos["subtitles"]), 0)
    if pc.any(pc.greater(said, 0), min_count=0).as_py():
        made = clips_made_from(videos.select([*_SCORED, "subtitles"]).to_pylist(), False, rule)
        return [made[video] for video in videos["video_id"].to_pylist()]
    rows = rows_of([videos[name].combine_chunks() for name in _SCORED])
    return _hashed("[[", rows, f"], {_quote(fingerprint(rule))}]")


def clips_made_from(
    videos: Iterable[Mapping[str, Any]], labelled: bool, rule: Mapping[str, Any]
) -> dict[str, str]:
    """What the clips of each video are made from, by video_id.

    Args:
        videos: rows of ``schemas.VIDEOS``, URIs as they are stored.
        labelled: whether labels and annotated intervals decide about the clips (training).
        rule: how clips are made of a video, as plain values.
    """
    names, how = _TRAINED if labelled else _SCORED, fingerprint(rule)

    def facts(video: Mapping[str, Any]) -> list[Any]:
        said = video.get("subtitles")
        return [*(video[name] for name in names), *([said] if said else [])]

    return {video["video_id"]: fingerprint(facts(video), how) for video in videos}


def left_out_made_from(clips: str, limits: Mapping[str, Any]) -> str:
    """What leaving a video out is made from: what its clips would be, and the limits."""
    return fingerprint(clips, limits)


def asked_how(
    engine: str, engine_args: Mapping[str, Any], decoding: str | None, longest: int | None
) -> dict[str, Any]:
    """Of the settings of scoring those that decide what is answered, as plain values.

    Args:
        engine: name of the engine.
        engine_args: its arguments; those that only change its speed are left out.
        decoding: in place of that in the members' cards; None leaves it to them.
        longest: the same for the longest reply, in tokens.
    """
    arguments = {name: value for name, value in engine_args.items() if name not in _OF_SPEED}
    instead = {"decoding": decoding, "max_new_tokens": longest}
    stated = {name: value for name, value in instead.items() if value is not None}
    return {"engine": engine, "engine_args": arguments, **stated}


def with_subtitle(member: str) -> str:
    """The fingerprint of a member whose answer to a clip depends on what is said in it, too."""
    return member + _WITH_SUBTITLE


def reads_subtitle(member: str) -> bool:
    """Whether a fingerprint is that of such a member."""
    return member.endswith(_WITH_SUBTITLE)


def answer_made_from(member: str, how: Any, clip: Mapping[str, Any]) -> str:
    """What a member's answer to a clip is made from.

    It is the same for all clips of a video, whose ids say which clips it has, unless the member
    reads what is said.

    Args:
        member: its fingerprint.
        how: see ``asked_how``.
        clip: its row of the manifest, or the columns of it that count (``counting``).
    """
    return fingerprint(member, how, *(clip[name] for name in counting(member)))


def counting(member: str) -> tuple[str, ...]:
    """The columns of a clip that a member's answers depend on, besides its span."""
    return ("video_id", "content", *(("clip_id", "subtitle") if reads_subtitle(member) else ()))


def holds(table: pa.Table, made_from: Collection[str]) -> pa.ChunkedArray:
    """For each row of a table, whether it is made from one of ``made_from``."""
    column, known = table["made_from"], pa.array(made_from, pa.string())
    if not pa.types.is_dictionary(column.type):
        return pc.is_in(column, known)
    coded = column.unify_dictionaries().chunks
    if not coded:
        return pa.chunked_array([], pa.bool_())
    of_word = pc.is_in(coded[0].dictionary, known)
    held = pa.chunked_array([of_word.take(one.indices) for one in coded])
    return pc.fill_null(held, False) if held.null_count else held
