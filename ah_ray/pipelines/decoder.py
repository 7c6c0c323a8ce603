"""What scoring does before it asks: a planned batch in, what the model sees of its clips out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from ah_ray.contents import require_content
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ItemError
from ah_ray.media.config import LimitsConfig, MediaConfig
from ah_ray.media.decode import DecodedClip, decode
from ah_ray.media.segment import Span
from ah_ray.pipelines.attempts import Attempts, quarantine
from ah_ray.pipelines.scorer import packed
from ah_ray.schemas import Row

_NOTHING = DecodedClip(np.zeros((0, 0, 0, 3), np.uint8), 0.0, np.zeros(0, np.float32))


def make_decode(
    media: MediaConfig | None, settings: ScoreConfig, limits: LimitsConfig, attempts: Attempts
) -> Callable[[pa.Table], pa.Table]:
    """A function that decodes the clips of one planned batch.

    Columns in: those of ``plan_batches``. Columns out: ``BATCH``; a clip that cannot be decoded has
    its error there and no media.

    Args:
        media: what the model sees of a clip; None leaves the files alone.
        settings: how long and how often decoding a source is tried.
        limits: what a source may cost.
        attempts: counts the tries, for a file that takes its decoder down.
    """

    def decode_batch(batch: pa.Table) -> pa.Table:
        sources = {
            f"decode {source['clips'][0]['clip_id']}": source
            for planned in batch.to_pylist()
            for source in planned["sources"]
        }
        if media is None:
            rows = [
                _decoded(clip, source, _NOTHING)
                for source in sources.values()
                for clip in source["clips"]
            ]
            return packed(rows)
        rows = []
        for (key,), died in quarantine(attempts.unfinished(list(sources)), settings.max_attempts):
            source = sources[key]
            if died:
                message = f"{source['source_uri']}: decoding died or hung {died} times"
                error = ItemError("decoder_died", message)
                rows += [_decoded(clip, source, error) for clip in source["clips"]]
                continue
            with attempts.trying([key], settings.batch_timeout_s):
                results = decode_source(source, media, limits)
            rows += [_decoded(source["clips"][index], source, r) for index, r in results.items()]
        return packed(rows)

    return decode_batch


def decode_source(
    source: Row, media: MediaConfig, limits: LimitsConfig
) -> dict[int, DecodedClip | ItemError]:
    """The clips of one source by their place in it; whatever goes wrong stays with the source."""
    spans = [Span(clip["start_s"], clip["end_s"]) for clip in source["clips"]]
    ids = [clip["clip_id"] for clip in source["clips"]]
    results: dict[int, DecodedClip | ItemError] = {}
    try:
        for index, result in decode(source["source_uri"], spans, media, limits, clip_ids=ids):
            results[index] = result
    except Exception as error:
        message = f"{source['source_uri']}: {type(error).__name__}: {error}"
        for index in range(len(spans)):
            results.setdefault(index, ItemError("decode_failed", message))
    if any(isinstance(result, DecodedClip) for result in results.values()):
        try:
            require_content(source["source_uri"], source["content"])
        except ItemError as error:  # it is not what the manifest speaks of
            return dict.fromkeys(results, error)
    return results


def _decoded(clip: Row, source: Row, result: DecodedClip | ItemError) -> Row:
    """One row of ``DECODED``; its media are not copied until Arrow takes them."""
    row: Row = {name: clip[name] for name in ("clip_id", "subtitle")}
    row |= {name: source[name] for name in ("video_id", "content")}
    if isinstance(result, ItemError):
        return row | {"error_kind": result.kind, "error": result.message}
    return row | {
        "frames": result.frames.reshape(-1).data,
        "shape": result.frames.shape,
        "fps": result.fps,
        "audio": result.audio.view(np.uint8).data,
        "damage": result.damage,
    }
