"""The hash of a file's content: the same wherever it lies, another when anything is changed."""

import os

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ah_ray import storage
from ah_ray.contents import content_hash, contents_of, remembered_hash
from tests.s3 import new_bucket, s3_server

LARGE = bytes(range(256)) * 20_000  # 5 MB: a sample of it is read


def written(path, data):
    path.write_bytes(data)
    return str(path)


def test_a_copy_in_another_storage_has_the_same_content(tmp_path):
    for name, data in {"small": b"12345", "large": LARGE, "empty": b""}.items():
        storage.write_bytes(f"memory://contents/{name}", data)
        here = content_hash(written(tmp_path / name, data))
        assert content_hash(f"memory://contents/{name}") == here


@given(st.binary(min_size=1, max_size=1000), st.data())
def test_any_change_of_a_small_file_is_seen(data, draw):
    index = draw.draw(st.integers(0, len(data) - 1))
    changed = data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
    for name, content in (("a", data), ("b", changed), ("c", data + b"x")):
        storage.write_bytes(f"memory://contents/{name}", content)
    assert len({content_hash(f"memory://contents/{name}") for name in "abc"}) == 3


def test_a_large_file_is_sampled_at_both_ends_and_between(tmp_path):
    whole = content_hash(written(tmp_path / "whole", LARGE))
    for index in (0, len(LARGE) // 2, len(LARGE) - 1):
        changed = bytearray(LARGE)
        changed[index : index + 2**19] = b"x" * len(changed[index : index + 2**19])
        assert content_hash(written(tmp_path / "changed", bytes(changed))) != whole


def test_what_cannot_be_read_says_why_and_costs_nobody_else(tmp_path):
    good = written(tmp_path / "good", b"1")
    missing = str(tmp_path / "missing")
    found = contents_of([good, missing, good])
    assert found[good] == content_hash(good)
    assert isinstance(found[missing], FileNotFoundError)


@pytest.mark.timeout(60)
def test_nobody_waits_for_a_pipe(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe.mp4")
    assert "is no regular file" in str(contents_of([str(pipe)])[str(pipe)])


@pytest.fixture(scope="module")
def server():
    with s3_server() as server:
        yield server


def test_the_hash_of_weights_in_object_storage_is_read_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AH_RAY_CACHE", str(tmp_path))
    uri = f"{new_bucket()}/weights"
    for data in (LARGE, LARGE[::-1], LARGE):
        storage.write_bytes(uri, data)
        first = remembered_hash(uri)
        assert first == content_hash(uri)
        server.requests.clear()
        assert remembered_hash(uri) == first
        assert not [path for method, path in server.requests if method == "GET"]
    here = written(tmp_path / "weights", LARGE)
    assert remembered_hash(here) == first
    assert remembered_hash(written(tmp_path / "weights", LARGE[::-1])) != first
