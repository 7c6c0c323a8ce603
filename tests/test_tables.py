from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ah_ray import storage, tables
from ah_ray.storage_errors import StorageError

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int32())])


def rows(*ids: str) -> pa.Table:
    return pa.Table.from_pylist([{"id": i, "n": n} for n, i in enumerate(ids)], schema=SCHEMA)


def test_a_table_comes_back_as_it_was_written(home):
    tables.write_table(rows("a", "b"), storage.join(home, "t/part-0.parquet"))
    tables.write_rows([{"id": "c", "n": 2}], SCHEMA, storage.join(home, "t/part-1.parquet"))
    table = tables.read_table(storage.join(home, "t"), SCHEMA)
    assert table.schema == SCHEMA
    found = sorted((row["id"], row["n"]) for row in table.to_pylist())
    assert found == [("a", 0), ("b", 1), ("c", 2)]
    assert tables.ids_in(storage.join(home, "t"), SCHEMA, "id") == {"a", "b", "c"}


def test_a_table_that_is_not_there_is_empty(home):
    uri = storage.join(home, "t")
    assert tables.read_table(uri, SCHEMA).equals(SCHEMA.empty_table())
    assert tables.read_table(uri, SCHEMA, "member").column_names == ["id", "n", "member"]
    assert tables.ids_in(uri, SCHEMA, "id") == set()


def test_rows_are_dropped_part_by_part(home):
    uri = storage.join(home, "t")
    for name, ids in (("kept", "ab"), ("mixed", "ac"), ("gone", "cc")):
        tables.write_table(rows(*ids), storage.join(uri, f"{name}.parquet"))
    before = storage.read_bytes(storage.join(uri, "kept.parquet"))
    stays = partial(pc.is_in, value_set=pa.array(["a", "b"]))
    for dropped in (["c", "c", "c"], []):
        found = tables.drop_rows(uri, SCHEMA, lambda table: stays(table["id"]), ["id"])
        assert found["id"].to_pylist() == dropped
        assert sorted(tables.read_table(uri, SCHEMA)["id"].to_pylist()) == ["a", "a", "b"]
    assert storage.read_bytes(storage.join(uri, "kept.parquet")) == before
    assert {file.rsplit("/", 1)[-1] for file in storage.list_files(uri)} == {
        "kept.parquet", "mixed.parquet"}  # fmt: skip
    assert (
        len(tables.drop_rows(storage.join(home, "none"), SCHEMA, lambda t: stays(t["id"]), ["id"]))
        == 0
    )


def test_partitions_become_a_column(home):
    tables.write_table(rows("a"), storage.join(home, "t/member=v1/part-0.parquet"))
    tables.write_table(rows("a", "b"), storage.join(home, "t/member=v2/part-0.parquet"))
    table = tables.read_table(storage.join(home, "t"), SCHEMA, "member")
    found = {(row["member"], row["id"]) for row in table.to_pylist()}
    assert found == {("v1", "a"), ("v2", "a"), ("v2", "b")}
    assert table.schema.field("member").type == pa.string()
    one = tables.read_table(storage.join(home, "t", "member=v2"), SCHEMA)
    assert one["id"].to_pylist() == ["a", "b"]


def test_a_number_as_partition_stays_text(home):
    tables.write_table(rows("a"), storage.join(home, "t/member=007/part-0.parquet"))
    table = tables.read_table(storage.join(home, "t"), SCHEMA, "member")
    assert table["member"].to_pylist() == ["007"]


def test_a_table_with_fewer_columns_has_nulls_for_the_others(home):
    tables.write_table(rows("a").select(["id"]), storage.join(home, "t/part-0.parquet"))
    assert tables.read_table(storage.join(home, "t"), SCHEMA)["n"].to_pylist() == [None]


def test_copies_beside_the_parts_are_no_part_of_a_table(home):
    for folder in ("t", "p/member=v1"):
        part = storage.join(home, folder, "part-0.parquet")
        tables.write_table(rows("a", "b"), part)
        for ending in (".bak", "~"):
            storage.write_bytes(part + ending, storage.read_bytes(part))
    assert len(tables.read_table(storage.join(home, "p"), SCHEMA, "member")) == 2
    uri = storage.join(home, "t")
    assert len(tables.read_table(uri, SCHEMA)) == 2
    dropped = tables.drop_rows(uri, SCHEMA, lambda table: pc.equal(table["id"], "a"), ["id"])
    assert dropped["id"].to_pylist() == ["b"]
    assert len(storage.list_files(uri)) == 3


@pytest.mark.parametrize("left", [0, 100, -10])
def test_a_damaged_part_is_named(home, left):
    part = storage.join(home, "t/part-0.parquet")
    storage.write_bytes(part, tables.parquet_bytes(rows("a"))[:left])
    with pytest.raises(StorageError, match=r"part-0\.parquet") as caught:
        tables.read_table(storage.join(home, "t"), SCHEMA)
    assert "delete it" in caught.value.fix
