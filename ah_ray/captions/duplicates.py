"""Captions that nearly repeat an earlier one, found by MinHash among all of an archive."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH

from ah_ray.captions.words import tokens

_HASHES = 128
_SURELY = 0.99  # that a pair at the limit is looked at


class Told:
    """The texts that were told so far; about 1 KiB for each."""

    def __init__(self, similar: float) -> None:
        """Nothing was told yet.

        Args:
            similar: the share of pairs of words from which on a text repeats another.
        """
        self._similar = similar
        self._index = MinHashLSH(num_perm=_HASHES, params=_bands(similar))
        self._blank = MinHash(num_perm=_HASHES)  # to make one takes longer than to copy it
        self._hashes: dict[str, npt.NDArray[np.uint32]] = {}

    def repeats(self, key: str, text: str) -> str | None:
        """The key of the text that this one repeats, the most similar; else it is told now.

        Args:
            key: of the text; nobody else has it.
            text: to be told.
        """
        sketch = self._blank.copy()
        sketch.update_batch([f"{one} {next_}".encode() for one, next_ in _pairs(text)])
        mine = sketch.hashvalues
        near = sorted(self._index.query(sketch))
        shares = [float(np.mean(mine == self._hashes[other])) for other in near]
        if (most := max(shares, default=0.0)) and most >= self._similar:
            return str(near[shares.index(most)])
        self._index.insert(key, sketch, check_duplication=False)
        self._hashes[key] = mine
        return None


def _bands(similar: float) -> tuple[int, int]:
    """How many bands of how many hashes: a pair with one whole band in common is looked at.

    The longest bands with which a pair at the limit surely has one.
    """
    choices = [(_HASHES // length, length) for length in range(1, _HASHES // 2 + 1)]
    sure = [(n, k) for n, k in choices if 1 - (1 - similar**k) ** n >= _SURELY]
    return max(sure, key=lambda choice: choice[1], default=choices[0])


def _pairs(text: str) -> list[tuple[str, str]]:
    """The pairs of neighbouring words, the blanks at both ends of the text among them."""
    return list(pairwise(["", *tokens(text), ""]))
