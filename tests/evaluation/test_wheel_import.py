import io
import json
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from ah_ray.errors import ConfigError
from ah_ray.evaluation.judged import Judged
from ah_ray.evaluation.label_sets import label_sets
from ah_ray.evaluation.wheel_import import import_wheels
from ah_ray.evaluation.xlsx import read_rows
from ah_ray.words.groups import hash_of

NAMESPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def xlsx(rows, *, shared=True, **parts: str) -> bytes:
    """A workbook as spreadsheets write it; a cell that is None is not there."""
    texts = sorted({cell for row in rows for cell in row if cell is not None})

    def cell(text, row, column):
        at = f'r="{"ABCDEFGH"[column]}{row}"'
        if shared:
            return f'<c {at} t="s"><v>{texts.index(text)}</v></c>'
        return f'<c {at} t="inlineStr"><is><t>{escape(text)}</t></is></c>'

    lines = [
        f'<row r="{r}">{"".join(cell(t, r, c) for c, t in enumerate(row) if t is not None)}</row>'
        for r, row in enumerate(rows, start=1)
    ]
    # The first letter has a font of its own, and a reading aid is no part of the text.
    items = [
        f'<si><r><t xml:space="preserve">{escape(t[:1])}</t></r><r><t>{escape(t[1:])}</t></r>'
        "<rPh><t>aid</t></rPh></si>"
        for t in texts
    ]
    contents = {
        "xl/worksheets/sheet1.xml": f"<worksheet {NAMESPACE}><sheetData>{''.join(lines)}"
        "</sheetData></worksheet>"
    }
    if shared:
        contents["xl/sharedStrings.xml"] = f"<sst {NAMESPACE}>{''.join(items)}</sst>"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (contents | parts).items():
            archive.writestr(name, text)
    return file.getvalue()


SHEET = [["level1", "level2", "level3"], ["Good ", "Joy", "Glad"], [None, None, "Merry"],
         [None, "Awe", "Amazed"], ["Bad", "Woe", "Sad & low"]]  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the files, of the form of the published ones."""
    for number in range(1, 6):
        (tmp_path / f"wheel{number}.xlsx").write_bytes(xlsx(SHEET))
    synonyms = [
        ["word_run1", "synonym_run1", "word_run2", "synonym_run2"],
        ["glad", "['Cheery', \"jolly\"]", "merry", "[jolly, gay]"],
        ["merry", None, "glad", "cheery, bright"],
    ]
    (tmp_path / "synonym.xlsx").write_bytes(xlsx(synonyms))
    forms = 'name,format\nglad,"gladly, gladness"\njolly,"[\'jollier\']"\nsad & low\n'
    (tmp_path / "format.csv").write_text(forms, encoding="utf-8-sig")
    return tmp_path


def test_rows_by_the_names_of_their_columns():
    rows = [{"level1": "Good", "level2": "Joy", "level3": "Glad"}, {"level3": "Merry"},
            {"level2": "Awe", "level3": "Amazed"},
            {"level1": "Bad", "level2": "Woe", "level3": "Sad & low"}]  # fmt: skip
    assert read_rows(xlsx(SHEET), "f") == read_rows(xlsx(SHEET, shared=False), "f") == rows
    assert read_rows(xlsx([]), "f") == []


def test_the_files_become_one(folder):
    told = import_wheels(str(folder), str(folder / "wheels.json"))
    written = (folder / "wheels.json").read_bytes()
    values = json.loads(written)
    wheel = {"good": {"joy": ["glad", "merry"], "awe": ["amazed"]}, "bad": {"woe": ["sad & low"]}}
    assert values["wheels"] == {f"wheel{number}": wheel for number in range(1, 6)}
    synonyms = {"glad": ["cheery", "jolly", "bright"], "merry": ["jolly", "gay"]}
    assert values["synonyms"] == synonyms
    forms = {"glad": ["gladly", "gladness"], "jolly": ["jollier"], "sad & low": []}
    assert values["forms"] == forms
    # 9 words of the wheels, 4 synonyms, 3 forms.
    assert "5 wheels, 16 words" in told
    assert hash_of(written) in told
    import_wheels(str(folder), str(folder / "again.json"))
    assert (folder / "again.json").read_bytes() == written


def test_a_score_is_by_the_file(folder):
    import_wheels(str(folder), str(folder / "wheels.json"))
    metric = label_sets({"groups": str(folder / "wheels.json")})
    found = metric([Judged(frozenset({"gladness"}), frozenset({"jollier", "bad"}))], None)
    assert (found["wheel_1_precision"], found["wheel_1_recall"]) == (1 / 2, 1)
    known = hash_of((folder / "wheels.json").read_bytes())
    assert found["by"] == {"wheel": {"groups": "wheels.json", "hash": known}}


@pytest.mark.parametrize("name", ["wheel3.xlsx", "synonym.xlsx", "format.csv"])
def test_a_file_that_is_not_there_or_is_another_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ConfigError, match="is not there") as caught:
        import_wheels(str(folder), str(folder / "wheels.json"))
    assert caught.value.where == str(folder / name)
    other = [["a", "b"], ["x", "y"]]
    (folder / name).write_bytes(b"a,b\nx,y\n" if name.endswith("csv") else xlsx(other))
    with pytest.raises(ConfigError, match=r"has no .* in its first row") as caught:
        import_wheels(str(folder), str(folder / "wheels.json"))
    assert caught.value.where == str(folder / name)
    assert not (folder / "wheels.json").exists()


def test_a_wheel_without_a_first_word_is_refused(folder):
    (folder / "wheel1.xlsx").write_bytes(xlsx([SHEET[0], [None, "Joy", "Glad"], *SHEET[1:]]))
    with pytest.raises(ConfigError, match="has no level1 in its first row") as caught:
        import_wheels(str(folder), str(folder / "wheels.json"))
    assert caught.value.where == str(folder / "wheel1.xlsx")


LAUGHS = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a zip file"),
        (b"name,format\n", "not a zip file"),
        (xlsx(SHEET)[:-200], "not a zip file"),
        (xlsx(SHEET, **{"xl/worksheets/sheet1.xml": "<a"}), "unclosed token|no element"),
        (xlsx(SHEET, **{"xl/sharedStrings.xml": "<sst/>"}), "index out of range"),
        (xlsx(SHEET, **{"xl/sharedStrings.xml": f"{LAUGHS}<sst>&b;</sst>"}), "document type"),
        (xlsx(SHEET, **{"xl/worksheets/sheet1.xml": f"{OUTSIDE}<x>&a;</x>"}), "document type"),
        (xlsx(SHEET, **{"xl/worksheets/sheet1.xml": " " * 20_000_001}), "20,000,001 bytes"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(content, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        read_rows(content, "wheel1.xlsx")
    assert caught.value.where == "wheel1.xlsx"


def test_a_file_without_a_sheet_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("wheel_mapping.npy", b"x")
    with pytest.raises(ConfigError, match="sheet1"):
        read_rows(file.getvalue(), "wheel1.xlsx")
