"""Which fingerprints are of one recording: pure functions over bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ah_ray.evaluation.copies import PICTURE_LIMIT, SOUND_LIMIT, find_copies
from ah_ray.media.fingerprint import NOTHING, PICTURE_HZ, SOUND_BITS, SOUND_HZ, Fingerprint

SPLITS = ("train", "test")


def recording(seed: int, seconds: int = 20) -> Fingerprint:
    rng = np.random.default_rng(seed)
    return Fingerprint(
        rng.integers(0, 2**32, (seconds * PICTURE_HZ, 8), np.uint32),
        rng.integers(1, 2**SOUND_BITS, (seconds * SOUND_HZ, 1), np.uint32),
        float(seconds),
    )


def noisy(rows, share: float, bits: int, seed: int = 1):
    """``rows`` with so large a share of their bits turned."""
    rng = np.random.default_rng(seed)
    turned = rng.random((*rows.shape, 32)) < share
    turned[..., bits:] = False
    mask = (turned * (1 << np.arange(32, dtype=np.uint64))).sum(axis=-1)
    return rows ^ mask.astype(np.uint32)


def piece(whole: Fingerprint, start_s: int, end_s: int) -> Fingerprint:
    return Fingerprint(
        whole.picture[start_s * PICTURE_HZ : end_s * PICTURE_HZ],
        whole.sound[start_s * SOUND_HZ : end_s * SOUND_HZ],
        float(end_s - start_s),
    )


def test_other_recordings_are_no_copies():
    videos = [recording(seed) for seed in range(200)]
    assert find_copies(videos, ["train", "test"] * 100) == []


@pytest.mark.parametrize(("start_s", "end_s"), [(0, 20), (0, 12), (7, 20), (5, 9)])
def test_a_piece_is_found_and_where_it_lies(start_s, end_s):
    videos = [recording(0), recording(1), piece(recording(1), start_s, end_s)]
    (copy,) = find_copies(videos, ["train", "train", "test"])
    assert (copy.first, copy.second, copy.later_s) == (1, 2, start_s)
    assert (copy.sound, copy.picture) == (0, 0)


@pytest.mark.parametrize(("sound", "found"), [(0.1, True), (0.2, True), (0.45, False)])
def test_sound_may_differ_in_some_of_its_bits(sound, found):
    whole = recording(3, seconds=60)
    other = whole._replace(
        picture=recording(4, 60).picture, sound=noisy(whole.sound, sound, SOUND_BITS)
    )
    copies = find_copies([whole, other], SPLITS)
    assert bool(copies) == found
    if found:
        assert copies[0].sound == pytest.approx(sound, abs=0.02)
        assert copies[0].sound < SOUND_LIMIT
        assert copies[0].picture > 0.4


def test_a_copy_without_a_row_in_common_is_found_by_its_length():
    whole = recording(6, seconds=8)
    low = Fingerprint(
        noisy(whole.picture, 0.15, 32), noisy(whole.sound, 0.3, SOUND_BITS), whole.duration_s + 0.06
    )
    assert not set(whole.sound[:, 0]) & set(low.sound[:, 0])
    (copy,) = find_copies([recording(7, seconds=8), whole, low], ["train", "train", "test"])
    assert (copy.first, copy.second, copy.later_s) == (1, 2, 0)
    assert find_copies([whole, low._replace(duration_s=9.0)], SPLITS) == []


@pytest.mark.parametrize(("picture", "found"), [(0.03, True), (0.15, False)])
def test_pictures_count_without_sound(picture, found):
    whole = recording(5)
    other = Fingerprint(noisy(whole.picture, picture, 32), NOTHING.sound, 20.0)
    copies = find_copies([whole, other], SPLITS)
    assert [copy.sound for copy in copies] == [None] * found
    assert all(copy.picture < PICTURE_LIMIT for copy in copies)


def test_nothing_is_no_copy_of_nothing():
    silent = Fingerprint(np.zeros((40, 8), np.uint32), np.zeros((640, 1), np.uint32), 20.0)
    assert find_copies([silent, silent, NOTHING, NOTHING], SPLITS * 2) == []
    assert find_copies([], []) == []


def test_copies_within_a_split_leak_nothing():
    assert find_copies([recording(0), recording(0)], ["train", "train"]) == []


def test_too_short_a_piece_says_nothing():
    assert find_copies([recording(0), piece(recording(0), 4, 6)], SPLITS) == []
    # Nor does a jingle: less than half of the shorter one.
    jingle = piece(recording(0), 0, 5)
    one, other = (
        Fingerprint(
            *(np.concatenate(rows) for rows in zip(jingle[:2], rest[:2], strict=True)), 20.0
        )
        for rest in (recording(1, 15), recording(2, 15))
    )
    assert find_copies([one, other], SPLITS) == []


def test_what_everybody_has_leads_nowhere_and_takes_no_time():
    hum = recording(0)
    videos = [Fingerprint(hum.picture, hum.sound, 20.0)] * 500
    assert find_copies(videos, ["train", "test"] * 250) == []


@given(st.permutations(range(6)))
@settings(max_examples=10)
def test_the_order_of_videos_does_not_matter(order):
    videos = [*(recording(seed) for seed in range(4)), recording(0), piece(recording(2), 5, 15)]
    splits = ["train", "train", "val", "test", "test", "test"]
    copies = find_copies([videos[i] for i in order], [splits[i] for i in order])
    assert {frozenset((order[c.first], order[c.second])) for c in copies} == {
        frozenset((0, 4)),
        frozenset((2, 5)),
    }
