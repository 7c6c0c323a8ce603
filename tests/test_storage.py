import os
import re
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ah_ray import local_files, storage, tables
from ah_ray.storage_errors import StorageError
from tests.s3 import BUCKET, Fault, healthy, s3_server

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int32())])
FAILING = "s3://failing"


def rows(*ids: str) -> pa.Table:
    return pa.Table.from_pylist([{"id": i, "n": n} for n, i in enumerate(ids)], schema=SCHEMA)


def contents(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


# Any storage


def test_a_file_comes_back_as_it_was_written(home):
    uri = storage.join(home, "a/b.bin")
    assert not storage.exists(uri)
    for data in (b"one", b"", b"two" * 100_000):
        storage.write_bytes(uri, data)
        assert storage.exists(uri)
        assert storage.read_bytes(uri) == data


def test_pieces_of_a_file_come_without_the_rest(home):
    uri = storage.join(home, "pieces.bin")
    data = bytes(range(256)) * 100
    storage.write_bytes(uri, data)
    assert storage.size(uri) == len(data)
    assert storage.read_ranges(uri, [(0, 7), (len(data) - 3, len(data))]) == [data[:7], data[-3:]]
    for missing in (storage.size, lambda uri: storage.read_ranges(uri, [(0, 1)])):
        with pytest.raises(FileNotFoundError):
            missing(storage.join(home, "missing"))


def test_a_read_file_can_seek(home):
    uri = storage.join(home, "b.bin")
    storage.write_bytes(uri, bytes(range(200)))
    with storage.open_read(uri) as file:
        file.seek(100)
        assert file.read(2) == bytes([100, 101])


def test_files_are_listed_whole_and_sorted(home):
    for name in ("b.txt", "a/2.txt", "a/1.txt", "a/c/3.bin"):
        storage.write_bytes(storage.join(home, name), b"x")
    names = ["a/1.txt", "a/2.txt", "a/c/3.bin", "b.txt"]
    assert storage.list_files(home) == [storage.join(home, name) for name in names]
    assert storage.list_files(home + "/a/*.txt") == [storage.join(home, n) for n in names[:2]]
    assert storage.list_files(storage.join(home, "b.txt")) == [storage.join(home, "b.txt")]
    assert storage.list_files(storage.join(home, "none")) == []
    assert all(storage.read_bytes(uri) == b"x" for uri in storage.list_files(home))


def test_what_is_written_later_is_read_too(home):
    """The newest state counts, whatever was asked before."""
    uri = storage.join(home, "t")
    for number in range(3):
        assert len(tables.read_table(uri, SCHEMA)) == number
        assert len(storage.list_files(home)) == number
        tables.write_table(rows("a"), storage.join(uri, f"part-{number}.parquet"))


def test_removing_what_is_there_and_what_is_not(home):
    storage.write_bytes(storage.join(home, "a/1"), b"x")
    storage.write_bytes(storage.join(home, "b"), b"x")
    storage.remove(storage.join(home, "a"))
    storage.remove(storage.join(home, "none"))
    assert storage.list_files(home) == [storage.join(home, "b")]
    assert not storage.exists(storage.join(home, "a"))


def test_an_uploaded_folder_replaces_what_was_there(home, tmp_path):
    local = tmp_path / "local"
    for name in ("z.txt", "member.yaml", "sub/a.txt"):
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).write_text(name)
    storage.write_bytes(storage.join(home, "m/old.txt"), b"old")
    storage.upload_folder(local, storage.join(home, "m"), last="member.yaml")
    names = ["member.yaml", "sub/a.txt", "z.txt"]
    assert storage.list_files(storage.join(home, "m")) == [
        storage.join(home, "m", name) for name in names
    ]
    for name in names:
        assert storage.read_bytes(storage.join(home, "m", name)).decode() == name


def test_the_marker_is_uploaded_last(home, tmp_path, monkeypatch):
    local = tmp_path / "local"
    local.mkdir()
    for name in ("a.txt", "member.yaml", "z.txt"):
        (local / name).write_text(name)
    uri = storage.join(home, "m")
    storage.write_bytes(storage.join(uri, "member.yaml"), b"of an earlier training")
    filesystem = fsspec.core.url_to_fs(uri)[0]
    put, sent = filesystem.put_file, []

    def failing(source, target, **kwargs):
        sent.append(Path(source).name)
        if len(sent) == 3:
            raise OSError("the line is dead")
        return put(source, target, **kwargs)

    monkeypatch.setattr(filesystem, "put_file", failing)
    with pytest.raises(OSError, match="the line is dead"):
        storage.upload_folder(local, uri, last="member.yaml")
    assert sent == ["a.txt", "z.txt", "member.yaml"]
    assert not storage.exists(storage.join(uri, "member.yaml"))


def test_a_local_copy_of_a_file_and_of_a_folder(home, tmp_path, monkeypatch):
    monkeypatch.setenv("AH_RAY_CACHE", str(tmp_path / "cache"))
    for name in ("m/a.txt", "m/sub/b.txt"):
        storage.write_bytes(storage.join(home, name), name.encode())
    folder = storage.localize(storage.join(home, "m"))
    assert contents(folder) == {"a.txt", "sub/b.txt"}
    assert (folder / "sub" / "b.txt").read_text() == "m/sub/b.txt"
    file = storage.localize(storage.join(home, "m/a.txt"))
    assert file.name == "a.txt"
    assert file.read_text() == "m/a.txt"
    assert storage.localize(storage.join(home, "m")) == folder
    with pytest.raises(FileNotFoundError, match="none"):
        storage.localize(storage.join(home, "none"))


# Local disk


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "t" / "file"
    storage.write_bytes(str(target), b"old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write_bytes(str(target), b"new")
    with pytest.raises(OSError, match="disk full"):
        storage.write_bytes(str(tmp_path / "t" / "other"), b"new")
    assert contents(tmp_path) == {"t/file"}
    assert target.read_bytes() == b"old"


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    def write_half(path, data):
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="disk full"):
        storage.write_bytes(str(tmp_path / "file"), b"data")
    assert contents(tmp_path) == set()


def test_a_killed_writer_leaves_nothing_that_readers_see(tmp_path):
    script = (
        "import os, sys; from ah_ray import storage\n"
        "os.replace = lambda *args: os.kill(os.getpid(), 9)\n"
        "storage.write_bytes(sys.argv[1], b'half')\n"
    )
    folder = tmp_path / "t"
    tables.write_table(rows("a"), str(folder / "part-0.parquet"))
    done = subprocess.run([sys.executable, "-c", script, str(folder / "part-1.parquet")])
    assert done.returncode == -9
    assert len(contents(folder)) == 2  # what is left of the killed one
    assert storage.list_files(str(folder)) == [str(folder / "part-0.parquet")]
    assert storage.list_files(f"{folder}/*") == [str(folder / "part-0.parquet")]
    assert tables.read_table(str(folder), SCHEMA)["id"].to_pylist() == ["a"]


def test_a_local_path_is_not_copied(tmp_path):
    (tmp_path / "a").write_text("x")
    assert storage.localize(str(tmp_path / "a")) == tmp_path / "a"
    assert storage.localize(f"file://{tmp_path}") == tmp_path


def test_paths_become_absolute_and_other_uris_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.absolute("runs/x") == str(tmp_path / "runs" / "x")
    assert storage.absolute(f"file://{tmp_path}/x") == str(tmp_path / "x")
    assert storage.absolute("memory://a/b/") == "memory://a/b"
    assert storage.local_path("runs") == tmp_path / "runs"
    assert storage.local_path("memory://a") is None


def test_brackets_in_the_name_of_a_folder_are_a_name(tmp_path):
    folder = tmp_path / "run [2]"
    storage.write_bytes(str(folder / "a.txt"), b"x")
    assert storage.list_files(str(folder)) == [str(folder / "a.txt")]


@pytest.mark.parametrize("parts", [("..",), ("a", "..", "b"), ("/etc",), ("a", "/etc"), ("../x",)])
@pytest.mark.parametrize("uri", ["home", "/home", "s3://bucket/home"])
def test_joining_never_leaves_the_folder(uri, parts):
    with pytest.raises(ValueError, match="leaves"):
        storage.join(uri, *parts)


def test_joining():
    assert storage.join("s3://b/x/", "a", "b/c") == "s3://b/x/a/b/c"
    assert storage.join("/x", "a..b") == "/x/a..b"


def test_a_temporary_sibling_is_gone_unless_renamed(tmp_path):
    with local_files.temporary_sibling(tmp_path / "a" / "kept") as temporary:
        temporary.mkdir()
        (temporary / "f").write_text("x")
        temporary.rename(tmp_path / "a" / "kept")
    with local_files.temporary_sibling(tmp_path / "a" / "lost") as temporary:
        temporary.mkdir()
    with local_files.temporary_sibling(tmp_path / "a" / "lost") as temporary:
        temporary.touch()
    assert contents(tmp_path) == {"a/kept/f"}


# Object store: others write to it too


@pytest.fixture
def seen_before(bucket):
    """A run that was looked at before others wrote to it."""
    run = f"s3://{BUCKET}/run"
    bucket.put_object(Bucket=BUCKET, Key="run/a.txt", Body=b"1")
    assert storage.list_files(run) == [f"{run}/a.txt"]
    assert not storage.exists(f"{run}/b.txt")
    assert not storage.exists(f"{run}/t")
    assert len(tables.read_table(f"{run}/t", SCHEMA)) == 0
    part = pa.BufferOutputStream()
    pq.write_table(rows("a"), part)
    part = part.getvalue().to_pybytes()
    bucket.put_object(Bucket=BUCKET, Key="run/a.txt", Body=b"changed")
    bucket.put_object(Bucket=BUCKET, Key="run/b.txt", Body=b"2")
    bucket.put_object(Bucket=BUCKET, Key="run/t/part-0.parquet", Body=part)
    return run


# Workers write, and s3fs would answer the driver from its cache of listings.


def test_a_file_that_others_wrote_exists(seen_before):
    assert storage.exists(f"{seen_before}/b.txt")
    assert storage.exists(f"{seen_before}/t")


def test_files_that_others_wrote_are_listed(seen_before):
    names = ("a.txt", "b.txt", "t/part-0.parquet")
    assert storage.list_files(seen_before) == [f"{seen_before}/{name}" for name in names]


def test_a_table_that_others_wrote_is_read(seen_before):
    assert tables.read_table(f"{seen_before}/t", SCHEMA)["id"].to_pylist() == ["a"]


def test_a_file_that_others_changed_is_read_anew(seen_before):
    assert storage.read_bytes(f"{seen_before}/a.txt") == b"changed"
    assert storage.localize(f"{seen_before}/a.txt").read_bytes() == b"changed"


def test_a_remote_folder_is_downloaded_once_and_again_when_it_changes(bucket, monkeypatch):
    uri = f"s3://{BUCKET}/m"
    storage.write_bytes(f"{uri}/w.bin", b"one")
    first = storage.localize(uri)
    assert (first / "w.bin").read_bytes() == b"one"
    (first / "touched").write_text("still the same copy")
    assert storage.localize(uri) == first
    assert (storage.localize(uri) / "touched").exists()
    storage.write_bytes(f"{uri}/w.bin", b"two")
    assert (storage.localize(uri) / "w.bin").read_bytes() == b"two"
    bucket.put_object(Bucket=BUCKET, Key="m/w.bin", Body=b"six")  # of the same size, by others
    assert (storage.localize(uri) / "w.bin").read_bytes() == b"six"


def test_a_failed_download_leaves_nothing_and_is_tried_again(bucket, monkeypatch, tmp_path):
    uri = f"s3://{BUCKET}/m"
    storage.write_bytes(f"{uri}/a.bin", b"one")
    filesystem = fsspec.core.url_to_fs(uri)[0]

    def fail(remote, local, **kwargs):
        Path(local[0]).parent.mkdir(parents=True)
        Path(local[0]).write_bytes(b"o")
        raise OSError("the line is dead")

    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "get", fail)
        with pytest.raises(OSError, match="the line is dead"):
            storage.localize(uri)
    assert contents(tmp_path / "cache") == set()
    assert (storage.localize(uri) / "a.bin").read_bytes() == b"one"


LOCALIZE = "import sys; from ah_ray import storage; print(storage.localize(sys.argv[1]))"


def localizing(uri):
    """Another process of this machine that wants a folder."""
    command = [sys.executable, "-c", LOCALIZE, uri]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_of_one_machine_download_once(bucket, server, tmp_path):
    uri, request = f"s3://{BUCKET}/m", ("GET", f"/{BUCKET}/m/a.bin")
    storage.write_bytes(f"{uri}/a.bin", bytes(range(200)))
    server.pause_s, server.requests[request] = 0.5, 0
    server.plan = lambda method, path, nth: Fault.DRIBBLE if (method, path) == request else None
    try:
        processes = [localizing(uri) for _ in range(3)]
        folders = {process.communicate(timeout=60)[0].strip() for process in processes}
    finally:
        server.plan = healthy
    assert {process.returncode for process in processes} == {0}
    assert server.requests[request] == 1
    (folder,) = folders
    assert (Path(folder) / "a.bin").read_bytes() == bytes(range(200))
    (made,) = (tmp_path / "cache").iterdir()
    assert made == Path(folder).parent, "no lock and nothing unfinished is left"


def test_a_killed_download_is_in_nobodys_way_and_is_cleared(bucket, server, tmp_path):
    uri, request = f"s3://{BUCKET}/m", ("GET", f"/{BUCKET}/m/a.bin")
    storage.write_bytes(f"{uri}/a.bin", b"one")
    storage.write_bytes(f"s3://{BUCKET}/other", b"two")
    server.stall_s, server.requests[request] = 60, 0
    server.plan = lambda method, path, nth: Fault.STALL if (method, path) == request else None
    process = localizing(uri)
    try:
        while not (server.requests[request] and list((tmp_path / "cache").glob("*/m/a.bin"))):
            time.sleep(0.05)
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        server.plan, server.stall_s = healthy, 3.0
    assert contents(tmp_path / "cache")
    local_files._clear_leftovers.cache_clear()
    assert storage.localize(f"s3://{BUCKET}/other").read_bytes() == b"two"
    left = {Path(name).name for name in contents(tmp_path / "cache")}
    assert left == {"other"}, "nothing of what nobody may ask for again"
    assert (storage.localize(uri) / "a.bin").read_bytes() == b"one"


def test_a_download_that_goes_on_is_no_leftover(bucket, tmp_path):
    storage.write_bytes(f"s3://{BUCKET}/other", b"two")

    def make(folder):
        folder.mkdir()
        (folder / "half").write_text("half")
        local_files._clear_leftovers.cache_clear()
        assert storage.localize(f"s3://{BUCKET}/other").read_bytes() == b"two"
        (folder / "half").rename(folder / "whole")

    assert contents(local_files.cached_folder("mine", make)) == {"whole"}


# Object store: it fails


@pytest.fixture
def failing(monkeypatch):
    """A server whose plan may be set, with a file on it, and a client without much patience."""
    with s3_server(AWS_MAX_ATTEMPTS="1") as s3:
        settings = {"config_kwargs": {"read_timeout": 0.3}}
        monkeypatch.setitem(fsspec.config.conf, "s3", settings)
        filesystem = fsspec.core.url_to_fs(FAILING)[0]
        filesystem.makedirs(FAILING.removeprefix("s3://"), exist_ok=True)
        tables.write_table(rows("a"), f"{FAILING}/t/part-0.parquet")
        yield s3
        s3.plan = healthy
        storage.remove(f"{FAILING}/t")
        filesystem.clear_instance_cache()


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET])
def test_a_storage_that_fails_is_no_empty_storage(failing, fault):
    part = f"{FAILING}/t/part-0.parquet"
    failing.plan = lambda method, path, nth: fault
    for uri, ask in {
        f"{FAILING}/t": storage.exists,
        FAILING: storage.list_files,
        f"{FAILING}/t/*.parquet": storage.list_files,
        part: storage.list_files,
    }.items():
        with pytest.raises(StorageError, match=re.escape(uri)):
            ask(uri)
    with pytest.raises(StorageError, match=r"new\.bin"):
        storage.write_bytes(f"{FAILING}/t/new.bin", b"x")
    failing.plan = healthy
    assert part in storage.list_files(FAILING)


@pytest.mark.parametrize("fault", [Fault.RESET_IN_BODY, Fault.STALL])
def test_a_body_that_never_ends_well_is_given_up(failing, fault, tmp_path):
    part = f"{FAILING}/t/part-0.parquet"
    failing.plan = lambda method, path, nth: fault if "part-0" in path and method == "GET" else None
    with pytest.raises(StorageError, match=re.escape(part)):
        storage.read_bytes(part)
    assert failing.requests["GET", "/failing/t/part-0.parquet"] == 5
    with pytest.raises(StorageError, match=f"{FAILING}/t"):
        tables.read_table(f"{FAILING}/t", SCHEMA)
    with pytest.raises(StorageError, match=re.escape(part)):
        storage.download(part, tmp_path / "part")


def test_what_is_not_there_is_no_failure(failing):
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(f"{FAILING}/none")
    assert storage.list_files("s3://no-such-bucket") == []


def test_settings_of_the_user_win(bucket):
    assert fsspec.core.url_to_fs(f"s3://{BUCKET}")[0].default_block_size == 5 * 2**20
    script = (
        "import fsspec; from ah_ray import storage\n"
        "print(fsspec.core.url_to_fs('s3://b')[0].default_block_size)"
    )
    environment = {**os.environ, "FSSPEC_S3": '{"default_block_size": 7000000}'}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) == 7_000_000
