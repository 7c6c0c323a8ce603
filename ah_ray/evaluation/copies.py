"""Copies of a recording across splits: other bytes, but the same pictures or the same sound.

Pure functions over the bits of ``media.fingerprint``. Nothing is compared with everything: a pair
is looked at where a row of the one is, bit by bit, a row of the other, or where both are of one
length, for a low bit rate may leave no row as it was. Rows that many videos have (a hum, a wall)
lead nowhere. All of that is sorting and counting in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ah_ray.media.fingerprint import (
    PICTURE_BITS,
    PICTURE_HZ,
    SOUND_BITS,
    SOUND_HZ,
    Bits,
    Fingerprint,
)

# A distance is the share of bits that differ. Chosen between what was measured of copies (sound up
# to 0.27, as AAC at 32 and Opus at 24 kbit/s) and of other recordings of the synthetic archive
# (0.43 and more; pictures 0.08 and more). A picture at a fraction of its size differs in 0.05-0.2.
SOUND_LIMIT, PICTURE_LIMIT = 0.35, 0.05
_LEAST_S, _LEAST_SHARE = 3.0, 0.5  # of the shorter video lie in the other
_COMMON = 20  # a row, or a length, that more videos than this have tells none of them apart
_SAME_LENGTH_S = 0.25  # by so much another codec or frame rate makes a video longer
# So many seconds around a common row are compared before the whole is, and may differ by so much
# more than the whole.
_CONTEXT_S, _CONTEXT_LIMIT = 1.0, 0.05
_AT_ONCE = 2**20  # pairs that are looked at together, for memory's sake

Places = npt.NDArray[np.int64]


class Copy(NamedTuple):
    """Two videos, as indices, that seem to show one recording.

    Attributes:
        first: the one.
        second: the other, ``first`` < ``second``.
        later_s: by how much what the first shows comes later in it than in the second, in seconds.
        sound: the distance of their sound, 0 to 1; None when one of them has too little.
        picture: the distance of their pictures, likewise.
    """

    first: int
    second: int
    later_s: float
    sound: float | None
    picture: float | None


class _Kind(NamedTuple):
    """Pictures or sound."""

    hz: int
    bits: int
    limit: float


_SOUND = _Kind(SOUND_HZ, SOUND_BITS, SOUND_LIMIT)
_PICTURE = _Kind(PICTURE_HZ, PICTURE_BITS, PICTURE_LIMIT)


def find_copies(videos: Sequence[Fingerprint], splits: Sequence[str]) -> list[Copy]:
    """The pairs of videos in different splits that share their sound or their pictures.

    At least half of the shorter one, and three seconds, must lie in the other.
    """
    codes = np.unique(np.array(splits, dtype=str), return_inverse=True)[1]
    sounds, pictures = [video.sound for video in videos], [video.picture for video in videos]
    matches = [
        *((pair, row / SOUND_HZ) for *pair, row in _matches(sounds, codes, _SOUND)),
        *((pair, row / PICTURE_HZ) for *pair, row in _matches(pictures, codes, _PICTURE)),
        *((pair, 0.0) for pair in _of_one_length([v.duration_s for v in videos], codes)),
    ]
    found: dict[tuple[int, int], Copy] = {}
    for (first, second), later_s in matches:
        copy = Copy(
            first,
            second,
            later_s,
            _distance(sounds[first], sounds[second], later_s, _SOUND),
            _distance(pictures[first], pictures[second], later_s, _PICTURE),
        )
        if _is_copy(copy):
            known = found.setdefault((first, second), copy)
            found[first, second] = min(known, copy, key=_rank)
    return [found[pair] for pair in sorted(found)]


def _is_copy(copy: Copy) -> bool:
    return any(
        distance is not None and distance <= limit
        for distance, limit in ((copy.sound, SOUND_LIMIT), (copy.picture, PICTURE_LIMIT))
    )


def _rank(copy: Copy) -> tuple[float, float, float]:
    """The closest first."""
    sound = 1.0 if copy.sound is None else copy.sound
    return sound, 1.0 if copy.picture is None else copy.picture, abs(copy.later_s)


def _distance(first: Bits, second: Bits, later_s: float, kind: _Kind) -> float | None:
    """The share of bits that differ where two videos lie over each other; None if they hardly do.

    Half a row too early or too late is no distance: the nearest of three places counts.
    """
    shorter = min(np.any(bits, axis=1).sum() for bits in (first, second))
    least = max(_LEAST_S * kind.hz, _LEAST_SHARE * shorter)
    distances = []
    for later in (round(later_s * kind.hz) + step for step in (-1, 0, 1)):
        one = first[max(later, 0) : max(later + len(second), 0)]
        other = second[max(-later, 0) :][: len(one)]
        one = one[: len(other)]
        says = np.any(one, axis=1) & np.any(other, axis=1)
        if says.sum() >= least:
            differing = np.bitwise_count(one[says] ^ other[says]).sum()
            distances.append(float(differing / (says.sum() * kind.bits)))
    return min(distances, default=None)


def _of_one_length(
    durations_s: Sequence[float], codes: npt.NDArray[np.intp]
) -> Iterator[tuple[int, int]]:
    """Pairs of videos in different splits that last equally long, where only a few do."""
    order = np.argsort(durations_s, kind="stable")
    ascending = np.asarray(durations_s)[order]
    ends = np.searchsorted(ascending, ascending + _SAME_LENGTH_S, side="right")
    starts = np.searchsorted(ascending, ascending - _SAME_LENGTH_S)
    rare = ends - starts <= _COMMON
    for step in range(1, min(_COMMON, len(order))):
        places = np.arange(len(order) - step)
        one, other = order[places], order[places + step]
        near = (places + step < ends[places]) & (codes[one] != codes[other])
        near &= rare[places] & rare[places + step]
        pairs = np.sort(np.stack([one[near], other[near]], axis=1), axis=1)
        yield from ((int(first), int(second)) for first, second in pairs)


def _matches(
    tracks: Sequence[Bits], codes: npt.NDArray[np.intp], kind: _Kind
) -> list[tuple[int, int, int]]:
    """Pairs of videos in different splits, and by how many rows the first is later.

    Only where the rows around a common one are alike, too.
    """
    lengths = [len(track) for track in tracks]
    if not sum(lengths):
        return []
    rows = np.concatenate(tracks)
    video = np.repeat(np.arange(len(tracks), dtype=np.int64), lengths)
    starts = np.cumsum([0, *lengths[:-1]])
    says = np.flatnonzero(np.any(rows, axis=1))
    pairs = [
        _alike(rows, video, *pair, kind)
        for word in range(rows.shape[1])
        for pair in _common(rows[says, word], says, video, codes)
    ]
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    later = (left - starts[video[left]]) - (right - starts[video[right]])
    found = np.unique(np.stack([video[left], video[right], later], axis=1), axis=0)
    return [(first, second, rows_later) for first, second, rows_later in found.tolist()]


def _common(
    words: Bits, places: Places, video: Places, codes: npt.NDArray[np.intp]
) -> Iterator[tuple[Places, Places]]:
    """Places in two videos of different splits that have the same word, the earlier video first.

    Args:
        words: the word at each place.
        places: rows of all videos, ascending.
        video: of each row.
        codes: the split of each video.
    """
    order = np.lexsort((places, words))
    words, places = words[order], places[order]
    owner = video[places]
    once = np.ones(len(words), bool)  # a video that says a word again is not one more
    once[1:] = (words[1:] != words[:-1]) | (owner[1:] != owner[:-1])
    words, places, owner = words[once], places[once], owner[once]
    _, group, sizes = np.unique(words, return_inverse=True, return_counts=True)
    rare = sizes[group] <= _COMMON
    words, places, split = words[rare], places[rare], codes[owner[rare]]
    for step in range(1, _COMMON):
        same = (words[step:] == words[:-step]) & (split[step:] != split[:-step])
        yield places[:-step][same], places[step:][same]


def _alike(
    rows: Bits, video: Places, left: Places, right: Places, kind: _Kind
) -> tuple[Places, Places]:
    """Those pairs of places around which the rows differ little more than those of a copy may."""
    reach = round(_CONTEXT_S * kind.hz)
    kept = []
    for start in range(0, len(left), _AT_ONCE):
        one, other = left[start : start + _AT_ONCE], right[start : start + _AT_ONCE]
        differing, compared = np.zeros(len(one)), np.zeros(len(one))
        for step in range(-reach, reach + 1):
            near = [np.clip(side + step, 0, len(rows) - 1) for side in (one, other)]
            inside = (video[near[0]] == video[one]) & (video[near[1]] == video[other])
            bits = np.bitwise_count(rows[near[0]] ^ rows[near[1]]).sum(axis=1)
            differing += np.where(inside, bits, 0)
            compared += inside * kind.bits
        kept.append(differing <= (kind.limit + _CONTEXT_LIMIT) * compared)
    alike = np.concatenate([np.zeros(0, bool), *kept])
    return left[alike], right[alike]
