"""64-bit hashes of many values at once: of texts and of numbers, the same on every machine.

They say whether something is what it was, and hold against accidents, not against somebody who
looks for two things with one hash. The functions on arrays and ``combined`` give the same numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes: TypeAlias = npt.NDArray[np.uint64]

_ALL = 2**64 - 1
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of SplitMix64 (Steele et al., 2014)


def mixed(values: Hashes) -> Hashes:
    """Each number mixed so that all of its bits change all others (SplitMix64's last step)."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(_FIRST)
    values ^= values >> np.uint64(27)
    values *= np.uint64(_SECOND)
    values ^= values >> np.uint64(31)
    return values


def mix(value: int) -> int:
    """``mixed`` of one number."""
    value = (value ^ (value >> 30)) * _FIRST & _ALL
    value = (value ^ (value >> 27)) * _SECOND & _ALL
    return value ^ (value >> 31)


def combined(parts: Iterable[int]) -> int:
    """One hash of several in their order."""
    total = 0
    for part in parts:
        total = mix(total ^ part)
    return total


def float_bits(value: float) -> int:
    """A number as the 64 bits that it is stored in."""
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits


def text_hash(text: str) -> int:
    """The hash of a text: its length in bytes, and its UTF-8 in words of eight, zeros behind."""
    data = text.encode()
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    return combined([len(data), *words])


def text_hashes(texts: pa.Array) -> Hashes:
    """``text_hash`` of each; of null as of an empty one.

    Args:
        texts: of type ``string``.
    """
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    lengths = lengths.astype(np.uint64)
    hashes = mixed(lengths)
    size = int(lengths.max(initial=0))
    if not size:
        return hashes
    # As a rectangle of bytes with zeros behind short ones: ids are all of a length.
    whole = -(-size // 8) * 8
    padded = pc.fill_null(texts, "").cast(pa.binary())
    if int(lengths.min()) != whole:
        zeros = pa.array([b"\0" * short for short in range(whole + 1)], pa.binary())
        behind = zeros.take(pa.array(whole - lengths.astype(np.int64)))
        padded = pc.binary_join_element_wise(padded, behind, b"")
    fixed = padded.cast(pa.binary(whole))
    words = np.frombuffer(fixed.buffers()[1], "<u8")[fixed.offset * whole // 8 :]
    words = words[: len(fixed) * whole // 8].reshape(len(fixed), whole // 8)
    for place in range(whole // 8):
        there = lengths > np.uint64(8 * place)
        if there.all():
            hashes = mixed(hashes ^ words[:, place])
            continue
        hashes[there] = mixed(hashes[there] ^ words[there, place])
    return hashes


def hexadecimal(values: Hashes) -> pa.Array:
    """Each number as 16 hexadecimal digits, as ``f"{value:016x}"``."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    octets = values.astype(">u8").view(np.uint8)
    text = np.empty(len(octets) * 2, np.uint8)
    text[0::2], text[1::2] = digits[octets >> 4], digits[octets & 15]
    offsets = np.arange(0, len(text) + 1, 16, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)
