import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.catalog.csv_lines import LONGEST, problem, read_lines, require_columns
from ah_ray.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    """A function that reads the lines of a file."""

    def lines(content: str | bytes, encodings=("utf-8",)):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        columns, found = read_lines(str(path), encodings)
        require_columns(str(path), columns, ("a", "b"))
        return list(found)

    return lines


def shape(lines):
    return [(line.number, list(line.cells.values()) if line.cells else line.text) for line in lines]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\N{BOM}"])
def test_lines_have_their_numbers_whatever_their_ends(read, end, mark):
    text = f'{mark}a, b ,more\n1, x ,\n\n2,"p\nq, ""r""",3\n4,5" tv,\n'.replace("\n", end)
    lines = read(text)
    assert shape(lines) == [
        (2, ["1", "x", ""]),
        (4, ["2", 'p\nq, "r"', "3"]),
        (6, ["4", '5" tv', ""]),
    ]
    assert list(lines[0].cells) == ["a", "b", "more"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1\n2,x\n", [(2, "1"), (3, ["2", "x"])]),
        ("1,2,3\n2,x\n", [(2, "1,2,3"), (3, ["2", "x"])]),
        ('1,"x\n2,y\n', [(2, '1,"x'), (3, ["2", "y"])]),  # nobody closes it
        ('1,"x', [(2, '1,"x')]),
        ('1,"x\n2,"y"\n3,z\n', [(2, '1,"x'), (3, ["2", "y"]), (4, ["3", "z"])]),  # another does
        ('1,"x"y\n2,z\n', [(2, ["1", "xy"]), (3, ["2", "z"])]),
    ],
)
def test_a_broken_line_costs_itself_alone(read, text, found):
    assert shape(read(f"a,b\n{text}")) == found


@given(st.lists(st.tuples(st.text(), st.text())))
def test_what_a_writer_writes_is_read(tmp_path_factory, rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("a", "b"), *rows])
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(file.getvalue().encode(errors="surrogateescape"))
    plain = [[c.replace("\r\n", "\n").replace("\r", "\n").strip() for c in row] for row in rows]
    columns, lines = read_lines(str(path), ["utf-8"])
    assert [list(line.cells.values()) for line in lines] == plain
    assert columns == ["a", "b"]


@given(st.binary(), st.sampled_from([("utf-8",), ("utf-8", "gb18030"), ("gb18030", "latin-1")]))
def test_no_bytes_raise_and_lines_are_in_order(tmp_path_factory, data, encodings):
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(b"a,b\n" + data)
    numbers = [line.number for line in read_lines(str(path), encodings)[1]]
    assert numbers == sorted(set(numbers))
    assert all(number > 1 for number in numbers)


@pytest.mark.parametrize("written", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("broken", [b"", b"2,\xff\xfe\n"])
def test_the_encoding_is_the_one_that_fits(read, written, broken):
    data = "a,b\n1,你好\n".encode(written) + broken
    first, *rest = read(data, ("utf-8", "gb18030"))
    assert first.cells == {"a": "1", "b": "你好"}
    assert [problem(line.cells["b"]) for line in rest] == ["has bytes that are no text"] * len(rest)


def test_cells_that_cannot_be_used_say_why():
    assert problem("x" * LONGEST) is None
    assert problem("x" * (LONGEST + 1)) == "has 100,001 characters, more than 100,000"
    assert problem("a\0b") == "has a zero byte"
    assert problem("a\udcffb") == "has bytes that are no text"
    assert problem("早上好 \U0001f642") is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,B", r"no column 'b'(.|\n)*did you mean 'B'\?"),
        ("a;b", "no column 'a'"),
        ("", r"no column 'a'; its first line has \[\]"),
        ("a,b,b", "has 2 columns 'b'"),
    ],
)
def test_a_column_that_is_missing_or_twice_stops_and_is_named(read, header, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(f"{header}\n1,2\n")
    assert "t.csv" in caught.value.where


def test_columns_that_nobody_needs_may_be_there_twice(read):
    assert read("a,b,,\n1,2,3,4\n")[0].cells["b"] == "2"
